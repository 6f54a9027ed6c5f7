//! What of a run a cluster executed, and what stayed on the client.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The queries of a run on a cluster. A query is an execution of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterReport {
    /// The engine: `datafusion-distributed` or `ballista`.
    pub engine: String,
    /// The scheduler of the engine, as `HOST:PORT`; `None` for an engine without one, and where no query was sent to it.
    pub scheduler: Option<String>,
    /// Queries that were distributed.
    pub queries_on_cluster: u64,
    /// Queries that ran on the client as a whole.
    pub queries_on_client: u64,
    /// Why they did, the most frequent reason first.
    pub on_client: Vec<OnClientReport>,
    /// How many workers are known.
    pub worker_count: u64,
    /// Those that computed longest, the longest first.
    pub workers: Vec<WorkerReport>,
}

/// Queries that ran on the client for the same reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OnClientReport {
    /// The reason; `None` for all others where there are too many.
    pub reason: Option<String>,
    /// How many queries.
    pub queries: u64,
    /// The first of their nodes by name.
    pub nodes: Vec<String>,
    /// Nodes that are not among them.
    pub nodes_left_out: u64,
}

/// The tasks of a worker, in the slowest execution of each plan. What no task says is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerReport {
    /// Its address, as `HOST:PORT`; `None` for the tasks whose worker is not known, because the engine does not say it or the plan
    /// file has only the sums over them.
    pub worker: Option<String>,
    /// Its tasks.
    pub tasks: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were lost with it.
    pub lost: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
    /// Rows that its tasks returned.
    pub rows: Option<u64>,
    /// Bytes that its tasks received from other machines.
    pub bytes_received: Option<u64>,
    /// Time that the operators of its tasks computed, summed over their partitions.
    pub compute_ms: Option<f64>,
}
