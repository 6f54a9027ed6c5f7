//! What a cluster did of a query: its stages, their tasks, and the machines that these ran on.

use serde::{Deserialize, Serialize};

/// What a cluster did of a query. What a file does not have has its default when it is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterWork {
    /// What distributed the query: `datafusion-distributed`.
    pub engine: String,
    /// The id that the engine gave the query; `None` where all of it ran on the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_query_id: Option<String>,
    /// Why all of it ran on the client; `None` where it was distributed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_client: Option<String>,
    /// Workers that the query could use.
    pub workers: Vec<String>,
    /// The stages that ran on workers, in the order of their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<ClusterStage>,
    /// Whether a worker has not said what its operators measured: then their metrics are not in the plan.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub metrics_missing: bool,
}

/// A part of a plan that runs on several machines at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStage {
    /// Its number in the query.
    pub stage: u64,
    /// Each of its tasks.
    pub tasks: Vec<ClusterTask>,
}

/// What one machine does of a stage. Times are milliseconds since the query was sent to its workers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterTask {
    /// Its number in the stage.
    pub task: u64,
    /// The worker that it ran on, as `HOST:PORT`.
    pub worker: String,
    /// When the worker got its plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_ms: Option<f64>,
    /// When rows of it were first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<f64>,
    /// When it had given all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<f64>,
    /// `completed`, `lost` where its worker does not answer any more, or `cancelled` with its query; `None` while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Rows that it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes that it got from other machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// Time that its operators computed, in milliseconds, summed over their partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_ms: Option<f64>,
}

impl ClusterWork {
    /// The tasks of all stages, each with the number of its stage.
    pub fn tasks(&self) -> impl Iterator<Item = (u64, &ClusterTask)> {
        self.stages.iter().flat_map(|stage| stage.tasks.iter().map(|task| (stage.stage, task)))
    }
}
