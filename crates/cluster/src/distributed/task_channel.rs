//! A connection to a worker whose errors name the task that they are of.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::{
    arrow::array::RecordBatch, error::Result, execution::TaskContext,
    physical_plan::metrics::ExecutionPlanMetricsSet,
};
use datafusion_distributed::{
    CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest,
    WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::{StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderValue};

use super::{query::QueryWork, task_name::TaskName, travels};
use crate::address::WorkerAddress;

pub(super) struct TaskChannel {
    pub(super) inner: Box<dyn WorkerChannel>,
    pub(super) worker: WorkerAddress,
    /// The execution that learns what becomes of its tasks; `None` on a worker, which only fetches rows from others.
    pub(super) work: Option<Arc<QueryWork>>,
}

#[async_trait]
impl WorkerChannel for TaskChannel {
    async fn coordinator_channel(
        &mut self,
        mut headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        context: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let Some(work) = self.work.clone() else {
            return self.inner.coordinator_channel(headers, request, messages, metrics, context).await;
        };
        let key = request.task_key;
        headers.insert(travels::STAGE, HeaderValue::from(key.stage_id));
        headers.insert(travels::TASK, HeaderValue::from(key.task_number));
        if let Ok(id) = HeaderValue::from_str(&key.query_id.to_string()) {
            headers.insert(travels::ENGINE_QUERY, id);
        }
        let name = TaskName::naming(&self.worker, key);
        work.sent(&key, &self.worker);
        let answers = self.inner.coordinator_channel(headers, request, messages, metrics, context).await;
        let answers = answers.map_err(|error| {
            work.lose(&key);
            name(error)
        })?;
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
