//! How far the running queries are, as whoever runs them reports it.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Where the heartbeat asks for the running queries. It is called on the heartbeat's thread, once a beat.
pub trait Progress: Send + Sync {
    /// The queries that run at this moment.
    fn sample(&self) -> Vec<QueryProgress>;
}

/// The progress of a run that has no queries.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn sample(&self) -> Vec<QueryProgress> {
        Vec::new()
    }
}

/// A query that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryProgress {
    /// The id of the query.
    pub query_id: String,
    /// The node that runs it.
    pub node: Option<String>,
    /// When it started.
    pub started: DateTime<Utc>,
    /// Rows that left the root of the plan.
    pub rows_output: u64,
    /// The operators in pre-order: the root first, every operator after its parent.
    pub operators: Vec<OperatorProgress>,
}

/// An operator of a plan, summed over its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorProgress {
    /// The operator's name, such as `FilterExec`.
    pub name: String,
    /// What it does, as the plan shows it; may be empty.
    pub detail: String,
    /// The position of its parent in the list; `None` for the root.
    pub parent: Option<usize>,
    /// Rows that left it; `None` where it keeps no count.
    pub rows: Option<u64>,
    /// Time that it computed. It moves only when a measured section ends.
    pub elapsed_compute: Duration,
    /// Whether all its partitions that started have ended; `None` where it does not measure that.
    pub finished: Option<bool>,
}
