//! The words that name a task in an error.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use daglight_run_bundle::ClusterTask;
use datafusion::{
    arrow::array::RecordBatch,
    error::{DataFusionError, Result},
    execution::TaskContext,
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use datafusion_distributed::{
    CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest,
    TaskKey, WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::{StreamExt as _, stream::BoxStream};
use http::HeaderMap;

use crate::address::WorkerAddress;

/// Which task of which worker it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskName {
    pub(super) worker: String,
    pub(super) stage: usize,
    pub(super) task: u64,
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}, task {} of stage {}", self.worker, self.task, self.stage)
    }
}

impl TaskName {
    pub(super) fn of(stage: usize, task: &ClusterTask) -> Self {
        Self { worker: task.worker.clone(), stage, task: task.task }
    }

    fn parse(text: &str) -> Option<Self> {
        let (worker, rest) = text.strip_prefix("worker ")?.split_once(", task ")?;
        let (task, stage) = rest.split_once(" of stage ")?;
        Some(Self { worker: worker.to_owned(), stage: stage.parse().ok()?, task: task.parse().ok()? })
    }

    /// The task in which an error arose: those above it only pass it on.
    pub(super) fn innermost(error: &DataFusionError) -> Option<Self> {
        let (mut innermost, mut error) = (None, error);
        loop {
            error = match error {
                DataFusionError::Context(text, inner) => {
                    innermost = Self::parse(text).or(innermost);
                    inner
                }
                DataFusionError::Diagnostic(_, inner) => inner,
                DataFusionError::Shared(inner) => inner,
                _ => return innermost,
            };
        }
    }

    /// Has errors name the task, unless they name one already: that is where they arose.
    pub(super) fn naming(
        worker: &WorkerAddress,
        key: TaskKey,
    ) -> impl Fn(DataFusionError) -> DataFusionError + Send + Sync + 'static {
        let name = Self { worker: worker.to_string(), stage: key.stage_id, task: key.task_number as u64 };
        move |error| match Self::innermost(&error) {
            Some(_) => error,
            None => error.context(name.to_string()),
        }
    }
}

/// A connection whose errors name the task that the rows are of.
pub(super) struct NamingChannel {
    pub(super) inner: Box<dyn WorkerChannel>,
    pub(super) worker: WorkerAddress,
}

#[async_trait]
impl WorkerChannel for NamingChannel {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        self.inner.coordinator_channel(headers, request, messages, metrics, context).await
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let name = Arc::new(TaskName::naming(&self.worker, request.task_key));
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

#[cfg(test)]
mod tests {
    use datafusion::common::exec_datafusion_err;

    use super::*;

    #[test]
    fn the_innermost_task_is_the_one_in_which_an_error_arose() {
        let name = |worker: &str, stage, task| TaskName { worker: worker.to_owned(), stage, task };
        let error = exec_datafusion_err!("no file")
            .context(name("[::1]:9401", 2, 1).to_string())
            .context("while joining")
            .context(name("10.0.0.5:9400", 4, 0).to_string());
        assert_eq!(TaskName::innermost(&error), Some(name("[::1]:9401", 2, 1)));
        assert_eq!(TaskName::innermost(&exec_datafusion_err!("worker a, task 1 of stage 2")), None);
        for other in ["worker a", "worker a, task x of stage 2", "task 1 of stage 2"] {
            assert_eq!(TaskName::parse(other), None, "{other}");
        }
    }
}
