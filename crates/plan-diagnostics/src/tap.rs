//! The hook that shows passing data to a [`DataTap`].

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    datasource::sink::DataSinkExec,
    error::Result,
    execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext},
    physical_plan::{
        ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions,
        coalesce_partitions::CoalescePartitionsExec,
    },
};
use futures::Stream;

use crate::{
    DataTap, PartitionTap,
    hooked_exec::{ExecuteHook, HookedExec},
};

/// Puts the tap where the data of the query are: at the root, or below it when the root writes them. Below a
/// `CoalescePartitionsExec`, so that the partitions are seen in parallel.
pub(crate) fn tapped(root: Arc<dyn ExecutionPlan>, tap: &Arc<dyn DataTap>) -> Result<Arc<dyn ExecutionPlan>> {
    if !root.is::<DataSinkExec>() {
        return Ok(HookedExec::wrap(root, Tap(Arc::clone(tap))));
    }
    let children: Vec<_> = root.children().into_iter().cloned().collect();
    let tapped_children =
        children.into_iter().map(|child| below_coalesce(child, tap)).collect::<Result<_>>()?;
    root.replace_children(tapped_children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
}

fn below_coalesce(plan: Arc<dyn ExecutionPlan>, tap: &Arc<dyn DataTap>) -> Result<Arc<dyn ExecutionPlan>> {
    let input = plan.downcast_ref::<CoalescePartitionsExec>().map(|coalesce| Arc::clone(coalesce.input()));
    match input {
        Some(input) => {
            let tapped = HookedExec::wrap(input, Tap(Arc::clone(tap)));
            plan.replace_children(vec![tapped], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
        }
        None => Ok(HookedExec::wrap(plan, Tap(Arc::clone(tap)))),
    }
}

#[derive(Clone)]
struct Tap(Arc<dyn DataTap>);

impl ExecuteHook for Tap {
    fn execute(
        &self,
        inner: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let inner = inner.execute(partition, context)?;
        let schema = inner.schema();
        let tap = shielded(|| self.0.open(&schema, partition));
        Ok(Box::pin(TapStream { inner, tap }))
    }
}

struct TapStream {
    inner: SendableRecordBatchStream,
    tap: Option<Box<dyn PartitionTap>>,
}

impl Stream for TapStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(context);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(batch))) => {
                if let Some(tap) = &mut self.tap
                    && shielded(|| tap.batch(batch)).is_none()
                {
                    self.tap = None;
                }
            }
            Poll::Ready(Some(Err(_)) | None) => self.tap = None,
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl RecordBatchStream for TapStream {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}

/// Runs code of a tap. A tap only looks on: should it panic, the query goes on without it.
fn shielded<T>(look: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(look)) {
        Ok(value) => Some(value),
        Err(_) => {
            tracing::warn!("a data tap panicked; the rest of this partition is not summarised");
            None
        }
    }
}
