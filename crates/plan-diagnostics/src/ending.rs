//! Plans that end when they are told to, whoever reads them: some engines go on with the work of a task that they have cancelled.

use std::{sync::Arc, task::Waker};

use arrow::array::RecordBatch;
use datafusion::{
    common::tree_node::{Transformed, TreeNode as _},
    error::{DataFusionError, Result},
    physical_plan::ExecutionPlan,
};
use futures::task::AtomicWaker;

use crate::{
    cancel::Cancel,
    hooked_exec::{ExecuteHook, HookedExec},
    watched_stream::{StreamEnd, StreamWatch},
};

/// The order to a plan to end. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct PlanEnd(Arc<Cancel>);

impl PlanEnd {
    /// Has every operator of the plan return an error with this reason to who asks it for rows, and to who waits for some. The
    /// first order counts.
    pub fn order(&self, reason: &str) {
        self.0.order(reason);
    }
}

/// The plan with all operators below its root ending when `end` says so. It looks as it did before to everything else.
///
/// # Errors
/// Those of operators that do not take their own inputs.
pub fn ending_with(plan: Arc<dyn ExecutionPlan>, end: &PlanEnd) -> Result<Arc<dyn ExecutionPlan>> {
    let all = plan.transform_up(|node| Ok(Transformed::yes(HookedExec::wrap(node, Ends(end.clone())))))?.data;
    let root = HookedExec::<Ends>::of(all.as_ref()).map(|root| Arc::clone(root.inner()));
    Ok(root.unwrap_or(all))
}

#[derive(Clone)]
struct Ends(PlanEnd);

impl ExecuteHook for Ends {
    type Watch = Partition;

    fn watch(&self, _: &Arc<dyn ExecutionPlan>, _: usize) -> Option<Partition> {
        let end = Arc::clone(&self.0.0);
        Some(Partition { reader: end.reader(), end })
    }
}

struct Partition {
    end: Arc<Cancel>,
    reader: Arc<AtomicWaker>,
}

impl StreamWatch for Partition {
    fn cancelled(&mut self, waiting: Option<&Waker>) -> Option<DataFusionError> {
        self.end.ordered(&self.reader, waiting)
    }

    fn batch(&mut self, _: &RecordBatch) {}

    fn ended(self, _: StreamEnd<'_>) {}
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::{
        catalog::streaming::StreamingTable,
        execution::TaskContext,
        physical_plan::{
            SendableRecordBatchStream, stream::RecordBatchStreamAdapter, streaming::PartitionStream,
        },
        prelude::SessionContext,
    };
    use futures::{FutureExt as _, StreamExt as _, stream, task::noop_waker};

    use super::*;
    use crate::QueryCancelled;

    /// Rows that never come, or never end.
    #[derive(Debug)]
    struct Endless {
        schema: arrow::datatypes::SchemaRef,
        comes: bool,
    }

    impl PartitionStream for Endless {
        fn schema(&self) -> &arrow::datatypes::SchemaRef {
            &self.schema
        }

        fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
            let batch = RecordBatch::new_empty(Arc::clone(&self.schema));
            let rows = match self.comes {
                true => stream::repeat_with(move || Ok(batch.clone())).boxed(),
                false => stream::pending().boxed(),
            };
            Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
        }
    }

    async fn running(comes: bool, end: &PlanEnd) -> SendableRecordBatchStream {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]));
        let rows = Arc::new(Endless { schema: Arc::clone(&schema), comes });
        let session = SessionContext::new();
        session.register_table("t", Arc::new(StreamingTable::try_new(schema, vec![rows]).unwrap())).unwrap();
        let plan = session.sql("SELECT sum(x) FROM t GROUP BY x").await.unwrap();
        let plan = plan.create_physical_plan().await.unwrap();
        ending_with(plan, end).unwrap().execute(0, session.task_ctx()).unwrap()
    }

    #[tokio::test]
    async fn a_plan_that_waits_is_woken_and_ends() {
        let end = PlanEnd::default();
        let mut rows = running(false, &end).await;
        assert!(rows.next().now_or_never().is_none());
        let read = tokio::spawn(async move { rows.next().await });
        tokio::task::yield_now().await;
        end.order("the task was cancelled");
        end.order("for another reason");
        let error = read.await.unwrap().unwrap().unwrap_err();
        let why = QueryCancelled::of(&error).map(|cancelled| cancelled.reason.as_str());
        assert_eq!(why, Some("the task was cancelled"), "{error}");
    }

    #[tokio::test]
    async fn a_plan_that_computes_ends() {
        let end = PlanEnd::default();
        let mut rows = running(true, &end).await;
        let mut poll = || rows.as_mut().poll_next_unpin(&mut Context::from_waker(&noop_waker()));
        assert!(poll().is_pending(), "an aggregate of endless rows");
        end.order("the task was cancelled");
        // Partitions of the scan run in separate tasks.
        let ended = loop {
            match poll() {
                Poll::Pending => tokio::task::yield_now().await,
                Poll::Ready(ended) => break ended,
            }
        };
        assert!(ended.is_some_and(|rows| rows.is_err()));
    }

    #[test]
    fn readers_that_are_gone_are_forgotten() {
        let end = PlanEnd::default();
        for _ in 0..100_000 {
            end.0.reader();
        }
        assert!(end.0.readers() < 100);
    }
}
