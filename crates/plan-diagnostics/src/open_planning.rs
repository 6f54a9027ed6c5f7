//! Queries that are being planned, for those who watch them meanwhile.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    failed_planning::FailedPlanning,
    observer::QueryObserver,
    planned_query::{PlannedQuery, PlanningState, PlanningTurn, next_query_id},
    planning::{PlanningPart, PlanningTimes},
    shield::{OBSERVING, shielded},
    source_plan::SourcePlan,
};

/// A query that is being planned.
#[derive(Clone)]
pub struct LivePlanning {
    /// Who asks for it, as the observer of its session has said.
    pub asked_by: Option<Arc<dyn Any + Send + Sync>>,
    /// What goes on.
    pub turn: PlanningTurn,
    /// For how long it is planned so far.
    pub lasts: Duration,
    /// For how long the part or the rule has had its turn so far.
    pub turn_lasts: Duration,
    planning: Arc<OpenPlanning>,
}

impl LivePlanning {
    /// The query, as far as it is known: it has no operators. Its id is the one that it has when it is planned. `None` where
    /// its plan could not be written as text.
    pub fn query(&self) -> Option<PlannedQuery> {
        let source = self.planning.source.clone()?;
        let times = self.planning.progress().times(self.planning.started_at);
        let state = PlanningState::GoesOn(self.turn.clone());
        Some(PlannedQuery::without_plan(self.planning.query_id(), source, times, state))
    }
}

impl fmt::Debug for LivePlanning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LivePlanning")
            .field("turn", &self.turn)
            .field("lasts", &self.lasts)
            .finish_non_exhaustive()
    }
}

/// The plannings of a session that are known to go on, or may. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct OpenPlannings(Arc<Mutex<Vec<Weak<OpenPlanning>>>>);

impl OpenPlannings {
    /// A planning begins.
    pub(crate) fn begin(
        &self,
        source: Option<SourcePlan>,
        asked_by: Option<Arc<dyn Any + Send + Sync>>,
        observer: &Arc<dyn QueryObserver>,
    ) -> Arc<OpenPlanning> {
        let open = Arc::new(OpenPlanning::new(source, asked_by, Arc::downgrade(observer)));
        let mut plannings = self.lock();
        // Here, so that a session that nobody watches does not keep an entry for each of its queries.
        plannings.retain(|planning| planning.strong_count() > 0);
        plannings.push(Arc::downgrade(&open));
        open
    }

    /// Those that go on.
    pub(crate) fn sample(&self) -> Vec<LivePlanning> {
        let open = self.open();
        let live = |planning: &Arc<OpenPlanning>| {
            let progress = planning.progress();
            let turn = progress.turn.clone()?;
            let turn_lasts = progress.turn_since.elapsed();
            drop(progress);
            Some(LivePlanning {
                asked_by: planning.asked_by.clone(),
                turn,
                lasts: planning.started.elapsed(),
                turn_lasts,
                planning: Arc::clone(planning),
            })
        };
        open.iter().filter_map(live).collect()
    }

    /// Reports those as failed whose analysis has ended and whose plan was then refused by the checks of the engine, which
    /// stand behind all rules and in front of the optimiser.
    pub(crate) fn refused(&self, is_meant: impl Fn(&(dyn Any + Send + Sync)) -> bool, message: &str) {
        let is_meant = |planning: &OpenPlanning| planning.asked_by.as_deref().is_some_and(&is_meant);
        for planning in self.open().iter().filter(|planning| is_meant(planning) && planning.take_analysed()) {
            let Some((source, observer)) = planning.source.clone().zip(planning.observer.upgrade()) else {
                continue;
            };
            let failed = FailedPlanning {
                id: planning.query_id(),
                part: PlanningPart::Analysis,
                rule: None,
                source,
                optimized: None,
                planning: planning.progress().times(planning.started_at),
                options: Arc::default(),
            };
            shielded(OBSERVING, || failed.report(observer.as_ref(), message.to_owned()));
        }
    }

    fn open(&self) -> Vec<Arc<OpenPlanning>> {
        // Upgraded under the lock, and dropped without it: the last handle of who asks may end a run.
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<OpenPlanning>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query between the begin of its analysis and its physical plan. It may never get one: a frame is analysed and optimised
/// on its own, too.
pub(crate) struct OpenPlanning {
    /// The plan as the front end made it; `None` where writing it as text has panicked.
    pub(crate) source: Option<SourcePlan>,
    asked_by: Option<Arc<dyn Any + Send + Sync>>,
    observer: Weak<dyn QueryObserver>,
    started: Instant,
    started_at: SystemTime,
    query_id: OnceLock<u64>,
    progress: Mutex<Progress>,
}

/// How far a planning is.
struct Progress {
    /// `None` while nothing is known to be done: between two parts, and of a plan that nobody asks to go on with.
    turn: Option<PlanningTurn>,
    turn_since: Instant,
    /// The part that goes on, or did, and since when.
    part: (PlanningPart, Instant),
    analysis: Duration,
    optimization: Duration,
    /// All rules of the analysis are done with it, and nothing has followed.
    is_analysed: bool,
}

impl Progress {
    /// How long the parts took so far.
    fn times(&self, started_at: SystemTime) -> PlanningTimes {
        let (part, since) = self.part;
        let so_far = |of| if part == of { since.elapsed() } else { Duration::ZERO };
        PlanningTimes {
            started_at,
            analysis: self.analysis + so_far(PlanningPart::Analysis),
            optimization: self.optimization + so_far(PlanningPart::Optimization),
            physical: so_far(PlanningPart::Physical),
            rules: Vec::new(),
        }
    }
}

impl OpenPlanning {
    fn new(
        source: Option<SourcePlan>,
        asked_by: Option<Arc<dyn Any + Send + Sync>>,
        observer: Weak<dyn QueryObserver>,
    ) -> Self {
        let PlanningTimes { started_at, .. } = PlanningTimes::none();
        let now = Instant::now();
        let progress = Progress {
            turn: None,
            turn_since: now,
            part: (PlanningPart::Analysis, now),
            analysis: Duration::ZERO,
            optimization: Duration::ZERO,
            is_analysed: false,
        };
        Self {
            source,
            asked_by,
            observer,
            started: now,
            started_at,
            query_id: OnceLock::new(),
            progress: Mutex::new(progress),
        }
    }

    /// The id of the query. It takes one when somebody asks first: most plannings end before anybody has looked.
    pub(crate) fn query_id(&self) -> u64 {
        *self.query_id.get_or_init(next_query_id)
    }

    /// A part of the planning goes on, with a rule or in front of the first one.
    pub(crate) fn goes_on(&self, turn: PlanningTurn) {
        let mut progress = self.progress();
        let now = Instant::now();
        let (part, since) = progress.part;
        if part != turn.part {
            match part {
                PlanningPart::Analysis => progress.analysis += now - since,
                PlanningPart::Optimization => progress.optimization += now - since,
                PlanningPart::Physical => {}
            }
            progress.part = (turn.part, now);
        }
        progress.turn_since = now;
        progress.is_analysed = false;
        progress.turn = Some(turn);
    }

    /// What was known to go on is done. Whether anything follows is not known.
    pub(crate) fn rests(&self) {
        self.progress().turn = None;
    }

    /// All rules of the analysis are done.
    pub(crate) fn analysed(&self) {
        let mut progress = self.progress();
        progress.turn = None;
        progress.is_analysed = true;
    }

    /// Whether nothing has followed its analysis. True once.
    fn take_analysed(&self) -> bool {
        std::mem::take(&mut self.progress().is_analysed)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
