//! The hook at the root of a plan: each execution of the plan is a separate query.

use std::{
    any::Any,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use arrow::array::RecordBatch;
use datafusion::{error::DataFusionError, execution::TaskContext, physical_plan::ExecutionPlan};
use futures::task::AtomicWaker;

use crate::{
    hooked_exec::{ExecuteHook, HookedExec},
    observer::{Observation, QueryObserver},
    planned_query::{PlannedQuery, next_query_id},
    planning::PlanningTimes,
    progress::LiveQueries,
    query_run::{Claim, QueryRun},
    tap::{DataReceiver, RunSlot, rewired, wired},
    watched_stream::{StreamEnd, StreamWatch},
};

/// The plan with its executions observed, the first one as `observation` says.
pub(crate) fn observed(
    plan: Arc<dyn ExecutionPlan>,
    query: Arc<PlannedQuery>,
    observation: Observation,
    observer: Arc<dyn QueryObserver>,
    live: LiveQueries,
) -> Arc<dyn ExecutionPlan> {
    let slot = RunSlot::default();
    let plan = wired(plan, &query, observation.tap.is_some(), &slot);
    let first = Arc::new(QueryRun::new(Arc::clone(&query), &plan, observation, false));
    slot.set(&receiver(&first));
    live.add(&first);
    let template = Template { query, observer, live };
    let executions = Executions { template: Arc::new(template), slot, current: Mutex::new(Some(first)) };
    HookedExec::wrap(plan, Observe(Arc::new(executions)))
}

/// Whether the executions of a plan are observed.
pub(crate) fn is_observed(plan: &Arc<dyn ExecutionPlan>) -> bool {
    HookedExec::<Observe>::of(plan.as_ref()).is_some()
}

fn receiver(run: &Arc<QueryRun>) -> Arc<dyn DataReceiver> {
    Arc::<QueryRun>::clone(run)
}

/// What all executions of a plan have in common.
struct Template {
    query: Arc<PlannedQuery>,
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
    /// The run that a partition belongs to: a new one where the partition was executed already. `None` for what is left of a
    /// query that has failed, and where the observer leaves the query alone. Observers and listeners are called without a lock: they may execute queries, this
    /// one as well.
    fn open(&self, inner: &Arc<dyn ExecutionPlan>, partition: usize) -> Option<Arc<QueryRun>> {
        // Without the lock from here on: claiming may end the run before, which calls code of the program.
        let current = self.lock().clone();
        let run = match current.map(|run| (run.claim_partition(inner, partition), run)) {
            Some((Claim::Claimed, run)) => run,
            Some((Claim::TooLate, _)) => return None,
            Some((Claim::Again, _)) | None => self.begin(inner, partition)?,
        };
        run.start();
        Some(run)
    }

    /// The next run, or the one that another thread has begun meanwhile.
    fn begin(&self, inner: &Arc<dyn ExecutionPlan>, partition: usize) -> Option<Arc<QueryRun>> {
        let Template { query, observer, live } = &*self.template;
        let query = Arc::new(PlannedQuery {
            id: next_query_id(),
            planning: PlanningTimes::none(),
            ..PlannedQuery::clone(query)
        });
        // Asked once more, because it runs for its current caller: another node, perhaps, than the one that
        // planned it.
        let observation = observer.planned(&query)?;
        let begun = Arc::new(QueryRun::new(query, inner, observation, true));
        begun.claim_partition(inner, partition);
        let mut current = self.lock();
        if let Some(run) =
            // Two threads that open two partitions of the second execution come here together, and both must belong
            // to one run.
            current.as_ref().filter(|run| run.claim_partition(inner, partition) == Claim::Claimed)
        {
            let run = Arc::clone(run);
            drop(current);
            // The one begun here was never started, so that its listener is not called.
            return Some(run);
        }
        self.slot.set(&receiver(&begun));
        let before = current.replace(Arc::clone(&begun));
        drop(current);
        // The run before may end here, which calls its listener.
        drop(before);
        live.add(&begun);
        Some(begun)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<QueryRun>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Observe(Arc<Executions>);

impl ExecuteHook for Observe {
    type Watch = Observed;

    fn watch(&self, inner: &Arc<dyn ExecutionPlan>, partition: usize) -> Option<Observed> {
        let run = self.0.open(inner, partition)?;
        Some(Observed { reader: run.cancel.reader(), run, poll: None, is_waiting: false })
    }

    fn context(&self, watch: &Observed, context: Arc<TaskContext>) -> Arc<TaskContext> {
        watch.run.travelling(context)
    }

    fn reset(&self, inner: Arc<dyn ExecutionPlan>) -> (Arc<dyn ExecutionPlan>, Self) {
        let slot = RunSlot::default();
        let inner = rewired(inner, &slot);
        let executions =
            Executions { template: Arc::clone(&self.0.template), slot, current: Mutex::new(None) };
        (inner, Self(Arc::new(executions)))
    }
}

/// A partition of a run that was claimed.
struct Observed {
    run: Arc<QueryRun>,
    /// Who asks for its rows.
    reader: Arc<AtomicWaker>,
    /// The poll that has not returned.
    poll: Option<u64>,
    /// Who asked for rows waits for them.
    is_waiting: bool,
}

impl Observed {
    fn wait(&mut self, is_waiting: bool) {
        if std::mem::replace(&mut self.is_waiting, is_waiting) != is_waiting {
            self.run.reader_waits(is_waiting);
        }
    }
}

impl StreamWatch for Observed {
    fn entered(&self) -> Option<Box<dyn Any>> {
        self.run.entered()
    }

    fn poll_begins(&mut self) {
        self.poll = Some(self.run.polls.begin_by_id());
    }

    fn poll_ends(&mut self, is_pending: bool) {
        self.poll.take().into_iter().for_each(|poll| self.run.polls.end(poll));
        self.wait(is_pending);
    }

    fn cancelled(&mut self, waiting: Option<&Waker>) -> Option<DataFusionError> {
        self.run.cancel.ordered(&self.reader, waiting)
    }

    fn batch(&mut self, batch: &RecordBatch) {
        // `EXPLAIN ANALYZE` returns measurements; the results are seen below it.
        if !self.run.query.analyzed {
            self.run.add_result(batch);
        }
    }

    fn ended(mut self, end: StreamEnd<'_>) {
        self.poll.take().into_iter().for_each(|poll| self.run.polls.end(poll));
        self.wait(false);
        self.run.close_partition(end);
    }
}
