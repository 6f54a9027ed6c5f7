//! What is known of one execution of a query on workers: where each of its tasks runs, and how it ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use daglight_plan_diagnostics::RemoteWork;
use daglight_run_bundle::{ClusterStage, ClusterTask, ClusterWork};
use datafusion::{
    arrow::array::RecordBatch,
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::metrics::{ExecutionPlanMetricsSet, MetricValue, MetricsSet},
};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    SetPlanRequest, TaskKey, TaskMetrics, WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderValue};
use tokio::sync::Notify;
use url::Url;
use uuid::Uuid;

use super::{channels::Channels, live_tasks::LiveTasks, travels};
use crate::address::WorkerAddress;

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

impl QueryWork {
    pub(super) fn begin(workers: Arc<[WorkerAddress]>, live: Arc<LiveTasks>) -> Self {
        Self { workers, begun: Instant::now(), live, state: Mutex::default(), lost: Notify::new() }
    }

    /// The id that the engine has given the query, once it has sent a task of it.
    pub(super) fn engine_query_id(&self) -> Option<String> {
        self.lock().query_id.map(|id| id.to_string())
    }

    /// The worker of each task that is lost, with the words that name the task.
    pub(super) fn lost_tasks(&self) -> Vec<String> {
        let state = self.lock();
        let tasks =
            state.stages.iter().flat_map(|(stage, tasks)| tasks.values().map(move |task| (stage, task)));
        tasks
            .filter(|(_, task)| task.outcome.as_deref() == Some(ClusterTask::LOST))
            .map(|(stage, task)| named(&task.worker, *stage, task.task))
            .collect()
    }

    pub(super) fn metrics_are_missing(&self) {
        self.lock().metrics_missing = true;
    }

    /// The execution is over: what has no outcome ended with it.
    pub(super) fn end(&self, has_all_rows: bool) {
        let outcome = if has_all_rows { ClusterTask::COMPLETED } else { ClusterTask::CANCELLED };
        for task in self.lock().stages.values_mut().flat_map(BTreeMap::values_mut) {
            task.outcome.get_or_insert_with(|| outcome.to_owned());
        }
    }

    fn sent(&self, key: &TaskKey, worker: &WorkerAddress) {
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

    fn measured(&self, key: &TaskKey, measured: &TaskMetrics) {
        self.change(key, |task| {
            let of_task = |name: &str| value_of(&measured.task_metrics, name).map(|value| value as f64 / 1e6);
            task.started_ms = of_task("plan_executed_at");
            task.ended_ms = of_task("plan_finished_at");
            task.rows = measured
                .pre_order_plan_metrics
                .first()
                .and_then(MetricsSet::output_rows)
                .map(|rows| rows as u64);
            let all = || measured.pre_order_plan_metrics.iter();
            task.bytes_received =
                all().filter_map(|metrics| value_of(metrics, "bytes_transferred")).reduce(|a, b| a + b);
            let compute: usize = all().filter_map(MetricsSet::elapsed_compute).sum();
            task.compute_ms = Some(compute as f64 / 1e6);
            task.outcome = Some(ClusterTask::COMPLETED.to_owned());
        });
    }

    fn lose(&self, key: &TaskKey) {
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
            return Some(format!("{}, which does not answer", named(&task.worker, *stage, task.task)));
        }
        open.first().map(|(stage, task)| named(&task.worker, *stage, task.task))
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

/// The words that name a task in an error.
fn named(worker: &str, stage: usize, task: u64) -> String {
    format!("worker {worker}, task {task} of stage {stage}")
}

/// The connections of one execution, which are watched.
pub(super) struct QueryChannels {
    pub(super) channels: Channels,
    pub(super) work: Arc<QueryWork>,
}

#[async_trait]
impl ChannelResolver for QueryChannels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let inner = self.channels.client(url)?;
        Ok(Box::new(WatchedChannel {
            inner,
            worker: WorkerAddress::of_url(url),
            work: Arc::clone(&self.work),
        }))
    }
}

struct WatchedChannel {
    inner: Box<dyn WorkerChannel>,
    worker: WorkerAddress,
    work: Arc<QueryWork>,
}

impl WatchedChannel {
    /// Says which worker and which task an error is about.
    fn name(
        worker: &WorkerAddress,
        key: TaskKey,
    ) -> impl Fn(DataFusionError) -> DataFusionError + Send + Sync + 'static {
        let named = named(&worker.to_string(), key.stage_id, key.task_number as u64);
        move |error| error.context(named.clone())
    }
}

#[async_trait]
impl WorkerChannel for WatchedChannel {
    async fn coordinator_channel(
        &mut self,
        mut headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let key = request.task_key;
        headers.insert(travels::STAGE, HeaderValue::from(key.stage_id));
        headers.insert(travels::TASK, HeaderValue::from(key.task_number));
        if let Ok(id) = HeaderValue::from_str(&key.query_id.to_string()) {
            headers.insert(travels::ENGINE_QUERY, id);
        }
        let name = Self::name(&self.worker, key);
        self.work.sent(&key, &self.worker);
        let answers = self.inner.coordinator_channel(headers, request, messages, metrics, context).await;
        let answers = answers.map_err(|error| {
            self.work.lose(&key);
            name(error)
        })?;
        let work = Arc::clone(&self.work);
        let watched = answers.map(move |answer| match answer {
            Ok(WorkerToCoordinatorMsg::TaskMetrics(measured)) => {
                work.measured(&key, &measured);
                Ok(WorkerToCoordinatorMsg::TaskMetrics(measured))
            }
            Ok(other) => Ok(other),
            Err(error) => {
                work.lose(&key);
                Err(name(error))
            }
        });
        Ok(watched.boxed())
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let name = Arc::new(Self::name(&self.worker, request.task_key));
        let streams = self.inner.execute_task(headers, request, metrics, context).await.map_err(&*name)?;
        let named = streams.into_iter().map(|stream| {
            let name = Arc::clone(&name);
            stream.map(move |batch| batch.map_err(&*name)).boxed()
        });
        Ok(named.collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.inner.get_worker_info(request).await
    }
}
