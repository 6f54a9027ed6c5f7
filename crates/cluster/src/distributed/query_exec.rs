//! The root of a distributed plan: each execution takes what travels with it along, and is watched.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use daglight_plan_diagnostics::{Travelling, with_config};
use datafusion::{
    arrow::array::RecordBatch,
    common::{not_impl_err, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::PhysicalExpr,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, metrics::MetricsSet,
        stream::RecordBatchStreamAdapter,
    },
};
use datafusion_distributed::{
    DistributedExt as _, DistributedMetricsFormat, rewrite_distributed_plan_with_metrics,
};
use futures::{StreamExt as _, stream};
use tokio::time::timeout;

use super::{
    channels::{Channels, QueryChannels},
    live_exec::shown,
    live_tasks::LiveTasks,
    query::QueryWork,
    travels,
    watching::{Watching, watch},
};
use crate::address::WorkerAddress;

/// How long what the workers have measured is waited for, once all rows are there.
const WAIT_FOR_METRICS: Duration = Duration::from_secs(2);
/// How long an error waits for the connections to say whether a worker is gone.
const WAIT_FOR_LOSS: Duration = Duration::from_millis(500);

/// Looks like the plan inside. Its children are the operators of all stages, each scan once, and behind an execution they have
/// what the workers have measured.
pub(super) struct ClusterExec {
    inner: Arc<dyn ExecutionPlan>,
    shown: Arc<dyn ExecutionPlan>,
    measured: Arc<OnceLock<Arc<dyn ExecutionPlan>>>,
    live: Arc<LiveTasks>,
    workers: Arc<[WorkerAddress]>,
    channels: Channels,
}

impl ClusterExec {
    pub(super) fn distributed(
        inner: Arc<dyn ExecutionPlan>,
        workers: &Arc<[WorkerAddress]>,
        channels: Channels,
    ) -> Arc<dyn ExecutionPlan> {
        let live = Arc::default();
        Arc::new(Self {
            shown: shown(&inner, &live),
            inner,
            measured: Arc::default(),
            live,
            workers: Arc::clone(workers),
            channels,
        })
    }
}

impl fmt::Debug for ClusterExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl DisplayAs for ClusterExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(format, f)
    }
}

impl ExecutionPlan for ClusterExec {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.inner.as_ref())
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.measured.get().unwrap_or(&self.shown).children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        // What is shown below it is not what is executed.
        not_impl_err!("a distributed plan takes no other children")
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let work = Arc::new(QueryWork::begin(Arc::clone(&self.workers), Arc::clone(&self.live)));
        let mut config = context.session_config().clone();
        if let Some(travelling) = config.get_extension::<Travelling>() {
            config = config.with_distributed_passthrough_headers(travels::headers(&travelling))?;
            travelling.taken_on(Arc::clone(&work) as _);
        }
        let channels = QueryChannels { channels: self.channels.clone(), work: Arc::clone(&work) };
        let config = config.with_distributed_channel_resolver(channels);
        let rows = self.inner.execute(partition, Arc::new(with_config(&context, config)))?;
        let asked = Arc::clone(&work);
        let query = move || asked.engine_query_id();
        let watching = watch(&self.live, query, self.channels.clone(), Arc::clone(&self.workers));
        let execution = Execution {
            rows: Some(rows),
            plan: Arc::clone(&self.inner),
            measured: Arc::clone(&self.measured),
            work,
            has_all_rows: false,
            _watching: watching,
        };
        let watched = stream::unfold(execution, |mut execution| async {
            let next = execution.next().await?;
            Some((next, execution))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), watched)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.measured.get().unwrap_or(&self.inner).metrics()
    }
}

struct Execution {
    /// `None` behind the end.
    rows: Option<SendableRecordBatchStream>,
    plan: Arc<dyn ExecutionPlan>,
    measured: Arc<OnceLock<Arc<dyn ExecutionPlan>>>,
    work: Arc<QueryWork>,
    has_all_rows: bool,
    _watching: Watching,
}

impl Execution {
    async fn next(&mut self) -> Option<Result<RecordBatch>> {
        let next = self.rows.as_mut()?.next().await;
        match next {
            Some(Ok(batch)) => Some(Ok(batch)),
            Some(Err(error)) => {
                // Held meanwhile: the connections end with it.
                let error = with_lost_worker(&self.work, error).await;
                self.work.fail(&error);
                self.rows = None;
                Some(Err(error))
            }
            None => {
                // The metrics of operators have their end when their streams are dropped.
                self.rows = None;
                self.has_all_rows = true;
                match measured(&self.plan).await {
                    Some(measured) => _ = self.measured.set(measured),
                    None => self.work.metrics_are_missing(),
                }
                None
            }
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        self.work.end(self.has_all_rows);
    }
}

/// The connection to a worker that is gone breaks at the same time as its rows end, in another task.
async fn with_lost_worker(work: &QueryWork, error: DataFusionError) -> DataFusionError {
    let lost = work.lost.notified();
    if work.lost_task(&error).is_none() {
        _ = timeout(WAIT_FOR_LOSS, lost).await;
    }
    match work.lost_task(&error) {
        Some(task) => task.lost(error),
        None => error,
    }
}

/// The plan with what the workers have measured, where they say it in time.
async fn measured(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let measured = rewrite_distributed_plan_with_metrics(Arc::clone(plan), DistributedMetricsFormat::PerTask);
    timeout(WAIT_FOR_METRICS, measured).await.ok()?.ok()
}
