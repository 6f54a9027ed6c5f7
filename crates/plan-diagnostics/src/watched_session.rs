//! What the rules and the planner of one session have in common.

use std::sync::Arc;

use crate::{observer::QueryObserver, source_plan::KnownPlans};

/// What a warning says has panicked, where a session's observer has.
pub(crate) const OBSERVING: &str = "what observes the queries of a session";

/// A session whose queries are seen.
#[derive(Debug)]
pub(crate) struct WatchedSession {
    pub(crate) observer: Arc<dyn QueryObserver>,
    pub(crate) known: KnownPlans,
    /// Whether the texts of plans are compared before and after each rule.
    pub(crate) with_differences: bool,
}

impl WatchedSession {
    pub(crate) fn new(observer: Arc<dyn QueryObserver>) -> Self {
        let with_differences = observer.wants_differences();
        Self { observer, known: KnownPlans::default(), with_differences }
    }
}
