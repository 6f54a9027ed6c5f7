//! The progress of running queries, as the code that runs them reports it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The source of a run's progress. It is called on the heartbeat's thread, once per beat.
pub trait Progress: Send + Sync {
    /// The current state.
    fn sample(&self) -> Sample;
}

/// The progress of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// The running queries.
    pub queries: Vec<QueryProgress>,
    /// The nodes that have not started, and those that have ended.
    pub nodes: Nodes,
    /// What queries have moved since the run started, including those that have ended.
    pub moved: Moved,
    /// The memory that queries have reserved.
    pub memory: Option<MemoryUse>,
    /// The threads of the async runtime.
    pub runtime: Option<RuntimeUse>,
    /// The running nodes.
    pub running: Vec<NodeProgress>,
    /// The running statements and stages that belong to no node.
    pub statements: Vec<StatementProgress>,
    /// The consumers that are currently waiting for memory.
    pub memory_waits: Vec<MemoryWait>,
}

impl Sample {
    /// The polls of everything that is running.
    pub(crate) fn all_polls(&self) -> impl Iterator<Item = &Poll> {
        let of_queries = self.queries.iter().flat_map(|query| &query.polls);
        let of_nodes = self.running.iter().flat_map(|node| &node.polls);
        let of_statements = self.statements.iter().flat_map(|statement| &statement.polls);
        of_queries.chain(of_nodes).chain(of_statements)
    }

    /// Whether something outside all nodes has a query, which is then watched instead.
    pub(crate) fn has_query_without_node(&self) -> bool {
        self.queries.iter().any(|query| query.node.is_none())
    }

    /// The statement to which work outside all nodes belongs, if there is only one candidate.
    pub(crate) fn only_statement(&self) -> Option<&StatementProgress> {
        match self.statements.as_slice() {
            [statement] => Some(statement),
            _ => None,
        }
    }

    /// The progress of a node.
    pub(crate) fn node(&self, name: &str) -> Option<&NodeProgress> {
        self.running.iter().find(|node| node.name == name)
    }
}

/// A running node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeProgress {
    /// Its name.
    pub name: String,
    /// Grows with everything that shows progress of the node: starting and ending queries, and marks set by its code.
    pub marks: u64,
    /// Polls of its code that have not returned yet.
    pub polls: Vec<Poll>,
    /// The total duration of those that have returned.
    pub busy: Duration,
    /// The time without progress after which it counts as stalled, if it has its own limit.
    pub stall_after: Option<Duration>,
    /// The number of unfinished tasks that its code has spawned.
    pub tasks: usize,
    /// The current step of planning one of its queries, as text.
    pub planning: Option<String>,
}

/// A running statement or stage that belongs to no node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementProgress {
    /// Its number in the run.
    pub id: u64,
    /// Its name, such as `the statement at shop.sql:12`.
    pub name: String,
    /// Whether code of nodes may run within it, as in a stage of a program. Then it makes progress while they do.
    pub holds_nodes: bool,
    /// Grows with everything that shows progress of the run outside its nodes.
    pub marks: u64,
    /// Polls of its code that have not returned yet.
    pub polls: Vec<Poll>,
    /// The total duration of those that have returned.
    pub busy: Duration,
    /// The current step of planning one of its queries, as text.
    pub planning: Option<String>,
}

/// Code that is running, and has not yielded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The number of its thread in the operating system.
    pub thread: Option<u64>,
    /// How long it has been running so far.
    pub lasts: Duration,
    /// Whether it runs on a thread for blocking calls, and so does not occupy one for tasks.
    pub may_block: bool,
}

/// A consumer that is waiting for memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryWait {
    /// Its name in the memory pool.
    pub consumer: String,
    /// The number of requested bytes.
    pub bytes: u64,
    /// The number of the waiting thread.
    pub thread: Option<u64>,
}

/// The nodes of a run that are not running.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// Those that have not started.
    pub pending: Names,
    /// Those that have ended, successfully or not.
    pub completed: Names,
}

/// A number of names, of which the first are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// All of them.
    pub count: usize,
    /// The first ones, at most [`Names::MOST`].
    pub first: Vec<String>,
}

impl Names {
    /// The maximum number of names that are kept.
    pub const MOST: usize = 20;

    /// Counts one more, and keeps its name where there is room.
    pub fn add(&mut self, name: &str) {
        // All are counted, but only the first ones are named: a DAG may have thousands.
        self.count += 1;
        if self.first.len() < Self::MOST {
            self.first.push(name.to_owned());
        }
    }
}

/// Rows and bytes that queries have moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Rows that scans returned.
    pub rows_read: u64,
    /// Rows that sinks accepted.
    pub rows_written: u64,
    /// Bytes that scans read from storage.
    pub bytes_read: u64,
    /// Bytes that sinks wrote to storage.
    pub bytes_written: u64,
    /// Bytes that operators spilled to disk.
    pub bytes_spilled: u64,
}

impl Moved {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rows_read: self.rows_read.saturating_add(other.rows_read),
            rows_written: self.rows_written.saturating_add(other.rows_written),
            bytes_read: self.bytes_read.saturating_add(other.bytes_read),
            bytes_written: self.bytes_written.saturating_add(other.bytes_written),
            bytes_spilled: self.bytes_spilled.saturating_add(other.bytes_spilled),
        }
    }
}

/// The memory pools of all sessions together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Bytes that are reserved.
    pub reserved_bytes: u64,
    /// The limit in bytes; `None` if a pool has no limit, or does not provide it.
    pub limit_bytes: Option<u64>,
}

/// The worker threads of an async runtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeUse {
    /// The number of all workers.
    pub workers: usize,
    /// Those that are currently running a task; `None` if the platform does not provide it.
    pub busy_workers: Option<usize>,
    /// Tasks waiting in the shared queue of all workers.
    pub queue_depth: usize,
}

impl RuntimeUse {
    /// Whether all of its workers are running tasks, so that a ready task may have to wait for one. False if unknown.
    pub(crate) fn is_full(&self) -> bool {
        self.workers > 0 && self.busy_workers.is_some_and(|busy| busy >= self.workers)
    }
}

/// The progress of a run without queries.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn sample(&self) -> Sample {
        Sample::default()
    }
}

/// A running query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryProgress {
    /// The id of the query.
    pub query_id: String,
    /// The node to which it belongs.
    pub node: Option<String>,
    /// When it started.
    pub started: DateTime<Utc>,
    /// Rows returned by the root of the plan.
    pub rows_output: u64,
    /// The operators in pre-order: the root first, every operator after its parent.
    pub operators: Vec<OperatorProgress>,
    /// Whether something is waiting for its next rows.
    pub is_asked: bool,
    /// Polls of its root that have not returned yet.
    pub polls: Vec<Poll>,
    /// The total duration of those that have returned, plus the computing time of workers in a cluster.
    pub busy: Duration,
    /// The task on a worker of a cluster for which it is waiting, as text.
    pub waits_for_worker: Option<String>,
}

/// An operator of a plan, summed over its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorProgress {
    /// The operator's name, such as `FilterExec`.
    pub name: String,
    /// Its line in the plan; may be empty.
    pub detail: String,
    /// The position of its parent in the list; `None` for the root.
    pub parent: Option<usize>,
    /// Rows that it returned; `None` if it does not count them.
    pub rows: Option<u64>,
    /// Bytes that it has returned, read, written and spilled, as far as it counts them.
    pub bytes: u64,
    /// Its compute time. It grows only when a measured section ends.
    pub elapsed_compute: Duration,
    /// Whether all its partitions that started have ended; `None` if it does not measure that.
    pub finished: Option<bool>,
    /// For a source: whether it was asked for rows and has none yet; `None` if that is not observed.
    pub is_waiting: Option<bool>,
}

/// Whether the operator at this position has no inputs.
pub(crate) fn is_leaf(operators: &[OperatorProgress], position: usize) -> bool {
    operators.iter().all(|operator| operator.parent != Some(position))
}
