//! What the rules and the planner of one session have in common.

use std::sync::Arc;

use crate::{
    observer::QueryObserver,
    open_planning::OpenPlanning,
    progress::LiveQueries,
    shield::{OBSERVING, shielded},
    source_plan::{KnownPlans, SourcePlan},
};

/// A session whose queries are seen.
#[derive(Debug)]
pub(crate) struct WatchedSession {
    pub(crate) observer: Arc<dyn QueryObserver>,
    /// Its queries that go on.
    pub(crate) live: LiveQueries,
    pub(crate) known: KnownPlans,
    /// Whether the texts of plans are compared before and after each rule.
    pub(crate) with_differences: bool,
}

impl WatchedSession {
    pub(crate) fn new(observer: Arc<dyn QueryObserver>, live: LiveQueries) -> Self {
        let with_differences = observer.wants_differences();
        Self { observer, live, known: KnownPlans::default(), with_differences }
    }

    /// The planning of a query begins. To be called in the task that asks for it.
    pub(crate) fn begins(&self, source: Option<SourcePlan>) -> Arc<OpenPlanning> {
        let asked_by = shielded(OBSERVING, || self.observer.asked_by()).flatten();
        self.live.plannings.begin(source, asked_by, &self.observer)
    }
}
