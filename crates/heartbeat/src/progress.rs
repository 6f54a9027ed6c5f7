//! How far the running queries are, as whoever runs them reports it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Where the heartbeat asks for how far the run is. It is called on the heartbeat's thread, once a beat.
pub trait Progress: Send + Sync {
    /// The state of this moment.
    fn sample(&self) -> Sample;
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// The queries that run.
    pub queries: Vec<QueryProgress>,
    /// The nodes that wait for their turn, and those that are done.
    pub nodes: Nodes,
    /// What queries have moved since the run started, those that have ended included.
    pub moved: Moved,
    /// The memory that queries have reserved.
    pub memory: Option<MemoryUse>,
    /// The threads of the async runtime.
    pub runtime: Option<RuntimeUse>,
    /// The nodes that run.
    pub running: Vec<NodeProgress>,
    /// The statements and stages that run and belong to no node.
    pub statements: Vec<StatementProgress>,
    /// Who waits for memory at this moment.
    pub memory_waits: Vec<MemoryWait>,
}

impl Sample {
    /// The polls of everything that runs.
    pub(crate) fn all_polls(&self) -> impl Iterator<Item = &Poll> {
        let of_queries = self.queries.iter().flat_map(|query| &query.polls);
        let of_nodes = self.running.iter().flat_map(|node| &node.polls);
        let of_statements = self.statements.iter().flat_map(|statement| &statement.polls);
        of_queries.chain(of_nodes).chain(of_statements)
    }

    /// Whether something that belongs to no node has a query, which is then watched in its place.
    pub(crate) fn has_query_without_node(&self) -> bool {
        self.queries.iter().any(|query| query.node.is_none())
    }

    /// The statement of what belongs to no node, where only one can be meant.
    pub(crate) fn only_statement(&self) -> Option<&StatementProgress> {
        match self.statements.as_slice() {
            [statement] => Some(statement),
            _ => None,
        }
    }

    /// The polls of a node.
    pub(crate) fn node(&self, name: &str) -> Option<&NodeProgress> {
        self.running.iter().find(|node| node.name == name)
    }
}

/// A node that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeProgress {
    /// Its name.
    pub name: String,
    /// Grows with everything by which the node moves: its queries that start and end, and what its code says.
    pub marks: u64,
    /// Polls of its code that have not returned.
    pub polls: Vec<Poll>,
    /// How long those took that have.
    pub busy: Duration,
    /// After which time without progress it counts as stalled, where that is not what holds for all.
    pub stall_after: Option<Duration>,
    /// Tasks that its code has spawned and that have not ended.
    pub tasks: usize,
    /// What goes on of the planning of a query of it, in words.
    pub planning: Option<String>,
}

/// A statement or a stage that runs and belongs to no node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementProgress {
    /// Its number in the run.
    pub id: u64,
    /// Its name, such as `the statement at shop.sql:12`.
    pub name: String,
    /// Whether code of nodes may run within it, as in a stage of a program. Then it moves while they do.
    pub holds_nodes: bool,
    /// Grows with everything by which the run moves outside of its nodes.
    pub marks: u64,
    /// Polls of its code that have not returned.
    pub polls: Vec<Poll>,
    /// How long those took that have.
    pub busy: Duration,
    /// What goes on of the planning of a query that it asks for, in words.
    pub planning: Option<String>,
}

/// Code that is being run, and has not given way since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The number of its thread, as the operating system has it.
    pub thread: Option<u64>,
    /// How long it has taken so far.
    pub lasts: Duration,
    /// Whether it is on a thread that is made for calls that block, and so takes none of those that run tasks.
    pub may_block: bool,
}

/// Somebody who waits for memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryWait {
    /// Who, as the memory pool calls it.
    pub consumer: String,
    /// Bytes that are wanted.
    pub bytes: u64,
    /// The number of the thread that waits.
    pub thread: Option<u64>,
}

/// The nodes of a run that do not run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nodes {
    /// Those that have not started.
    pub pending: Names,
    /// Those that have ended, in whatever way.
    pub completed: Names,
}

/// How many there are, and the names of the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// All of them.
    pub count: usize,
    /// The names of the first ones: no more than [`Names::MOST`].
    pub first: Vec<String>,
}

impl Names {
    /// Names that are kept.
    pub const MOST: usize = 20;

    /// Counts one more, and keeps its name where there is room.
    pub fn add(&mut self, name: &str) {
        // All are counted, and the first ones named: a DAG may have thousands.
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
    /// Rows that sinks took.
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

/// The memory pools of the sessions, taken together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Bytes that are reserved.
    pub reserved_bytes: u64,
    /// Bytes that may be; `None` where a pool has no limit, or does not say.
    pub limit_bytes: Option<u64>,
}

/// The threads that an async runtime runs tasks on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeUse {
    /// All of them.
    pub workers: usize,
    /// Those that run a task at this moment; `None` where the platform does not say.
    pub busy_workers: Option<usize>,
    /// Tasks that wait in the queue that all threads share.
    pub queue_depth: usize,
}

impl RuntimeUse {
    /// Whether all of its threads run tasks, so that a task that is ready may have to wait for one. False where that is not
    /// known.
    pub(crate) fn is_full(&self) -> bool {
        self.workers > 0 && self.busy_workers.is_some_and(|busy| busy >= self.workers)
    }
}

/// The progress of a run that has no queries.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn sample(&self) -> Sample {
        Sample::default()
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
    /// Whether somebody waits for its next rows.
    pub is_asked: bool,
    /// Polls of its root that have not returned.
    pub polls: Vec<Poll>,
    /// How long those took that have, and how long workers of a cluster have computed for it.
    pub busy: Duration,
    /// The task on a worker of a cluster that it waits for, in words.
    pub waits_for_worker: Option<String>,
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
    /// Bytes that it has returned, read, written and spilled, as far as it counts them.
    pub bytes: u64,
    /// Time that it computed. It moves only when a measured section ends.
    pub elapsed_compute: Duration,
    /// Whether all its partitions that started have ended; `None` where it does not measure that.
    pub finished: Option<bool>,
    /// Of a source: whether it was asked for rows and has none yet; `None` where that is not seen.
    pub is_waiting: Option<bool>,
}

/// Whether no other operator is below the one at this position.
pub(crate) fn is_leaf(operators: &[OperatorProgress], position: usize) -> bool {
    operators.iter().all(|operator| operator.parent != Some(position))
}
