//! What a thread is planning at this moment.
//!
//! A session analyses and optimises a plan and first polls the planner's future without an await between them
//! (`SessionState::create_physical_plan`), so what a thread has analysed last is what it plans next. Physical planning may
//! go on on other threads, which know it by the future that they poll.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem::discriminant,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use datafusion::{
    common::{DFSchema, tree_node::TreeNodeRecursion},
    logical_expr::LogicalPlan,
};

use crate::{
    open_planning::OpenPlanning,
    planned_query::PlanningTurn,
    planning::{PlanningClock, PlanningPart, PlanningTimes, Rule},
    shield::shielded,
    source_plan::SourcePlan,
    watched_session::WatchedSession,
};

thread_local! {
    /// What this thread has analysed last.
    static ANALYZED: RefCell<Option<Analyzed>> = const { RefCell::new(None) };
    /// The physical planning that this thread polls.
    static PHYSICAL: RefCell<Option<Arc<Physical>>> = const { RefCell::new(None) };
    /// Whether this thread is in a rule: what that plans by itself is a part of it.
    static IS_IN_RULE: Cell<bool> = const { Cell::new(false) };
}

struct Physical {
    /// Empty once the plan is made.
    clock: Mutex<Option<PlanningClock>>,
    open: Arc<OpenPlanning>,
}

struct Analyzed {
    open: Arc<OpenPlanning>,
    clock: PlanningClock,
    /// What the optimiser has made of it; `None` until it has, and for ever where it fails.
    optimized: Option<PlanIdentity>,
}

/// A rule that runs.
#[must_use]
pub(crate) struct Entered {
    part: PlanningPart,
    is_last: bool,
    is_inside_another: bool,
    /// Whether another rule had its turn before.
    pub(crate) is_first_call: bool,
}

/// A rule is called. The first one of the analysis sees the `plan` as the front end made it.
pub(crate) fn enter(rule: &Rule, plan: Option<(&LogicalPlan, &WatchedSession)>) -> Entered {
    // A rule may plan another query, as those do that evaluate subqueries. It belongs to the time of that rule,
    // and is not the next query of this thread.
    let is_inside_another = IS_IN_RULE.replace(true);
    let Rule { part, is_last, .. } = *rule;
    let mut entered = Entered { part, is_last, is_inside_another, is_first_call: false };
    if !entered.is_inside_another {
        if let Some((plan, session)) = plan {
            begin_analysis(rule, plan, session);
        }
        with_planning(part, |clock, open| {
            entered.is_first_call = clock.enter(rule);
            if entered.is_first_call {
                open.goes_on(PlanningTurn { part, rule: Some(Arc::clone(&rule.name)) });
            }
        });
    }
    entered
}

impl Entered {
    /// The rule has changed the plan.
    pub(crate) fn changed(&self) {
        self.tell(|clock, _| clock.changed());
    }

    /// The text of what the rule returns differs so from what it was called with, where that is asked for.
    pub(crate) fn differs(&self, difference: Option<String>) {
        if let Some(difference) = difference {
            self.tell(|clock, _| clock.differs(difference));
        }
    }

    /// A rule of the analysis is done.
    pub(crate) fn analyzed(&self) {
        self.tell(|clock, open| {
            clock.analyzed();
            if self.is_last {
                open.analysed();
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut PlanningClock, &OpenPlanning)) {
        if !self.is_inside_another {
            with_planning(self.part, change);
        }
    }

    /// The rule has failed, and the planning with it: what is known of the query. `None` where this is a part of another
    /// rule, whose failure it is.
    pub(crate) fn failed(self) -> Option<(Arc<OpenPlanning>, PlanningTimes)> {
        if self.is_inside_another {
            return None;
        }
        let Analyzed { open, mut clock, .. } = ANALYZED.take()?;
        match self.part {
            PlanningPart::Analysis => clock.analyzed(),
            PlanningPart::Optimization | PlanningPart::Physical => clock.optimized(),
        }
        Some((open, clock.planned()))
    }

    /// The last rule of the optimiser has made this of the root of the plan.
    pub(crate) fn optimized(&self, plan: &LogicalPlan) {
        if !self.is_inside_another {
            ANALYZED.with_borrow_mut(|kept| {
                if let Some(kept) = kept {
                    kept.clock.passed();
                    kept.open.rests();
                    kept.optimized = Some(PlanIdentity::of(plan));
                }
            });
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        IS_IN_RULE.set(self.is_inside_another);
    }
}

fn begin_analysis(rule: &Rule, plan: &LogicalPlan, session: &WatchedSession) {
    let before = ANALYZED.take();
    if let Some(goes_on) = before.as_ref().map(|kept| !kept.clock.is_behind(rule))
        && goes_on
    {
        ANALYZED.set(before);
        return;
    }
    // `CREATE TABLE AS` optimises its query, and then the result of that once more.
    let again = before.filter(|kept| kept.optimized.as_ref().is_some_and(|made| made.is_of(plan)));
    let analyzed = match again {
        Some(Analyzed { open, clock, .. }) => {
            Analyzed { open, clock: PlanningClock::start().continue_after(clock), optimized: None }
        }
        None => {
            // A plan is written with the texts of a program's own nodes and functions, which may do anything.
            let source = shielded("what keeps the plan of a query", || session.known.of(plan));
            Analyzed { open: session.begins(source), clock: PlanningClock::start(), optimized: None }
        }
    };
    ANALYZED.set(Some(analyzed));
}

fn with_planning(part: PlanningPart, change: impl FnOnce(&mut PlanningClock, &OpenPlanning)) {
    if part == PlanningPart::Physical {
        // Cloned before it is locked: the rule that is timed runs without a borrow of the thread-local, and may come
        // back here.
        let Some(physical) = PHYSICAL.with_borrow(Clone::clone) else { return };
        if let Some(clock) = physical.clock().as_mut() {
            change(clock, &physical.open);
        }
    } else {
        ANALYZED.with_borrow_mut(|kept| {
            if let Some(kept) = kept {
                change(&mut kept.clock, &kept.open);
            }
        });
    }
}

impl Physical {
    fn clock(&self) -> MutexGuard<'_, Option<PlanningClock>> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The physical planning of a query.
pub(crate) struct PhysicalPlanning {
    /// Whether it is asked for by the planning of another query, whose failure its own is.
    pub(crate) is_part_of_another: bool,
    state: Arc<Physical>,
}

impl PhysicalPlanning {
    /// Begins it with what this thread has analysed last. `is_analyzed` says whether the session has rules by which that is
    /// known.
    pub(crate) fn begin(is_analyzed: bool, session: &WatchedSession) -> Self {
        // `SessionState::create_physical_plan` (DataFusion 55.2.0, `src/execution/session_state.rs`, lines 777 to
        // 785) optimises and asks the planner with no `await` in between, so that what this thread analysed last is
        // this plan.
        let kept = if is_analyzed && !IS_IN_RULE.get() { ANALYZED.take() } else { None };
        let (open, clock) = kept.map_or_else(
            || (session.begins(None), PlanningClock::start()),
            |Analyzed { open, mut clock, .. }| {
                clock.optimized();
                (open, clock)
            },
        );
        let is_part_of_another = IS_IN_RULE.get() || PHYSICAL.with_borrow(Option::is_some);
        // Else what goes on is the planning of the other.
        if !is_part_of_another {
            open.goes_on(PlanningTurn { part: PlanningPart::Physical, rule: None });
        }
        Self { is_part_of_another, state: Arc::new(Physical { clock: Mutex::new(Some(clock)), open }) }
    }

    /// The plan as the front end made it; `None` where that is not known.
    pub(crate) fn source(&self) -> Option<SourcePlan> {
        self.state.open.source.clone()
    }

    /// The id that the query has.
    pub(crate) fn query_id(&self) -> u64 {
        self.state.open.query_id()
    }

    /// Awaits the planner, whose rules are timed on whatever thread they run.
    pub(crate) async fn of<F: Future + Send + ?Sized>(&self, planner: Pin<Box<F>>) -> F::Output {
        Planning { state: Arc::clone(&self.state), planner }.await
    }

    /// Ends it. Returns the rule of the physical plan that was called last, too, where it came to one.
    pub(crate) fn end(&self) -> (PlanningTimes, Option<Arc<str>>) {
        self.state.open.rests();
        let mut clock = self.state.clock().take();
        let last_rule = clock.as_mut().and_then(PlanningClock::rule);
        (clock.map_or_else(PlanningTimes::none, PlanningClock::planned), last_rule)
    }
}

struct Planning<F: ?Sized> {
    state: Arc<Physical>,
    planner: Pin<Box<F>>,
}

impl<F: Future + ?Sized> Future for Planning<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        /// Puts back what was there before, also when the planner panics.
        struct Polled(Option<Arc<Physical>>);

        impl Drop for Polled {
            fn drop(&mut self) {
                PHYSICAL.set(self.0.take());
            }
        }

        // For one poll only: between two of them the thread may plan for somebody else.
        let _polled = Polled(PHYSICAL.replace(Some(Arc::clone(&self.state))));
        self.planner.as_mut().poll(context)
    }
}

/// Recognises a plan that was made by an optimiser, by its root.
struct PlanIdentity {
    schema: Weak<DFSchema>,
    root: u64,
}

impl PlanIdentity {
    fn of(plan: &LogicalPlan) -> Self {
        // A whole plan can be thousands of expressions deep, and comparing it would cost more than planning some
        // queries does.
        Self { schema: Arc::downgrade(plan.schema()), root: hash_of_root(plan) }
    }

    fn is_of(&self, plan: &LogicalPlan) -> bool {
        // The address of a schema that is still referred to belongs to no other one. Some nodes have that of their input.
        self.schema.as_ptr() == Arc::as_ptr(plan.schema()) && self.root == hash_of_root(plan)
    }
}

fn hash_of_root(plan: &LogicalPlan) -> u64 {
    let mut hasher = DefaultHasher::new();
    discriminant(plan).hash(&mut hasher);
    let visited = plan.apply_expressions(|expression| {
        expression.hash(&mut hasher);
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor returns no error");
    hasher.finish()
}
