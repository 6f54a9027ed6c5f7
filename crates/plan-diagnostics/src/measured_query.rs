//! What is known of an execution of a query, and how it ended.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use daglight_run_bundle::ClusterWork;

use crate::{
    operators::MeasuredOperator, planned_operators::PlannedOperator, planned_query::PlannedQuery,
    reported_operator::MadeElsewhere,
};

/// How a query ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryOutcome {
    /// Every partition that was executed was read to its end.
    Completed,
    /// A partition returned an error.
    Failed {
        /// The error's message.
        message: String,
    },
    /// A partition was dropped before its end.
    Cancelled,
    /// A partition panicked, or was dropped by a panic.
    Panicked,
    /// It has not ended.
    Running,
}

impl QueryOutcome {
    /// Whether it did not end well, nor was given up.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Panicked)
    }

    /// The outcome as one word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
            Self::Running => "running",
        }
    }
}

/// What is known of a query at its end, or while it runs.
#[derive(Debug, Clone)]
pub struct MeasuredQuery {
    /// The query.
    pub query: Arc<PlannedQuery>,
    /// When the first partition was executed.
    pub started_at: SystemTime,
    /// From the first partition's execution to the end of the last one.
    pub wall_time: Duration,
    /// How it ended.
    pub outcome: QueryOutcome,
    /// Rows that it returned, or wrote. `None` for a write that returned no count, as one that failed.
    pub rows: Option<u64>,
    /// Rows that it got from the tables that it scans. `None` where a scan does not count them.
    pub rows_read: Option<u64>,
    /// Bytes that it wrote to storage, where the sink says.
    pub bytes_written: Option<u64>,
    /// Bytes that its scans read from storage, where they say.
    pub bytes_scanned: Option<u64>,
    /// Bytes that its operators spilled to disk.
    pub bytes_spilled: u64,
    /// Bytes in memory of the rows that it returned, where an operator counts them. `None` for a write.
    pub bytes_returned: Option<u64>,
    /// What a cluster did of it; `None` where the session has none.
    pub cluster: Option<ClusterWork>,
    /// Every operator in pre-order.
    pub operators: Vec<MeasuredOperator>,
    /// The plan of an engine that has planned the query by itself, whose operators these are.
    pub(crate) made_elsewhere: Option<Arc<MadeElsewhere>>,
}

impl MeasuredQuery {
    /// The plan that its operators are those of.
    pub(crate) fn planned_operators(&self) -> &[PlannedOperator] {
        match &self.made_elsewhere {
            Some(made) => &made.operators,
            None => &self.query.operators,
        }
    }

    /// When the query ended.
    pub fn ended_at(&self) -> SystemTime {
        self.started_at + self.wall_time
    }
}
