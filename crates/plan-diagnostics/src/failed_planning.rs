//! Queries whose planning fails: they have a plan as the front end made it, and an error instead of a physical one.

use std::{sync::Arc, time::Duration};

use datafusion::{config::ConfigOptions, logical_expr::LogicalPlan};

use crate::{
    measured_query::{MeasuredQuery, QueryOutcome},
    observer::QueryObserver,
    planned_query::{PlannedQuery, PlanningFailure, PlanningState},
    planning::{PlanningPart, PlanningTimes},
    source_plan::SourcePlan,
};

/// A query whose planning fails, as far as it was planned.
pub(crate) struct FailedPlanning<'q> {
    pub(crate) id: u64,
    pub(crate) part: PlanningPart,
    /// The rule that has returned the error.
    pub(crate) rule: Option<Arc<str>>,
    pub(crate) source: SourcePlan,
    /// What was to be turned into a physical plan, where it came to that.
    pub(crate) optimized: Option<&'q LogicalPlan>,
    pub(crate) planning: PlanningTimes,
    pub(crate) options: Arc<ConfigOptions>,
}

impl FailedPlanning<'_> {
    /// Reports the query with the message of its error: it starts, and has failed. To be called in the task that asked for it.
    pub(crate) fn report(self, observer: &dyn QueryObserver, message: String) {
        let Self { id, part, rule, source, optimized, planning, options } = self;
        let state = PlanningState::Failed(PlanningFailure { part, rule, message: message.clone() });
        let query = Arc::new(PlannedQuery {
            options,
            optimized: optimized.cloned().unwrap_or_default(),
            ..PlannedQuery::without_plan(id, source, planning, state)
        });
        let Some(observation) = observer.planned(&query) else { return };
        let started_at = query.planning.started_at + query.planning.total();
        observation.listener.started();
        observation.listener.ended(MeasuredQuery {
            query,
            started_at,
            wall_time: Duration::ZERO,
            outcome: QueryOutcome::Failed { message },
            rows: None,
            rows_read: None,
            bytes_written: None,
            bytes_scanned: None,
            bytes_spilled: 0,
            cluster: None,
            bytes_returned: None,
            operators: Vec::new(),
            made_elsewhere: None,
        });
    }
}
