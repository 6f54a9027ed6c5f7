//! What a cluster did for a query, as the page of its node shows it: sums, however many workers and tasks there were.

use daglight_run_bundle::{ClusterTask, ClusterWork, saturating_sum};
use serde_json::{Value, json};

use crate::artifacts::known_only;

/// Workers whose addresses are kept. A node keeps its first hundred queries, and the plan file has all workers.
const MAX_ADDRESSES: usize = 20;

/// The work of a cluster for a query, in sums.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClusterFacts {
    engine: String,
    scheduler: Option<String>,
    job: Option<String>,
    on_client: Option<String>,
    workers: usize,
    addresses: Vec<String>,
    stages: usize,
    tasks: u64,
    /// Tasks that did not complete: how many, by how they ended.
    not_completed: [(&'static str, u64); 3],
    bytes_received: Option<u64>,
    compute_ms: Option<f64>,
    lost_workers: Vec<String>,
}

impl ClusterFacts {
    pub(crate) fn of(work: &ClusterWork) -> Self {
        let left_out = || work.stages.iter().filter_map(|stage| stage.left_out.as_ref());
        let ended = |outcome| {
            let tasks = work.tasks().filter(|(_, task)| task.outcome.as_deref() == Some(outcome));
            (outcome, tasks.count() as u64)
        };
        let bytes = work.tasks().filter_map(|(_, task)| task.bytes_received);
        let compute = work.tasks().filter_map(|(_, task)| task.compute_ms);
        let mut bytes = bytes.chain(left_out().map(|tasks| tasks.bytes_received)).peekable();
        let mut compute = compute.chain(left_out().map(|tasks| tasks.compute_ms)).peekable();
        let lost = work.lost_workers.iter().map(|lost| lost.worker.clone());
        Self {
            engine: work.engine.clone(),
            scheduler: work.scheduler.clone(),
            job: work.engine_query_id.clone(),
            on_client: work.on_client.clone(),
            workers: work.workers.len(),
            addresses: work.workers.iter().take(MAX_ADDRESSES).cloned().collect(),
            stages: work.stages.len(),
            tasks: saturating_sum(
                left_out().map(|tasks| tasks.tasks).chain(work.stages.iter().map(|s| s.tasks.len() as u64)),
            ),
            not_completed: [ClusterTask::FAILED, ClusterTask::LOST, ClusterTask::CANCELLED].map(ended),
            bytes_received: bytes.peek().is_some().then(|| saturating_sum(bytes)),
            compute_ms: compute.peek().is_some().then(|| compute.sum()),
            lost_workers: lost.take(MAX_ADDRESSES).collect(),
        }
    }

    /// As the page shows it. What is not known, and counts of what did not happen, are left out.
    pub(crate) fn describe(&self) -> Value {
        let ran = if self.on_client.is_some() { "on the client" } else { "on the cluster" };
        let count = |count: u64| (count > 0).then_some(count);
        let mut described = json!({
            "engine": self.engine,
            "ran": ran,
            "why": self.on_client,
            "scheduler": self.scheduler,
            "job": self.job,
            "workers": count(self.workers as u64),
            "worker_addresses": (!self.addresses.is_empty()).then(|| self.addresses.join(", ")),
            "stages": count(self.stages as u64),
            "tasks": count(self.tasks),
            "bytes_shuffled": self.bytes_received,
            "compute_ms": self.compute_ms.map(|ms| (ms * 1e3).round() / 1e3),
            "lost_workers": (!self.lost_workers.is_empty()).then(|| self.lost_workers.join(", ")),
        });
        for (outcome, tasks) in self.not_completed {
            described[format!("{outcome}_tasks")] = json!(count(tasks));
        }
        known_only(described)
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::{ClusterStage, LostWorker, TasksLeftOut};

    use super::*;

    #[test]
    fn tasks_are_summed_with_those_that_the_plan_file_leaves_out() {
        let task = |outcome: &str, bytes| ClusterTask {
            outcome: Some(outcome.to_owned()),
            bytes_received: bytes,
            compute_ms: Some(1.5),
            ..ClusterTask::default()
        };
        let left_out = TasksLeftOut { tasks: 70, bytes_received: 500, compute_ms: 7.0, rows: 9 };
        let first = ClusterStage {
            tasks: vec![task("completed", Some(10)), task("lost", None)],
            left_out: Some(left_out),
            ..ClusterStage::default()
        };
        let second = ClusterStage { tasks: vec![task("lost", Some(5))], ..ClusterStage::default() };
        let lost = LostWorker { worker: "w1:9400".to_owned(), ..LostWorker::default() };
        let work = ClusterWork {
            engine: "ballista".to_owned(),
            scheduler: Some("s:50050".to_owned()),
            engine_query_id: Some("job".to_owned()),
            workers: (0..1_000).map(|worker| format!("w{worker}:9400")).collect(),
            stages: vec![first, second],
            lost_workers: vec![lost],
            ..ClusterWork::default()
        };
        let mut described = ClusterFacts::of(&work).describe();
        let addresses = described["worker_addresses"].take();
        assert_eq!(addresses.as_str().map(|text| text.split(", ").count()), Some(MAX_ADDRESSES));
        let expected = json!({
            "engine": "ballista", "ran": "on the cluster", "scheduler": "s:50050", "job": "job", "workers": 1_000,
            "worker_addresses": null, "stages": 2, "tasks": 73, "lost_tasks": 2, "bytes_shuffled": 515, "compute_ms": 11.5,
            "lost_workers": "w1:9400",
        });
        assert_eq!(described, expected);
    }

    #[test]
    fn a_query_on_the_client_has_its_reason_and_no_counts() {
        let work = ClusterWork {
            engine: "ballista".to_owned(),
            on_client: Some("it reads no files".to_owned()),
            ..ClusterWork::default()
        };
        let expected = json!({ "engine": "ballista", "ran": "on the client", "why": "it reads no files" });
        assert_eq!(ClusterFacts::of(&work).describe(), expected);
    }
}
