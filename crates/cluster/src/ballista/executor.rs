//! An executor that reports its tasks.

use std::{
    fmt::{self, Display, Formatter},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use ballista_core::{
    JobId,
    config::{BALLISTA_JOB_NAME, BallistaConfig},
    serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport},
};
use ballista_executor::{
    execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor},
    executor_process::ExecutorProcessConfig,
};
use daglight_plan_diagnostics::{
    EndedTask, PlanEnd, QueryOutcome, RemoteTask, RemoteTaskListener, TaskListener, ending_with, report_task,
    with_watched_stores,
};
use daglight_run_bundle::clock;
use datafusion::{
    error::Result,
    execution::TaskContext,
    physical_plan::{
        ExecutionPlan,
        metrics::{Count, Metric, MetricValue, MetricsSet},
    },
    prelude::SessionConfig,
};
use url::form_urlencoded;

use super::{
    connections::Connections,
    task_stores::{reading_through, with_runtime},
    travels::{EXECUTOR_ID, OWN_SPAN},
};
use crate::headers::HEADERS;

/// The configuration of an executor that reports its tasks to `listener`: those of queries that come from a session with a
/// [`Cluster`](crate::Cluster). Tasks of other clients are executed as ever.
///
/// An engine that `config` has is kept, and reports its tasks too. The id of the executor gets the prefix `daglight-`, by which clients
/// know that they need not make the spans of its tasks. The executor has the settings of Ballista only where its
/// `override_config_producer`, if there is one, makes sessions with them, as `session_config_with_s3_support` does.
#[must_use]
pub fn executor(
    mut config: ExecutorProcessConfig,
    listener: Arc<dyn RemoteTaskListener>,
) -> ExecutorProcessConfig {
    let engine = config.override_execution_engine.take();
    let engine = engine.unwrap_or_else(|| engine_of(config.client_ttl));
    config.override_execution_engine = Some(Arc::new(ReportingEngine { engine, listener }));
    config.executor_id.insert_str(0, EXECUTOR_ID);
    config
}

/// The engine of an executor that was given none.
fn engine_of(client_ttl: u64) -> Arc<dyn ExecutionEngine> {
    if client_ttl == 0 {
        return Arc::new(DefaultExecutionEngine::new());
    }
    let connections = Connections::new(Duration::from_secs(client_ttl));
    Arc::new(DefaultExecutionEngine::with_client_pool(Arc::new(connections)))
}

struct ReportingEngine {
    engine: Arc<dyn ExecutionEngine>,
    listener: Arc<dyn RemoteTaskListener>,
}

impl ExecutionEngine for ReportingEngine {
    fn create_query_stage_exec(
        &self,
        job_id: JobId,
        stage_id: usize,
        task_id: usize,
        global_output_partition_ids: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let engine = Arc::clone(&self.engine);
        let work_dir = work_dir.to_owned();
        let config = config.clone();
        let headers = headers(&config);
        let task = Task { engine, job_id, stage_id, task_id, global_output_partition_ids, work_dir, config };
        if headers.is_empty() {
            return task.stage_of(plan);
        }
        let (stage, number) = (Some(stage_id as u64), task_id as u64);
        match self.listener.listen(RemoteTask { headers, stage, task: number, tasks: None }) {
            Some(listener) => {
                let (stage, end) = (OnceLock::new(), PlanEnd::default());
                Ok(Arc::new(ReportedTask { task, plan, listener, stage, end }))
            }
            None => task.stage_of(plan),
        }
    }
}

/// What the engine is told of a task, but for its plan.
struct Task {
    engine: Arc<dyn ExecutionEngine>,
    job_id: JobId,
    stage_id: usize,
    task_id: usize,
    global_output_partition_ids: Vec<usize>,
    work_dir: String,
    config: SessionConfig,
}

impl Task {
    fn stage_of(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn QueryStageExecutor>> {
        self.engine.create_query_stage_exec(
            self.job_id.clone(),
            self.stage_id,
            self.task_id,
            self.global_output_partition_ids.clone(),
            plan,
            &self.work_dir,
            &self.config,
        )
    }
}

/// The headers that a query of ours has brought along; empty for that of another client.
fn headers(config: &SessionConfig) -> Vec<(&'static str, String)> {
    let settings = config.options().extensions.get::<BallistaConfig>().map(BallistaConfig::settings);
    let Some(text) = settings.and_then(|settings| settings.get(BALLISTA_JOB_NAME)) else { return Vec::new() };
    let known = form_urlencoded::parse(text.as_bytes()).filter_map(|(name, value)| {
        let name = HEADERS.into_iter().find(|known| *known == name)?;
        Some((name, value.into_owned()))
    });
    known.collect()
}

struct ReportedTask {
    task: Task,
    plan: Arc<dyn ExecutionPlan>,
    listener: Arc<dyn TaskListener>,
    /// Made when the task is executed: only then is there a runtime, through whose stores its plan reads.
    stage: OnceLock<Arc<dyn QueryStageExecutor>>,
    end: PlanEnd,
}

impl ReportedTask {
    async fn execute(
        &self,
        task_id: usize,
        mut context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let mut plan = ending_with(Arc::clone(&self.plan), &self.end)?;
        if let Some(observer) = self.listener.stores() {
            let runtime = with_watched_stores(&context.runtime_env(), observer);
            plan = reading_through(plan, &runtime)?;
            context = with_runtime(context, runtime);
        }
        let stage = self.task.stage_of(plan)?;
        self.stage.get_or_init(|| stage).execute_query_stage(task_id, context).await
    }
}

impl fmt::Debug for ReportedTask {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.stage.get() {
            Some(stage) => fmt::Debug::fmt(stage, f),
            None => f.debug_struct("ReportedTask").finish_non_exhaustive(),
        }
    }
}

impl Display for ReportedTask {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.stage.get() {
            Some(stage) => Display::fmt(stage, f),
            None => f.write_str(self.plan.name()),
        }
    }
}

#[async_trait]
impl QueryStageExecutor for ReportedTask {
    async fn execute_query_stage(
        &self,
        task_id: usize,
        context: Arc<TaskContext>,
    ) -> Result<Vec<ShuffleWritePartition>> {
        let mut running = RunningTask { task: self, started_at: now(), end: None };
        let written = self.execute(task_id, context).await;
        running.end = Some(match &written {
            Ok(partitions) => {
                let rows = partitions.iter().map(|partition| partition.num_rows).sum();
                (QueryOutcome::Completed, rows)
            }
            Err(error) => (QueryOutcome::Failed { message: error.strip_backtrace() }, 0),
        });
        written
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        let mut metrics = self.stage.get().map_or_else(Vec::new, |stage| stage.collect_plan_metrics());
        if let Some(writer) = metrics.first_mut() {
            let count = Count::new();
            count.add(1);
            let remark = MetricValue::Count { name: OWN_SPAN.into(), count };
            // The scheduler takes a partition that the task does not have as each of its partitions
            // (`metrics_set_from_task_metrics`), and keeps it apart from those of other tasks.
            writer.push(Arc::new(Metric::new(remark, Some(u32::MAX as usize))));
        }
        metrics
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.stage.get().map_or_else(Vec::new, |stage| stage.collect_runtime_stats_reports())
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.stage.get().map_or_else(|| Ok(Vec::new()), |stage| stage.collect_window_state_reports())
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.stage.get().map_or_else(Vec::new, |stage| stage.collect_column_stats())
    }
}

/// A task that goes on. Dropped, it is reported.
struct RunningTask<'t> {
    task: &'t ReportedTask,
    started_at: SystemTime,
    /// How it ended, with the rows that it wrote; `None` where it was dropped before.
    end: Option<(QueryOutcome, u64)>,
}

impl Drop for RunningTask<'_> {
    fn drop(&mut self) {
        let dropped = if thread::panicking() { QueryOutcome::Panicked } else { QueryOutcome::Cancelled };
        let (outcome, rows) = self.end.take().unwrap_or((dropped, 0));
        let ReportedTask { stage, plan, listener, end, .. } = self.task;
        if outcome != QueryOutcome::Completed {
            // The engine has spawned the partitions, and would read the others to their end.
            end.order("the task was cancelled, or another partition of it has failed");
        }
        let metrics = || stage.get().map_or_else(Vec::new, |stage| stage.collect_plan_metrics());
        let task = EndedTask { started_at: self.started_at, outcome, rows };
        report_task(listener.as_ref(), plan, metrics, task);
    }
}

#[expect(clippy::disallowed_methods, reason = "a task has the time at which it is executed")]
fn now() -> SystemTime {
    clock::now()
}

#[cfg(test)]
mod tests {
    use ballista_core::{
        extension::{SessionConfigExt as _, SessionConfigHelperExt as _},
        serde::protobuf::KeyValuePair,
    };

    use super::*;
    use crate::ballista::travels;

    fn config(settings: &[KeyValuePair]) -> SessionConfig {
        SessionConfig::new_with_ballista().update_from_key_value_pair(settings)
    }

    #[test]
    fn headers_come_with_the_last_value_of_the_name_of_the_job() {
        let sent = vec![
            ("traceparent", "00-1-2-01".to_owned()),
            ("baggage", "a=b&c,d=%20 ü".to_owned()),
            ("x-daglight-node", "50 %25 of it".to_owned()),
        ];
        let name = KeyValuePair { key: BALLISTA_JOB_NAME.to_owned(), value: Some("daglight run".to_owned()) };
        let settings: Vec<_> = [name.clone()].into_iter().chain(travels::setting(&sent)).collect();
        assert_eq!(headers(&config(&settings)), sent);
        assert_eq!(travels::setting(&[]), None);
        // The jobs of other clients.
        for other in ["daglight run", "a=b&traceparents=1"] {
            let name = KeyValuePair { value: Some(other.to_owned()), ..name.clone() };
            assert_eq!(headers(&config(&[name])), []);
        }
        assert_eq!(headers(&config(&[])), []);
        assert_eq!(headers(&SessionConfig::new()), []);
    }

    struct Nobody;

    impl RemoteTaskListener for Nobody {
        fn listen(&self, _: RemoteTask) -> Option<Arc<dyn TaskListener>> {
            None
        }
    }

    #[test]
    fn an_executor_is_known_by_its_id() {
        let config =
            ExecutorProcessConfig { executor_id: "a".to_owned(), ..ExecutorProcessConfig::default() };
        let config = executor(config, Arc::new(Nobody));
        assert_eq!(config.executor_id, "daglight-a");
        assert!(config.override_execution_engine.is_some());
    }
}
