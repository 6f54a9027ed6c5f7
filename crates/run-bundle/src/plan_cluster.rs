//! The part of a cluster in a query: stages, their tasks, and the machines that ran them.

use serde::{Deserialize, Serialize};

/// The work of a cluster for a query. Fields that a file lacks get their defaults when it is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterWork {
    /// The engine that distributed the query: `datafusion-distributed` or `ballista`.
    pub engine: String,
    /// The id that the engine gave the query; `None` if all of it ran on the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_query_id: Option<String>,
    /// The scheduler that was given the query as a job, as `HOST:PORT`; `None` for an engine without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Whether the scheduler may still be executing the job: the query is running, or it was given up and the scheduler has not confirmed
    /// that the job is cancelled. The tasks of a job that was given up have no outcome while this is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub job_open: bool,
    /// How the job had ended when the scheduler was asked after the end of the client: [`COMPLETED`](ClusterTask::COMPLETED),
    /// [`FAILED`](ClusterTask::FAILED), [`CANCELLED`](ClusterTask::CANCELLED) by whoever asked, or [`UNKNOWN`](Self::UNKNOWN); `None` if
    /// nobody has asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_end: Option<String>,
    /// Why all of it ran on the client; `None` if it was distributed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_client: Option<String>,
    /// The workers that were available to the query.
    pub workers: Vec<String>,
    /// The stages that ran on workers, in the order of their numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<ClusterStage>,
    /// The workers that were lost while the query ran, where the engine does not say which tasks were lost with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lost_workers: Vec<LostWorker>,
    /// Why the file lacks the requests of the tasks to object stores: its `storage` contains those of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_unknown: Option<String>,
    /// Whether a worker did not report the measurements of its operators: their metrics are then missing in the plan.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub metrics_missing: bool,
}

/// A worker that was lost while a query ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LostWorker {
    /// Its address, as `HOST:PORT`.
    pub worker: String,
    /// The last time at which it was known to be there, in milliseconds since the query was sent to its workers, 0 if that was before.
    pub since_ms: f64,
    /// By what that is known, such as `it refuses connections`.
    pub known_by: String,
    /// The stages of which tasks were running then: it may have had some of them.
    pub stages: Vec<u64>,
    /// How many tasks were running then.
    pub tasks: u64,
}

/// A part of a plan that runs on several machines at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStage {
    /// Its number in the query.
    pub stage: u64,
    /// Its tasks, as far as there is room for them.
    pub tasks: Vec<ClusterTask>,
    /// The sums over the tasks that are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<TasksLeftOut>,
}

/// Tasks of a stage for which a file has no room.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TasksLeftOut {
    /// How many.
    pub tasks: u64,
    /// Rows that they returned.
    pub rows: u64,
    /// Bytes that they received from other machines.
    pub bytes_received: u64,
    /// Compute time of their operators, in milliseconds.
    pub compute_ms: f64,
}

/// The part of a stage on one machine. Times are milliseconds since the query was sent to its workers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterTask {
    /// Its number in the stage.
    pub task: u64,
    /// The worker that it ran on, as `HOST:PORT`; empty if its engine does not say.
    pub worker: String,
    /// When the worker received its plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_ms: Option<f64>,
    /// When its rows were first requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<f64>,
    /// When it had returned all of its rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<f64>,
    /// How it ended: [`COMPLETED`](Self::COMPLETED), [`LOST`](Self::LOST), [`FAILED`](Self::FAILED) or
    /// [`CANCELLED`](Self::CANCELLED); `None` while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Rows that it returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes that it received from other machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
    /// Compute time of its operators, in milliseconds, summed over their partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_ms: Option<f64>,
    /// Whether its worker makes the span of it, where not every worker of the engine does. It is not in the file.
    #[serde(skip)]
    pub has_own_span: bool,
}

/// The name of the engine that has a scheduler.
pub const BALLISTA: &str = "ballista";

/// The maximum number of tasks of a query in a file: at 330 bytes each, readers accept the file.
pub const MAX_CLUSTER_TASKS: usize = 10_000;

impl ClusterTask {
    /// It returned all of its rows.
    pub const COMPLETED: &str = "completed";
    /// Its worker no longer answers.
    pub const LOST: &str = "lost";
    /// Another task repeated it, or the query failed.
    pub const FAILED: &str = "failed";
    /// It ended with its query.
    pub const CANCELLED: &str = "cancelled";
}

impl ClusterWork {
    /// Why nothing is known of the requests of tasks whose workers count them.
    pub const STORAGE_ON_SPANS: &str = "workers count the requests of their tasks, and export them with the spans of these (daglight.storage.*)";
    /// Why nothing is known of the requests of tasks whose workers do not count them.
    pub const STORAGE_UNCOUNTED: &str = "the workers do not count the requests of their tasks";
    /// Its scheduler does not know the job.
    pub const UNKNOWN: &str = "unknown";

    /// Limits the number of tasks to [`MAX_CLUSTER_TASKS`]. A stage with more than its share keeps the tasks that did not complete
    /// or took longest, and evenly spaced ones of the others.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let all: usize = self.stages.iter().map(|stage| stage.tasks.len()).sum();
        if all > MAX_CLUSTER_TASKS {
            for stage in &mut self.stages {
                stage.keep(stage.tasks.len() * MAX_CLUSTER_TASKS / all);
            }
        }
        self
    }

    /// Whether its stages are known only by what a scheduler reports of them. Its tasks are too, unless they
    /// [have spans](ClusterTask::has_own_span).
    pub fn is_reported(&self) -> bool {
        self.engine == BALLISTA
    }

    /// The tasks of all stages, each with the number of its stage.
    pub fn tasks(&self) -> impl Iterator<Item = (u64, &ClusterTask)> {
        self.stages.iter().flat_map(|stage| stage.tasks.iter().map(|task| (stage.stage, task)))
    }
}

impl ClusterStage {
    fn keep(&mut self, count: usize) {
        let mut tasks = std::mem::take(&mut self.tasks);
        let completed = |task: &ClusterTask| task.outcome.as_deref() == Some(ClusterTask::COMPLETED);
        tasks.sort_by(|a, b| {
            (completed(a).cmp(&completed(b))).then_with(|| took_ms(b).total_cmp(&took_ms(a)))
        });
        let others = tasks.split_off((count / 2).min(tasks.len()));
        let room = count - tasks.len();
        let step = if room == 0 { usize::MAX } else { others.len().div_ceil(room).max(1) };
        let mut left_out = self.left_out.take().unwrap_or_default();
        for (position, task) in others.into_iter().enumerate() {
            if room > 0 && position % step == 0 {
                tasks.push(task);
                continue;
            }
            left_out.tasks += 1;
            left_out.rows = left_out.rows.saturating_add(task.rows.unwrap_or_default());
            left_out.bytes_received =
                left_out.bytes_received.saturating_add(task.bytes_received.unwrap_or_default());
            left_out.compute_ms += task.compute_ms.unwrap_or_default();
        }
        tasks.sort_by_key(|task| task.task);
        self.tasks = tasks;
        self.left_out = Some(left_out).filter(|left_out| left_out.tasks > 0);
    }
}

fn took_ms(task: &ClusterTask) -> f64 {
    task.ended_ms.zip(task.started_ms).map_or(f64::INFINITY, |(ended, started)| ended - started)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(task: u64) -> ClusterTask {
        ClusterTask {
            task,
            started_ms: Some(0.0),
            ended_ms: Some(if task == 777 { 50.0 } else { 5.0 }),
            outcome: Some(if task == 9_999 { "lost" } else { "completed" }.to_owned()),
            rows: Some(2),
            bytes_received: Some(3),
            compute_ms: Some(4.0),
            ..ClusterTask::default()
        }
    }

    #[test]
    fn what_stands_out_stays_and_the_rest_is_summed() {
        let stage = |count| ClusterStage { tasks: (0..count).map(task).collect(), ..ClusterStage::default() };
        let work = ClusterWork { stages: vec![stage(30_000), stage(10_000)], ..ClusterWork::default() };
        let bounded = work.clone().bounded();
        assert!(bounded.tasks().count() <= MAX_CLUSTER_TASKS);
        for (stage, all) in bounded.stages.iter().zip(&work.stages) {
            let numbers: Vec<u64> = stage.tasks.iter().map(|task| task.task).collect();
            assert!(numbers.contains(&777) && numbers.contains(&9_999) && numbers.is_sorted());
            assert!(stage.tasks.len() > 1_000);
            let left_out = stage.left_out.as_ref().unwrap();
            assert_eq!(left_out.tasks as usize + stage.tasks.len(), all.tasks.len());
            let expected = (left_out.tasks * 2, left_out.tasks * 3, left_out.tasks as f64 * 4.0);
            assert_eq!((left_out.rows, left_out.bytes_received, left_out.compute_ms), expected);
        }
        let small = ClusterWork { stages: vec![stage(10_000)], ..ClusterWork::default() };
        assert_eq!(small.clone().bounded(), small);
    }
}
