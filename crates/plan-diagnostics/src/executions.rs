//! The hook at the root of a plan: each execution of the plan is a query of its own.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    error::Result,
    execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext},
    physical_plan::ExecutionPlan,
};
use futures::Stream;

use crate::{
    LiveQueries, Observation, PlannedQuery, QueryObserver,
    hooked_exec::{ExecuteHook, HookedExec},
    operators::PlannedOperator,
    query_run::{PartitionEnd, QueryRun, message_of},
    tap::{rewired, wired},
};

/// The id of the next query of this process.
pub(crate) fn next_query_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The plan with its executions observed, the first one as `observation` says.
pub(crate) fn observed(
    plan: Arc<dyn ExecutionPlan>,
    query: Arc<PlannedQuery>,
    operators: Vec<PlannedOperator>,
    observation: Observation,
    observer: Arc<dyn QueryObserver>,
    live: LiveQueries,
) -> Arc<dyn ExecutionPlan> {
    let slot = RunSlot::default();
    let plan = wired(plan, &query, observation.tap.is_some(), &slot);
    let operators: Arc<[PlannedOperator]> = operators.into();
    let first =
        Arc::new(QueryRun::new(Arc::clone(&query), Arc::clone(&operators), &plan, observation, false));
    slot.set(&first);
    live.add(&first);
    let template = Template { query, operators, observer, live };
    let executions = Executions { template: Arc::new(template), slot, current: Mutex::new(Some(first)) };
    HookedExec::wrap(plan, Observe(Arc::new(executions)))
}

/// The run that a plan is executed for at this moment, for the hooks below its root.
#[derive(Clone, Default)]
pub(crate) struct RunSlot(Arc<Mutex<Weak<QueryRun>>>);

impl RunSlot {
    fn set(&self, run: &Arc<QueryRun>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(run);
    }

    pub(crate) fn run(&self) -> Option<Arc<QueryRun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }
}

/// What all executions of a plan have in common.
struct Template {
    query: Arc<PlannedQuery>,
    operators: Arc<[PlannedOperator]>,
    observer: Arc<dyn QueryObserver>,
    live: LiveQueries,
}

/// The executions of one plan, one after the other.
struct Executions {
    template: Arc<Template>,
    slot: RunSlot,
    /// `None` before the first execution of a plan that was reset.
    current: Mutex<Option<Arc<QueryRun>>>,
}

impl Executions {
    /// The run that a partition belongs to: a new one where the partition was executed already. `None` where the
    /// observer leaves the query alone.
    fn open(&self, inner: &Arc<dyn ExecutionPlan>, partition: usize) -> Option<Arc<QueryRun>> {
        let mut current = self.lock();
        if let Some(run) = current.as_ref().filter(|run| run.open_partition(inner, partition)) {
            return Some(Arc::clone(run));
        }
        let Template { query, operators, observer, live } = &*self.template;
        let query = Arc::new(PlannedQuery {
            id: next_query_id(),
            planned_at: SystemTime::now(),
            planning_time: Duration::ZERO,
            ..PlannedQuery::clone(query)
        });
        let observation = observer.planned(&query)?;
        let run = Arc::new(QueryRun::new(query, Arc::clone(operators), inner, observation, true));
        self.slot.set(&run);
        live.add(&run);
        run.open_partition(inner, partition);
        let before = current.replace(Arc::clone(&run));
        // The run before may end here, which calls its listener.
        drop(current);
        drop(before);
        Some(run)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<QueryRun>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Observe(Arc<Executions>);

impl ExecuteHook for Observe {
    fn execute(
        &self,
        inner: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Some(run) = self.0.open(inner, partition) else { return inner.execute(partition, context) };
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

    fn reset(&self, inner: Arc<dyn ExecutionPlan>) -> (Arc<dyn ExecutionPlan>, Self) {
        let slot = RunSlot::default();
        let inner = rewired(inner, &slot);
        let executions =
            Executions { template: Arc::clone(&self.0.template), slot, current: Mutex::new(None) };
        (inner, Self(Arc::new(executions)))
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
            Poll::Ready(Some(Ok(batch))) => {
                // `EXPLAIN ANALYZE` returns measurements; the results are seen below it.
                if !self.run.query.analyzed {
                    self.run.add_result(batch);
                }
            }
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

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.as_ref().map_or((0, Some(0)), |inner| inner.size_hint())
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
