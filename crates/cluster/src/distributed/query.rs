//! What is known of one execution of a query on workers: where each of its tasks runs, and how it ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use daglight_plan_diagnostics::RemoteWork;
use daglight_run_bundle::{ClusterStage, ClusterTask, ClusterWork};
use datafusion::{
    error::DataFusionError,
    physical_plan::metrics::{MetricValue, MetricsSet},
};
use datafusion_distributed::{TaskKey, TaskMetrics};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{live_tasks::LiveTasks, task_name::TaskName};
use crate::{address::WorkerAddress, computing_time::computing_time};

/// What the file of a plan calls the engine.
pub(super) const ENGINE: &str = "datafusion-distributed";

/// One execution of a query on workers.
pub(super) struct QueryWork {
    workers: Arc<[WorkerAddress]>,
    begun: Instant,
    /// What the workers say meanwhile.
    live: Arc<LiveTasks>,
    state: Mutex<State>,
    /// Told when a task is lost.
    pub(super) lost: Notify,
}

#[derive(Default)]
struct State {
    query_id: Option<Uuid>,
    stages: BTreeMap<usize, BTreeMap<usize, ClusterTask>>,
    metrics_missing: bool,
}

impl State {
    fn lost_tasks(&self) -> impl Iterator<Item = (usize, &ClusterTask)> {
        let tasks =
            self.stages.iter().flat_map(|(stage, tasks)| tasks.values().map(move |task| (*stage, task)));
        tasks.filter(|(_, task)| task.outcome.as_deref() == Some(ClusterTask::LOST))
    }

    fn is_lost(&self, worker: &str) -> bool {
        self.lost_tasks().any(|(_, task)| task.worker == worker)
    }
}

impl QueryWork {
    pub(super) fn begin(workers: Arc<[WorkerAddress]>, live: Arc<LiveTasks>) -> Self {
        Self { workers, begun: Instant::now(), live, state: Mutex::default(), lost: Notify::new() }
    }

    /// The id that the engine has given the query, once it has sent a task of it.
    pub(super) fn engine_query_id(&self) -> Option<String> {
        self.lock().query_id.map(|id| id.to_string())
    }

    /// The task whose loss is the cause of an error: with a worker all of its tasks are lost, also those that nobody waited for. It is the
    /// one that the error names, whose connection may not have broken yet, or else the first one that had not given all of its rows. `None`
    /// while no worker is lost.
    pub(super) fn lost_task(&self, error: &DataFusionError) -> Option<TaskName> {
        let state = self.lock();
        let named = TaskName::innermost(error).filter(|named| state.is_lost(&named.worker));
        let lost: Vec<_> = state.lost_tasks().collect();
        let open = || lost.iter().find(|(stage, task)| !self.live.has_ended(*stage as u64, task.task));
        named.or_else(|| open().or(lost.first()).map(|(stage, task)| TaskName::of(*stage, task)))
    }

    pub(super) fn metrics_are_missing(&self) {
        self.lock().metrics_missing = true;
    }

    /// The execution is over: what has no outcome ended with it, or before.
    pub(super) fn end(&self, has_all_rows: bool) {
        for (stage, tasks) in &mut self.lock().stages {
            for task in tasks.values_mut() {
                let has_ended = has_all_rows || self.live.has_ended(*stage as u64, task.task);
                let outcome = if has_ended { ClusterTask::COMPLETED } else { ClusterTask::CANCELLED };
                task.outcome.get_or_insert_with(|| outcome.to_owned());
            }
        }
    }

    /// The execution has failed with this error, which may name the task that it is of.
    pub(super) fn fail(&self, error: &DataFusionError) {
        if let Some(name) = TaskName::innermost(error) {
            let mut state = self.lock();
            let is_lost = state.is_lost(&name.worker);
            let task = state.stages.get_mut(&name.stage).and_then(|tasks| {
                tasks.values_mut().find(|task| task.task == name.task && task.worker == name.worker)
            });
            if let Some(task) = task.filter(|task| task.outcome.is_none()) {
                let outcome = if is_lost { ClusterTask::LOST } else { ClusterTask::FAILED };
                task.outcome = Some(outcome.to_owned());
            }
        }
        self.end(false);
    }

    pub(super) fn sent(&self, key: &TaskKey, worker: &WorkerAddress) {
        let sent_ms = milliseconds(self.begun.elapsed());
        let mut state = self.lock();
        state.query_id = Some(key.query_id);
        let task = ClusterTask {
            task: key.task_number as u64,
            worker: worker.to_string(),
            sent_ms: Some(sent_ms),
            ..ClusterTask::default()
        };
        state.stages.entry(key.stage_id).or_default().insert(key.task_number, task);
    }

    pub(super) fn measured(&self, key: &TaskKey, measured: &TaskMetrics) {
        self.change(key, |task| {
            let of_task = |name: &str| value_of(&measured.task_metrics, name).map(|value| value as f64 / 1e6);
            task.started_ms = of_task("plan_executed_at");
            // The engine says when the plan was given up, which is when its query ended.
            let worked = working_time(&measured.pre_order_plan_metrics).map(milliseconds);
            let ended = task.started_ms.zip(worked).map(|(started, worked)| started + worked);
            task.ended_ms = ended.or_else(|| of_task("plan_finished_at"));
            task.rows = measured
                .pre_order_plan_metrics
                .first()
                .and_then(MetricsSet::output_rows)
                .map(|rows| rows as u64);
            let all = || measured.pre_order_plan_metrics.iter();
            task.bytes_received =
                all().filter_map(|metrics| value_of(metrics, "bytes_transferred")).reduce(|a, b| a + b);
            let computed: Duration = all().map(computing_time).sum();
            task.compute_ms = Some(milliseconds(computed));
            // Those of a query that has failed say how they ended, and come later.
            task.outcome.get_or_insert_with(|| ClusterTask::COMPLETED.to_owned());
        });
    }

    pub(super) fn lose(&self, key: &TaskKey) {
        let ended_ms = milliseconds(self.begun.elapsed());
        self.change(key, |task| {
            if task.outcome.is_none() {
                task.outcome = Some(ClusterTask::LOST.to_owned());
                task.ended_ms = Some(ended_ms);
            }
        });
        self.lost.notify_waiters();
    }

    fn change(&self, key: &TaskKey, change: impl FnOnce(&mut ClusterTask)) {
        let mut state = self.lock();
        let task = state.stages.get_mut(&key.stage_id).and_then(|tasks| tasks.get_mut(&key.task_number));
        if let Some(task) = task {
            change(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RemoteWork for QueryWork {
    fn busy(&self) -> Duration {
        self.live.busy()
    }

    /// A task of a worker that is silent, or else the first one that has not ended: those behind it wait for it.
    fn waits_for(&self) -> Option<String> {
        let state = self.lock();
        let tasks = state.stages.iter().flat_map(|(stage, tasks)| tasks.values().map(|task| (*stage, task)));
        let open = tasks
            .filter(|(stage, task)| task.outcome.is_none() && !self.live.has_ended(*stage as u64, task.task));
        let open: Vec<_> = open.collect();
        if let Some((stage, task)) = open.iter().find(|(_, task)| self.live.is_silent(&task.worker)) {
            return Some(format!("{}, which does not answer", TaskName::of(*stage, task)));
        }
        open.first().map(|(stage, task)| TaskName::of(*stage, task).to_string())
    }

    fn so_far(&self) -> ClusterWork {
        let state = self.lock();
        let stages = state.stages.iter().map(|(stage, tasks)| ClusterStage {
            stage: *stage as u64,
            tasks: tasks.values().cloned().collect(),
            left_out: None,
        });
        ClusterWork {
            engine: ENGINE.to_owned(),
            engine_query_id: state.query_id.map(|id| id.to_string()),
            workers: self.workers.iter().map(ToString::to_string).collect(),
            stages: stages.collect(),
            storage_unknown: Some(ClusterWork::STORAGE_ON_SPANS.to_owned()),
            metrics_missing: state.metrics_missing,
            ..ClusterWork::default()
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn value_of(metrics: &MetricsSet, name: &str) -> Option<u64> {
    let named = metrics.iter().filter(|metric| metric.value().name() == name);
    named
        .map(|metric| metric.value())
        .map(MetricValue::as_usize)
        .reduce(|a, b| a + b)
        .map(|value| value as u64)
}

/// From the first row that an operator of a task was asked for, to when the last one ended; `None` where they do not say.
fn working_time(operators: &[MetricsSet]) -> Option<Duration> {
    let (mut started, mut ended) = (None, None);
    for metric in operators.iter().flat_map(MetricsSet::iter) {
        match metric.value() {
            MetricValue::StartTimestamp(at) => started = started.into_iter().chain(at.value()).min(),
            MetricValue::EndTimestamp(at) => ended = ended.max(at.value()),
            _ => {}
        }
    }
    started.zip(ended).and_then(|(started, ended)| (ended - started).to_std().ok())
}

#[cfg(test)]
mod tests {
    use datafusion::common::exec_datafusion_err;

    use super::*;

    #[test]
    fn the_task_that_an_error_is_of_is_the_one_that_is_lost() {
        let worker: WorkerAddress = "a:1".parse().unwrap();
        let live: Arc<LiveTasks> = Arc::default();
        let work = QueryWork::begin([worker.clone()].into(), Arc::clone(&live));
        let key = |stage_id, task_number| TaskKey { query_id: Uuid::nil(), stage_id, task_number };
        for (stage, task) in [(1, 0), (2, 0), (2, 1)] {
            work.sent(&key(stage, task), &worker);
        }
        let name = |stage, task| TaskName { worker: "a:1".to_owned(), stage, task };
        let error = || exec_datafusion_err!("connection reset");
        let of_task = error().context(name(2, 1).to_string());
        assert_eq!((work.lost_task(&error()), work.lost_task(&of_task)), (None, None));
        for (stage, task) in [(1, 0), (2, 0)] {
            work.lose(&key(stage, task));
        }
        // Its own connection breaks a moment later.
        assert_eq!(work.lost_task(&of_task), Some(name(2, 1)));
        // The first one was done with its rows.
        live.end_of_test(1, 0);
        assert_eq!(work.lost_task(&error()), Some(name(2, 0)));
        let elsewhere = error().context("worker b:1, task 0 of stage 1");
        assert_eq!(work.lost_task(&elsewhere), Some(name(2, 0)));
        work.fail(&of_task);
        let stages = work.so_far().stages;
        assert_eq!(stages[1].tasks[1].outcome.as_deref(), Some(ClusterTask::LOST));
    }
}
