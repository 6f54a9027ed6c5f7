//! Sums over the queries of a run on a cluster, in bounded memory: why some ran on the client, and what each worker did.

use std::collections::{BTreeSet, HashMap};

use daglight_run_bundle::{ClusterTask, ClusterWork, PlanBundle, TasksLeftOut};

use crate::{
    display,
    plan_sums::plus,
    report::{ClusterReport, OnClientReport, WorkerReport},
    signals::entry,
};

/// The maximum number of reasons that are told apart: one may be an error whose text occurs only once.
const MAX_REASONS: usize = 100;
/// The maximum number of characters of a reason.
const MAX_REASON_CHARS: usize = 300;
/// The maximum number of workers, and of nodes of all reasons.
const MAX_KEPT: usize = 20_000;
/// The maximum number of nodes in a report, for each reason.
const MAX_NODES: usize = 20;
/// The maximum number of workers in a report.
const MAX_WORKERS: usize = 500;

/// The sums so far.
#[derive(Debug, Default)]
pub(crate) struct ClusterSums {
    engine: Option<String>,
    scheduler: Option<String>,
    on_cluster: u64,
    on_client: u64,
    reasons: HashMap<String, Stayed>,
    other_reasons: Stayed,
    /// Nodes of all reasons.
    nodes: usize,
    workers: HashMap<String, WorkerReport>,
    /// The tasks whose worker is not known.
    unplaced: WorkerReport,
}

/// The queries that stayed on the client for a reason.
#[derive(Debug, Default)]
struct Stayed {
    queries: u64,
    nodes: BTreeSet<String>,
}

impl ClusterSums {
    pub(crate) fn add(&mut self, plan: &PlanBundle) {
        let Some(work) = &plan.metrics.cluster else { return };
        self.engine.get_or_insert_with(|| work.engine.clone());
        if self.scheduler.is_none() {
            self.scheduler.clone_from(&work.scheduler);
        }
        // In bundles from before plans had sums over their executions, each file was one execution.
        let queries = plan.executions.as_ref().map_or(1, |all| all.started);
        match &work.on_client {
            Some(reason) => self.add_on_client(reason, queries, plan.node.as_deref()),
            None => self.on_cluster = self.on_cluster.saturating_add(queries),
        }
        self.add_tasks(work);
    }

    fn add_on_client(&mut self, reason: &str, queries: u64, node: Option<&str>) {
        self.on_client = self.on_client.saturating_add(queries);
        let reason = display::beginning(reason, MAX_REASON_CHARS);
        let stayed = entry(&mut self.reasons, &*reason, MAX_REASONS).unwrap_or(&mut self.other_reasons);
        stayed.queries = stayed.queries.saturating_add(queries);
        if let Some(node) = node.filter(|node| self.nodes < MAX_KEPT && !stayed.nodes.contains(*node)) {
            stayed.nodes.insert(node.to_owned());
            self.nodes += 1;
        }
    }

    fn add_tasks(&mut self, work: &ClusterWork) {
        for worker in &work.workers {
            // Also without a task: that it had none is what a reader looks for.
            let _ = entry(&mut self.workers, worker, MAX_KEPT);
        }
        for (_, task) in work.tasks() {
            let of_worker = match task.worker.as_str() {
                "" => None,
                worker => entry(&mut self.workers, worker, MAX_KEPT),
            };
            of_worker.unwrap_or(&mut self.unplaced).add(task);
        }
        for left_out in work.stages.iter().filter_map(|stage| stage.left_out.as_ref()) {
            self.unplaced.add_left_out(left_out);
        }
    }

    /// The sums; `None` for a run without a cluster.
    pub(crate) fn into_report(self) -> Option<ClusterReport> {
        let engine = self.engine?;
        let mut on_client: Vec<OnClientReport> =
            self.reasons.into_iter().map(|(reason, stayed)| stayed.into_report(Some(reason))).collect();
        on_client.sort_by(|a, b| b.queries.cmp(&a.queries).then_with(|| a.reason.cmp(&b.reason)));
        if self.other_reasons.queries > 0 {
            on_client.push(self.other_reasons.into_report(None));
        }
        let worker_count = self.workers.len() as u64;
        let mut workers: Vec<WorkerReport> = self
            .workers
            .into_iter()
            .map(|(worker, sums)| WorkerReport { worker: Some(worker), ..sums })
            .collect();
        workers.sort_by(|a, b| {
            let compute_ms = |worker: &WorkerReport| worker.compute_ms.unwrap_or(0.0);
            (compute_ms(b).total_cmp(&compute_ms(a)))
                .then_with(|| b.tasks.cmp(&a.tasks))
                .then_with(|| a.worker.cmp(&b.worker))
        });
        workers.truncate(MAX_WORKERS);
        workers.extend((self.unplaced.tasks > 0).then_some(self.unplaced));
        Some(ClusterReport {
            engine,
            scheduler: self.scheduler,
            queries_on_cluster: self.on_cluster,
            queries_on_client: self.on_client,
            on_client,
            worker_count,
            workers,
        })
    }
}

impl Stayed {
    fn into_report(self, reason: Option<String>) -> OnClientReport {
        OnClientReport {
            reason,
            queries: self.queries,
            nodes_left_out: self.nodes.len().saturating_sub(MAX_NODES) as u64,
            nodes: self.nodes.into_iter().take(MAX_NODES).collect(),
        }
    }
}

impl WorkerReport {
    fn add(&mut self, task: &ClusterTask) {
        self.tasks = self.tasks.saturating_add(1);
        match task.outcome.as_deref() {
            Some(ClusterTask::FAILED) => self.failed += 1,
            Some(ClusterTask::LOST) => self.lost += 1,
            Some(ClusterTask::CANCELLED) => self.cancelled += 1,
            _ => {}
        }
        self.add_measured(task.rows, task.bytes_received, task.compute_ms);
    }

    fn add_left_out(&mut self, left_out: &TasksLeftOut) {
        self.tasks = self.tasks.saturating_add(left_out.tasks);
        self.add_measured(Some(left_out.rows), Some(left_out.bytes_received), Some(left_out.compute_ms));
    }

    fn add_measured(&mut self, rows: Option<u64>, bytes_received: Option<u64>, compute_ms: Option<f64>) {
        self.rows = plus(self.rows, rows);
        self.bytes_received = plus(self.bytes_received, bytes_received);
        if let Some(ms) = compute_ms.filter(|ms| ms.is_finite()) {
            *self.compute_ms.get_or_insert(0.0) += ms.max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plan(node: &str, started: u64, cluster: Value) -> PlanBundle {
        let executions = json!({"started": started});
        let metrics = json!({"cluster": cluster});
        serde_json::from_value(json!({"node": node, "executions": executions, "metrics": metrics})).unwrap()
    }

    fn on_client(reason: &str) -> Value {
        json!({"engine": "datafusion-distributed", "on_client": reason, "workers": ["a:9400", "b:9400"]})
    }

    fn summed(plans: impl IntoIterator<Item = PlanBundle>) -> ClusterReport {
        let mut sums = ClusterSums::default();
        plans.into_iter().for_each(|plan| sums.add(&plan));
        sums.into_report().unwrap()
    }

    #[test]
    fn executions_on_the_client_count_by_reason_with_their_nodes() {
        let node = |number: u64| format!("n{number:04}");
        let plans = (0..5_000).map(|number| plan(&node(number), 2, on_client("it reads no files")));
        let small = plan("small", 3, on_client("its files are too small"));
        let sent = plan("sent", 7, json!({"engine": "datafusion-distributed"}));
        // From before plans had executions, and a query of no cluster.
        let old = PlanBundle { executions: None, ..small.clone() };
        let report = summed(plans.chain([small, sent, old, PlanBundle::default()]));
        assert_eq!((report.queries_on_cluster, report.queries_on_client), (7, 10_004));
        let [many, few] = &report.on_client[..] else { panic!("{report:#?}") };
        assert_eq!((many.reason.as_deref(), many.queries), (Some("it reads no files"), 10_000));
        assert_eq!((many.nodes.len(), many.nodes_left_out, &*many.nodes[19]), (20, 4_980, "n0019"));
        assert_eq!((few.queries, &few.nodes[..], few.nodes_left_out), (4, &["small".to_owned()][..], 0));
        assert_eq!(ClusterSums::default().into_report(), None);
    }

    #[test]
    fn reasons_beyond_the_bound_are_one_row_that_counts_all_of_their_queries() {
        let reason = |number: u64| format!("error {number:03} {}", "x".repeat(1_000));
        let report = summed((0..150).map(|number| plan("a", u64::MAX / 4, on_client(&reason(number)))));
        assert_eq!((report.on_client.len(), report.queries_on_client), (101, u64::MAX));
        let last = report.on_client.last().unwrap();
        assert_eq!((&last.reason, last.queries), (&None, u64::MAX));
        assert!(report.on_client.iter().flat_map(|row| &row.reason).all(|text| text.chars().count() == 301));
    }

    #[test]
    fn tasks_are_summed_by_worker_and_those_of_no_known_one_are_a_row() {
        let task = |worker: &str, outcome: &str, ms: f64| json!({"worker": worker, "outcome": outcome, "rows": 10, "bytes_received": 100, "compute_ms": ms});
        let tasks = [
            task("a:9400", "completed", 1.0),
            task("b:9400", "lost", 5.0),
            task("b:9400", "failed", -3.0),
            task("b:9400", "cancelled", 2.0),
            json!({"outcome": "completed"}),
        ];
        let left_out = json!({"tasks": 8, "rows": 80, "bytes_received": 800, "compute_ms": 16.0});
        let report = summed([plan(
            "n",
            1,
            json!({"engine": "ballista", "scheduler": "s:50050",
            "workers": ["a:9400", "b:9400", "idle:9400"], "stages": [{"tasks": tasks}, {"left_out": left_out}]}),
        )]);
        assert_eq!((report.worker_count, report.scheduler.as_deref()), (3, Some("s:50050")));
        let rows = report.workers.iter().map(|of| {
            let counts = (of.tasks, of.failed, of.lost, of.cancelled);
            (of.worker.as_deref(), counts, of.rows, of.bytes_received, of.compute_ms)
        });
        let expected = [
            (Some("b:9400"), (3, 1, 1, 1), Some(30), Some(300), Some(7.0)),
            (Some("a:9400"), (1, 0, 0, 0), Some(10), Some(100), Some(1.0)),
            (Some("idle:9400"), (0, 0, 0, 0), None, None, None),
            (None, (9, 0, 0, 0), Some(80), Some(800), Some(16.0)),
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_report_has_a_bounded_number_of_workers_and_says_how_many_there_are() {
        let workers: Vec<String> = (0..30_000).map(|number| format!("w{number}:9400")).collect();
        let tasks: Vec<Value> =
            workers.iter().map(|worker| json!({"worker": worker, "compute_ms": 1.0})).collect();
        let report = summed([plan("n", 1, json!({"workers": workers, "stages": [{"tasks": tasks}]}))]);
        assert_eq!((report.worker_count, report.workers.len()), (20_000, 501));
        assert_eq!(report.workers.last().map(|row| (&row.worker, row.tasks)), Some((&None, 10_000)));
    }
}
