//! The hook at the root of a plan: it sees when a query starts, how many rows pass and how it ends.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::Result,
    execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext},
    physical_plan::ExecutionPlan,
};
use futures::Stream;

use crate::{
    hooked_exec::{ExecuteHook, HookedExec},
    query_run::{PartitionEnd, QueryRun, message_of},
};

/// The plan with `run` told of its execution.
pub(crate) fn observed(root: Arc<dyn ExecutionPlan>, run: Arc<QueryRun>) -> Arc<dyn ExecutionPlan> {
    HookedExec::wrap(root, Observe(run))
}

#[derive(Clone)]
struct Observe(Arc<QueryRun>);

impl ExecuteHook for Observe {
    fn execute(
        &self,
        inner: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let run = Arc::clone(&self.0);
        run.open_partition(inner);
        match inner.execute(partition, context) {
            Ok(inner) => Ok(Box::pin(ObservedStream {
                schema: inner.schema(),
                inner: Some(inner),
                run,
                end: PartitionEnd::Dropped,
            })),
            Err(error) => {
                run.close_partition(PartitionEnd::Failed(message_of(&error)));
                Err(error)
            }
        }
    }
}

struct ObservedStream {
    schema: SchemaRef,
    inner: Option<SendableRecordBatchStream>,
    run: Arc<QueryRun>,
    end: PartitionEnd,
}

impl Stream for ObservedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        let polled = inner.as_mut().poll_next(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(batch))) => self.run.add_rows(batch.num_rows()),
            Poll::Ready(Some(Err(error))) => {
                self.end = PartitionEnd::Failed(message_of(error));
                self.close();
            }
            Poll::Ready(None) => {
                self.end = PartitionEnd::Complete;
                self.close();
            }
        }
        polled
    }
}

impl RecordBatchStream for ObservedStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl ObservedStream {
    fn close(&mut self) {
        if self.inner.take().is_some() {
            self.run.close_partition(std::mem::replace(&mut self.end, PartitionEnd::Complete));
        }
    }
}

impl Drop for ObservedStream {
    fn drop(&mut self) {
        self.close();
    }
}
