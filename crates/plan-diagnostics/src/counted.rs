//! Counts the rows of scans that do not count them themselves, as those of tables in memory.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::Result,
    execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext},
    physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions},
};
use futures::Stream;

use crate::{
    hooked_exec::{ExecuteHook, HookedExec},
    sources::{Leaf, counts_rows},
    tap::below_hooks,
};

/// The plan with a counter at each scan that has none. `leaves` are those of the plan, in pre-order.
pub(crate) fn counted(plan: Arc<dyn ExecutionPlan>, leaves: &[Leaf]) -> Result<Arc<dyn ExecutionPlan>> {
    with_counters(plan, &mut leaves.iter())
}

/// The rows that a counted scan has given, in all of its executions.
pub(crate) fn counted_rows(plan: &dyn ExecutionPlan) -> Option<u64> {
    HookedExec::<Count>::of(below_hooks(plan)).map(|counted| counted.hook().0.load(Ordering::Relaxed))
}

fn with_counters(
    plan: Arc<dyn ExecutionPlan>,
    leaves: &mut std::slice::Iter<'_, Leaf>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let children: Vec<_> = plan.children().into_iter().cloned().collect();
    if children.is_empty() {
        let is_scan = matches!(leaves.next(), Some(Leaf::Scan(_)));
        let wants_counter = is_scan && !counts_rows(plan.as_ref());
        return Ok(if wants_counter { HookedExec::wrap(plan, Count::default()) } else { plan });
    }
    let with: Vec<_> =
        children.iter().cloned().map(|child| with_counters(child, leaves)).collect::<Result<_>>()?;
    if with.iter().zip(&children).all(|(with, without)| Arc::ptr_eq(with, without)) {
        return Ok(plan);
    }
    plan.replace_children(with, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
}

#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl ExecuteHook for Count {
    fn execute(
        &self,
        inner: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let inner = inner.execute(partition, context)?;
        Ok(Box::pin(CountedStream { inner, rows: Arc::clone(&self.0) }))
    }
}

struct CountedStream {
    inner: SendableRecordBatchStream,
    rows: Arc<AtomicU64>,
}

impl Stream for CountedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(context);
        if let Poll::Ready(Some(Ok(batch))) = &polled {
            self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl RecordBatchStream for CountedStream {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}
