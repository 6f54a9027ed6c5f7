//! The root of a plan that a scheduler executes: each execution is a job.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ballista_core::{
    extension::{SessionConfigExt as _, SessionConfigHelperExt as _},
    serde::protobuf::{
        ExecuteQueryParams, GetJobStatusResult, execute_query_params::Query, job_status::Status as JobStatus,
    },
};
use daglight_plan_diagnostics::Travelling;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::{exec_datafusion_err, exec_err, tree_node::TreeNodeRecursion},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        metrics::{Metric, MetricValue, MetricsSet, Time},
        stream::RecordBatchStreamAdapter,
    },
    prelude::SessionConfig,
};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    job::{JobWork, Phase},
    measured,
    presence::now,
    results::{self, Source},
    scheduler::{Scheduler, in_short},
    submission::{Cancels, JobOwner, RunningJob, submit},
    travels,
    watching::{look, watch},
};

/// How often the scheduler is asked whether a job has ended: at first, and at most.
const ASK_FIRST: Duration = Duration::from_millis(5);
const ASK_LATER: Duration = Duration::from_millis(100);
/// How long it may not answer, while the network has a problem, until the job counts as lost.
const SILENCE: Duration = Duration::from_secs(10);
/// How often it is asked for a sign of life while it is given a query.
const SIGN_EVERY: Duration = Duration::from_secs(1);
/// How long what the tasks have measured is waited for, once all rows are there.
const WAIT_FOR_METRICS: Duration = Duration::from_secs(2);

/// A query as it is submitted.
#[derive(Clone)]
pub(super) struct Job {
    /// The optimised plan, encoded.
    pub(super) plan: Vec<u8>,
    pub(super) schema: SchemaRef,
    pub(super) session_id: String,
    pub(super) scheduler: Scheduler,
    pub(super) cancels: Cancels,
}

/// Its child is the plan that would run here; behind an execution, the stages as the scheduler has made them, with what these have
/// measured.
pub(super) struct JobExec {
    job: Job,
    shown: Vec<Arc<dyn ExecutionPlan>>,
    measured: Arc<OnceLock<Vec<Arc<dyn ExecutionPlan>>>>,
    /// Of its first execution.
    work: OnceLock<Arc<JobWork>>,
    properties: Arc<PlanProperties>,
}

impl JobExec {
    pub(super) fn new(job: Job, here: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&job.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            job,
            shown: vec![here],
            measured: Arc::default(),
            work: OnceLock::new(),
            properties: Arc::new(properties),
        }
    }
}

impl fmt::Debug for JobExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BallistaExec").field("scheduler", &self.job.scheduler.address).finish_non_exhaustive()
    }
}

impl DisplayAs for JobExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address: the same query is the same plan on each cluster.
        f.write_str(self.name())
    }
}

impl ExecutionPlan for JobExec {
    fn name(&self) -> &str {
        "BallistaExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.measured.get().unwrap_or(&self.shown).iter().collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        // What is shown below it is not what is executed: rules may change it as they like.
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition > 0 {
            return exec_err!("a job has one partition, and not {}", partition + 1);
        }
        let config = context.session_config().clone();
        let travelling = config.get_extension::<Travelling>();
        let work = JobWork::begin(self.job.scheduler.address.clone());
        if let Some(travelling) = &travelling {
            travelling.taken_on(Arc::clone(&work) as _);
        }
        _ = self.work.set(Arc::clone(&work));
        let name = travels::job_name(travelling.as_deref());
        let execution = Execution {
            job: self.job.clone(),
            headers: travels::headers(travelling.as_deref()),
            config: config.with_ballista_job_name(&name),
            name,
            travelling,
            work,
            measured: Arc::clone(&self.measured),
            state: State::New,
        };
        let rows = stream::unfold(execution, |mut execution| async {
            let next = execution.next().await?;
            Some((next, execution))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.job.schema), rows)))
    }

    /// While the job goes on, the time that its tasks took: whoever watches it sees that some have ended.
    fn metrics(&self) -> Option<MetricsSet> {
        let taken = self.work.get()?.taken_so_far()?;
        let mut metrics = MetricsSet::new();
        let time = Time::new();
        time.add_duration(taken);
        metrics.push(Arc::new(Metric::new(MetricValue::ElapsedCompute(time), Some(0))));
        Some(metrics)
    }
}

struct Execution {
    job: Job,
    name: String,
    headers: Vec<(&'static str, String)>,
    travelling: Option<Arc<Travelling>>,
    config: SessionConfig,
    work: Arc<JobWork>,
    measured: Arc<OnceLock<Vec<Arc<dyn ExecutionPlan>>>>,
    state: State,
}

enum State {
    New,
    Rows { rows: BoxStream<'static, Result<RecordBatch>>, measuring: JoinHandle<()> },
    Over,
}

impl Execution {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        if matches!(self.state, State::New) {
            match self.run().await {
                Ok(state) => self.state = state,
                Err(error) => {
                    self.state = State::Over;
                    return Some(Err(error));
                }
            }
        }
        let State::Rows { rows, measuring } = &mut self.state else { return None };
        match rows.next().await {
            Some(Ok(batch)) => Some(Ok(batch)),
            Some(Err(error)) => {
                self.state = State::Over;
                Some(Err(error))
            }
            None => {
                if timeout(WAIT_FOR_METRICS, measuring).await.is_err() {
                    self.work.set_metrics_missing();
                }
                self.state = State::Over;
                None
            }
        }
    }

    /// Submits the query, and waits until the job has ended.
    async fn run(&mut self) -> Result<State> {
        let Job { plan, session_id, scheduler, cancels, .. } = self.job.clone();
        let mut settings = self.config.to_key_value_pairs();
        settings.extend(travels::setting(&self.headers));
        let query = ExecuteQueryParams {
            query: Some(Query::LogicalPlan(plan)),
            settings,
            session_id,
            // It stands in the scheduler's logs, and is as good as an id.
            operation_id: self.name.clone(),
        };
        let owner = JobOwner { work: Arc::clone(&self.work), travelling: self.travelling.clone() };
        let mut running = tokio::select! {
            submitted = submit(&scheduler, &cancels, owner, query, self.headers.clone()) => submitted?,
            () = silence(&scheduler, &self.work) => {
                return exec_err!(
                    "lost the scheduler {}, which was given the query: {}",
                    scheduler.address,
                    is_silent(None)
                );
            }
        };
        self.work.set_job(&running.id);
        if let Some(travelling) = &self.travelling {
            travelling.has_id();
        }
        let watching = watch(&scheduler, &running.id, &self.work, self.travelling.clone());
        let state = self.ended(&mut running).await;
        drop(watching);
        // One that does not answer says nothing of the stages either.
        if state.is_err() && running.has_ended() {
            look(&scheduler, &running.id, &self.work, Duration::ZERO).await;
        }
        state
    }

    async fn ended(&mut self, running: &mut RunningJob) -> Result<State> {
        let scheduler = self.job.scheduler.clone();
        let submitted = Instant::now();
        let (mut pause, mut last_answer, mut is_known) = (ASK_FIRST, submitted, false);
        let mut problem = None;
        loop {
            let left = SILENCE.saturating_sub(last_answer.elapsed());
            let answer = match timeout(left, scheduler.status(&running.id)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(status)) => {
                    problem = Some(in_short(&status));
                    sleep(ASK_LATER).await;
                    continue;
                }
                Err(_) => return Err(lost(&scheduler, running, &is_silent(problem.as_deref()))),
            };
            (last_answer, problem) = (Instant::now(), None);
            self.work.answered(now());
            let GetJobStatusResult { status, flight_proxy } = answer;
            let status = status.and_then(|status| status.status);
            is_known |= status.is_some();
            match status {
                // It takes a moment until a job that was taken is known.
                None if !is_known && submitted.elapsed() < SILENCE => {}
                None => {
                    running.ended();
                    self.work.set_phase(Phase::Failed, 0);
                    return Err(lost(
                        &scheduler,
                        running,
                        "it does not know the job, and has been started anew",
                    ));
                }
                Some(JobStatus::Queued(queued)) => self.work.set_phase(Phase::Queued, queued.queued_at),
                Some(JobStatus::Running(status)) => self.work.set_phase(Phase::Running, status.queued_at),
                Some(JobStatus::Failed(failed)) => {
                    running.ended();
                    self.work.set_phase(Phase::Failed, failed.queued_at);
                    return exec_err!(
                        "job {} of the scheduler {} failed: {}",
                        running.id,
                        scheduler.address,
                        failed.error
                    );
                }
                Some(JobStatus::Successful(job)) => {
                    running.ended();
                    self.work.set_phase(Phase::Completed, job.queued_at);
                    self.work.set_places(&job.partition_location);
                    let source = Source {
                        job_id: running.id.clone(),
                        scheduler: scheduler.address.clone(),
                        proxy: flight_proxy,
                        config: self.config.ballista_config(),
                    };
                    let rows = results::rows(source, job.partition_location);
                    return Ok(State::Rows { rows, measuring: self.measure(running.id.clone()) });
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(ASK_LATER);
        }
    }

    /// Asks for what the tasks have measured, while the rows come.
    fn measure(&self, job_id: String) -> JoinHandle<()> {
        let (scheduler, work, measured) =
            (self.job.scheduler.clone(), Arc::clone(&self.work), Arc::clone(&self.measured));
        tokio::spawn(async move {
            let (metrics, ()) =
                tokio::join!(scheduler.metrics(&job_id), look(&scheduler, &job_id, &work, Duration::ZERO));
            let Ok(metrics) = metrics else { return work.set_metrics_missing() };
            let tasks = work.partitions_of_tasks();
            work.set_measures(measured::by_task(&metrics, &tasks));
            _ = measured.set(measured::plans(metrics, &tasks));
        })
    }
}

/// Ends when a scheduler has not answered for [`SILENCE`]. It may take its time to accept a query, but says meanwhile that it is there.
async fn silence(scheduler: &Scheduler, work: &JobWork) {
    let mut last_answer = Instant::now();
    while last_answer.elapsed() < SILENCE {
        sleep(SIGN_EVERY).await;
        if let Ok(Ok(_)) = timeout(SILENCE.saturating_sub(last_answer.elapsed()), scheduler.server()).await {
            last_answer = Instant::now();
            work.answered(now());
        }
    }
}

/// What is said of a scheduler that has not answered for [`SILENCE`], with the last problem of its connection.
fn is_silent(problem: Option<&str>) -> String {
    let problem = problem.map(|problem| format!(": {problem}")).unwrap_or_default();
    format!("it has not answered for {} s{problem}", SILENCE.as_secs())
}

fn lost(scheduler: &Scheduler, job: &RunningJob, why: &str) -> datafusion::error::DataFusionError {
    exec_datafusion_err!("lost the scheduler {} with job {}: {why}", scheduler.address, job.id)
}

impl Drop for Execution {
    fn drop(&mut self) {
        self.work.give_up();
    }
}
