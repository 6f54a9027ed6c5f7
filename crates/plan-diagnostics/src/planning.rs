//! How long the planning of a query took, in its parts and by rule.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use daglight_run_bundle::clock;

/// How long the planning of a query took. What the engine does between two rules, such as its checks, belongs to the first
/// of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanningTimes {
    /// When analysis started; when it was executed, for a plan that is executed once more.
    pub started_at: SystemTime,
    /// The rules that make the plan valid: types, functions, grouping.
    pub analysis: Duration,
    /// The rules that make a better logical plan.
    pub optimization: Duration,
    /// Making the physical plan, with the rules for it.
    pub physical: Duration,
    /// Every rule that ran, in order.
    pub rules: Vec<RuleTime>,
}

/// What one rule did, over all passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTime {
    /// Its name, as `EXPLAIN VERBOSE` shows it.
    pub name: Arc<str>,
    /// The part of planning that it belongs to.
    pub part: PlanningPart,
    /// From its first call in a pass to the first call of the next rule.
    pub time: Duration,
    /// Whether it said that it changed the plan; of a physical rule, whether it returned another plan. `None` for rules of
    /// the analysis, which do not say, unless differences are asked for.
    pub changed: Option<bool>,
    /// What it changed, where that is asked for: for each part of the plan that it was called with and changed, the lines
    /// that differ, as `diff -u` writes them. The first twenty of them.
    pub differences: Vec<String>,
}

/// Differences of a rule that are kept.
const MAX_DIFFERENCES: usize = 20;

/// The parts of planning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanningPart {
    /// Makes the plan valid.
    Analysis,
    /// Makes a better logical plan.
    Optimization,
    /// Makes the physical plan.
    Physical,
}

impl PlanningPart {
    /// The part as one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Analysis => "analysis",
            Self::Optimization => "optimization",
            Self::Physical => "physical",
        }
    }

    /// The part in a sentence.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Analysis => "analysis",
            Self::Optimization => "optimization",
            Self::Physical => "physical planning",
        }
    }
}

impl PlanningTimes {
    /// Those of a plan that is executed once more.
    #[expect(
        clippy::disallowed_methods,
        reason = "queries have the times at which they are planned and executed"
    )]
    pub(crate) fn none() -> Self {
        Self {
            started_at: clock::now(),
            analysis: Duration::ZERO,
            optimization: Duration::ZERO,
            physical: Duration::ZERO,
            rules: Vec::new(),
        }
    }

    /// All parts together.
    pub fn total(&self) -> Duration {
        self.analysis + self.optimization + self.physical
    }
}

/// A rule of a session, by its place in the list of its part.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) part: PlanningPart,
    pub(crate) place: usize,
    pub(crate) is_last: bool,
}

/// Measures the planning of one query. Most rules are called for each node of a plan, so the time is read only when another
/// rule has its turn.
pub(crate) struct PlanningClock {
    started_at: SystemTime,
    /// When the part that goes on began.
    part_since: Instant,
    analysis: Duration,
    optimization: Duration,
    rules: Vec<(usize, RuleTime)>,
    /// The rule whose turn it is, by its position in `rules`, and since when.
    turn: Option<(usize, Instant)>,
    /// The part and place of the rule that was called last.
    last: Option<(PlanningPart, usize)>,
    /// When the last rule of the optimiser was done with the root of the plan.
    optimized_at: Option<Instant>,
}

impl PlanningClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "queries have the times at which they are planned and executed"
    )]
    pub(crate) fn start() -> Self {
        Self {
            started_at: clock::now(),
            part_since: Instant::now(),
            analysis: Duration::ZERO,
            optimization: Duration::ZERO,
            rules: Vec::new(),
            turn: None,
            last: None,
            optimized_at: None,
        }
    }

    /// Takes over what an optimisation of the same query has taken, where this one followed at once.
    pub(crate) fn continue_after(mut self, mut before: Self) -> Self {
        // Only what passed all rules is optimised again; a plan that failed in the middle belongs to another query.
        let Some(ended) = before.optimized_at else { return self };
        let optimization = ended - before.part_since;
        // A frame may be optimised now, and executed in an hour.
        if self.part_since - ended > before.analysis + optimization {
            return self;
        }
        if let Some((rule, since)) = before.in_turn() {
            // Nothing marks the end of the last rule: it would be the beginning of the next one.
            rule.time += ended.saturating_duration_since(since);
        }
        self.started_at = before.started_at;
        self.analysis = before.analysis;
        self.optimization = optimization;
        self.rules = before.rules;
        self
    }

    /// Whether the rule, of the analysis, begins another one.
    pub(crate) fn is_behind(&self, rule: &Rule) -> bool {
        self.last.is_some_and(|(part, place)| part != PlanningPart::Analysis || place >= rule.place)
    }

    /// A rule is called. True where another one had its turn before.
    pub(crate) fn enter(&mut self, rule: &Rule) -> bool {
        let is_it = |(place, known): &(usize, RuleTime)| *place == rule.place && known.part == rule.part;
        // DataFusion calls a rule once for each node of the plan. Its turn lasts until another rule is called, so
        // that the walk over the plan is in its time.
        if self.turn.is_some_and(|(at, _)| self.rules.get(at).is_some_and(is_it)) {
            return false;
        }
        self.last = Some((rule.part, rule.place));
        let now = self.end_turn();
        // In later passes it has its turn again.
        let at = self.rules.iter().position(is_it).unwrap_or_else(|| {
            // An analyser returns a plan and does not say whether it is another one; comparing two plans would be
            // the dearest part of planning.
            let changed = (rule.part != PlanningPart::Analysis).then_some(false);
            let time = RuleTime {
                name: Arc::clone(&rule.name),
                part: rule.part,
                time: Duration::ZERO,
                changed,
                differences: Vec::new(),
            };
            self.rules.push((rule.place, time));
            self.rules.len() - 1
        });
        self.turn = Some((at, now));
        true
    }

    /// The rule whose turn it is has changed the plan.
    pub(crate) fn changed(&mut self) {
        if let Some((rule, _)) = self.in_turn() {
            rule.changed = Some(true);
        }
    }

    /// The rule whose turn it is returned a plan whose text differs so, or not at all.
    pub(crate) fn differs(&mut self, difference: String) {
        if let Some((rule, _)) = self.in_turn() {
            let is_changed = rule.changed.get_or_insert(false);
            *is_changed |= !difference.is_empty();
            if !difference.is_empty() && rule.differences.len() < MAX_DIFFERENCES {
                rule.differences.push(difference);
            }
        }
    }

    /// The analysis has ended, as far as its rules say: a later one moves its end.
    pub(crate) fn analyzed(&mut self) {
        let now = self.end_turn();
        self.analysis += now - self.part_since;
        self.part_since = now;
    }

    /// The last rule of the optimiser is done, in this pass.
    pub(crate) fn passed(&mut self) {
        self.optimized_at = Some(Instant::now());
    }

    /// The logical plan is done, and physical planning begins.
    pub(crate) fn optimized(&mut self) {
        let now = self.end_turn();
        self.optimization += now - self.part_since;
        self.part_since = now;
    }

    /// The name of the rule whose turn it is.
    pub(crate) fn rule(&mut self) -> Option<Arc<str>> {
        self.in_turn().map(|(rule, _)| Arc::clone(&rule.name))
    }

    /// The physical plan is done.
    pub(crate) fn planned(mut self) -> PlanningTimes {
        let now = self.end_turn();
        PlanningTimes {
            started_at: self.started_at,
            analysis: self.analysis,
            optimization: self.optimization,
            physical: now - self.part_since,
            rules: self.rules.into_iter().map(|(_, rule)| rule).collect(),
        }
    }

    fn end_turn(&mut self) -> Instant {
        let now = Instant::now();
        if let Some((rule, since)) = self.in_turn() {
            rule.time += now - since;
        }
        self.turn = None;
        now
    }

    /// The rule whose turn it is, and since when.
    fn in_turn(&mut self) -> Option<(&mut RuleTime, Instant)> {
        let (at, since) = self.turn?;
        self.rules.get_mut(at).map(|(_, rule)| (rule, since))
    }
}
