//! One execution of a query, from its first partition to its end.

use std::{
    any::Any,
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{DataType, Int64Type, UInt64Type},
};
use daglight_run_bundle::clock;
use datafusion::{
    execution::TaskContext,
    physical_plan::{ExecutionPlan, ExecutionPlanProperties},
};

use crate::{
    cancel::Cancel,
    data_tap::DataTap,
    elsewhere::{RemoteWork, Travelling, is_distributed, with_config},
    measured_query::{MeasuredQuery, QueryOutcome},
    observer::{Observation, QueryListener},
    operators::{self, Baseline, MeasuredOperator},
    planned_query::PlannedQuery,
    polls::Polls,
    reported_operator::MadeElsewhere,
    shield::{message_of, shielded},
    tap::DataReceiver,
    watched_stream::StreamEnd,
};

/// The state that the wrapper, its streams and the registry of live queries share.
pub(crate) struct QueryRun {
    pub(crate) query: Arc<PlannedQuery>,
    /// Those of the root of the plan.
    pub(crate) polls: Polls,
    pub(crate) cancel: Cancel,
    /// Partitions of which somebody waits for rows.
    waiting_readers: AtomicU64,
    plan: Weak<dyn ExecutionPlan>,
    listener: Arc<dyn QueryListener>,
    tap: Option<Arc<dyn DataTap>>,
    /// Whether the plan was executed before: then its operators have measured that already.
    is_repeated: bool,
    started: OnceLock<(SystemTime, Instant)>,
    ended: AtomicBool,
    rows: AtomicU64,
    /// Rows that the sink of a write has taken in.
    written: AtomicU64,
    /// Whether a count of rows was seen where there is one to be seen.
    is_counted: AtomicBool,
    /// What it takes with it to other machines.
    travelling: OnceLock<Arc<Travelling>>,
    partitions: Mutex<Partitions>,
}

#[derive(Default)]
struct Partitions {
    is_over: bool,
    opened: BTreeSet<usize>,
    active: usize,
    /// When the last partition ended; `None` while one is active.
    idle_since: Option<Instant>,
    worst: Option<QueryOutcome>,
    /// The physical plan, held while partitions are active so that its metrics outlive the caller's handle.
    plan: Option<Arc<dyn ExecutionPlan>>,
    baseline: Option<Baseline>,
}

/// What a partition that is executed is to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A part of it.
    Claimed,
    /// A part of it that was executed already: the plan is executed once more.
    Again,
    /// A part of it that was not executed before the others had ended, because one has failed.
    TooLate,
}

impl Partitions {
    /// What was recorded, to be reported. Under the lock, so that no partition is claimed for a run whose report does not have
    /// it.
    fn take_over(&mut self) -> Self {
        let recorded = std::mem::take(self);
        self.is_over = true;
        // Kept, so that a partition that is executed later is recognised as one of another execution.
        self.opened.clone_from(&recorded.opened);
        recorded
    }
}

impl QueryRun {
    pub(crate) fn new(
        query: Arc<PlannedQuery>,
        plan: &Arc<dyn ExecutionPlan>,
        observation: Observation,
        is_repeated: bool,
    ) -> Self {
        let is_write = query.kind.is_write();
        Self {
            query,
            polls: Polls::default(),
            cancel: Cancel::default(),
            waiting_readers: AtomicU64::new(0),
            // Weak until it is executed: a plan holds the memory of its joins and tables, and one that is never
            // executed must not be kept by those who watch.
            plan: Arc::downgrade(plan),
            listener: observation.listener,
            tap: observation.tap,
            is_repeated,
            started: OnceLock::new(),
            ended: AtomicBool::new(false),
            rows: AtomicU64::new(0),
            written: AtomicU64::new(0),
            is_counted: AtomicBool::new(!is_write),
            travelling: OnceLock::new(),
            partitions: Mutex::default(),
        }
    }

    /// When the first partition was executed.
    pub(crate) fn started_at(&self) -> Option<SystemTime> {
        self.started.get().map(|(at, _)| *at)
    }

    /// How long that is ago.
    pub(crate) fn runs_for(&self) -> Option<Duration> {
        self.started.get().map(|(_, at)| at.elapsed())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Rows that were returned or written so far, as far as they are known.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Rows that its sink has taken in so far.
    pub(crate) fn rows_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Somebody who reads a partition begins to wait for rows, or has them.
    pub(crate) fn reader_waits(&self, waits: bool) {
        match waits {
            true => _ = self.waiting_readers.fetch_add(1, Ordering::Relaxed),
            false => _ = self.waiting_readers.fetch_sub(1, Ordering::Relaxed),
        }
    }

    /// Whether somebody waits for rows of it.
    pub(crate) fn is_asked(&self) -> bool {
        self.waiting_readers.load(Ordering::Relaxed) > 0
    }

    /// The context to execute it with: where it may be executed on other machines, with what it takes there.
    pub(crate) fn travelling(&self, context: Arc<TaskContext>) -> Arc<TaskContext> {
        if !is_distributed(context.session_config()) {
            return context;
        }
        let travelling = self
            .travelling
            .get_or_init(|| Arc::new(Travelling::new(self.query.id, Arc::clone(&self.listener))));
        let config = context.session_config().clone().with_extension(Arc::clone(travelling));
        Arc::new(with_config(&context, config))
    }

    /// What other machines do of it; `None` where no engine has taken it there.
    pub(crate) fn remote_work(&self) -> Option<Arc<dyn RemoteWork>> {
        self.travelling.get()?.work()
    }

    /// Code of it is about to run on this thread.
    pub(crate) fn entered(&self) -> Option<Box<dyn Any>> {
        self.listener.entered()
    }

    /// The physical plan, as long as somebody can still run it.
    pub(crate) fn plan(&self) -> Option<Arc<dyn ExecutionPlan>> {
        self.plan.upgrade()
    }

    /// Counts a partition as active until it is closed.
    pub(crate) fn claim_partition(&self, plan: &Arc<dyn ExecutionPlan>, partition: usize) -> Claim {
        let is_first = |partitions: &Partitions| self.is_repeated && partitions.opened.is_empty();
        // The counters of a plan are never set back. What earlier executions measured is taken off in the end. Read without
        // the lock, because operators may be the program's.
        let may_be_first = is_first(&self.lock());
        let baseline = may_be_first.then(|| operators::baseline(plan));
        let mut partitions = self.lock();
        // The same partition a second time is the plan executed once more, which DataFusion does not announce:
        // `DataFrame::collect` twice on one physical plan, or a recursive query.
        if partitions.opened.contains(&partition) {
            return Claim::Again;
        }
        if partitions.is_over {
            // Executed after that, it is a part of another execution.
            partitions.opened.insert(partition);
            return Claim::TooLate;
        }
        // Where another thread was faster, its baseline counts: it has begun to execute.
        if is_first(&partitions) {
            partitions.baseline = baseline;
        }
        partitions.opened.insert(partition);
        partitions.active += 1;
        partitions.idle_since = None;
        // Strong from here on, because the caller may drop the plan while its streams run, and the metrics with it.
        partitions.plan.get_or_insert_with(|| Arc::clone(plan));
        Claim::Claimed
    }

    /// A partition that was claimed is executed; the listener is called at the first one.
    #[expect(
        clippy::disallowed_methods,
        reason = "queries have the times at which they are planned and executed"
    )]
    pub(crate) fn start(&self) {
        let mut first = false;
        self.started.get_or_init(|| {
            first = true;
            (clock::now(), Instant::now())
        });
        // Outside of `get_or_init`: the listener is code of others, and one that panicked in there would leave the
        // start unset for the partitions that wait for it.
        if first {
            shielded("the listener of a query", || self.listener.started());
        }
    }

    /// A partition ended; its inner stream is dropped already, so that its metrics have their end times.
    pub(crate) fn close_partition(&self, end: StreamEnd<'_>) {
        let outcome = match end {
            StreamEnd::Complete => None,
            StreamEnd::Failed(error) => Some(QueryOutcome::Failed { message: message_of(error) }),
            StreamEnd::Panicked => Some(QueryOutcome::Panicked),
            StreamEnd::Dropped => Some(QueryOutcome::Cancelled),
        };
        let mut partitions = self.lock();
        // `execute_stream` puts a `CoalescePartitionsExec` above this (`datafusion-physical-plan` 55.2.0,
        // `src/execution_plan.rs`, line 1781), so a query with several partitions opens and closes that many streams
        // here.
        partitions.active = partitions.active.saturating_sub(1);
        // After a failure the other partitions are dropped: the first thing that went wrong says why.
        if outcome.is_some() && matches!(partitions.worst, None | Some(QueryOutcome::Cancelled)) {
            partitions.worst = outcome;
        }
        if partitions.active > 0 {
            return;
        }
        partitions.idle_since = Some(Instant::now());
        // A plan may return a stream for a partition that it does not have.
        let all_opened = partitions.opened.range(..self.query.partitions).count() == self.query.partitions;
        // A caller may execute some partitions only, which looks like a query that has not opened the others yet. It
        // ends with the last handle to the plan.
        if all_opened || partitions.worst.is_some() {
            let last = partitions.take_over();
            drop(partitions);
            self.end(last);
        }
    }

    /// Ends the query as cancelled with what it has measured so far, though its partitions go on: nothing more is heard of
    /// them.
    pub(crate) fn end_now(&self) {
        let mut partitions = self.lock();
        if partitions.is_over {
            return;
        }
        let mut so_far = partitions.take_over();
        drop(partitions);
        so_far.worst.get_or_insert(QueryOutcome::Cancelled);
        self.end(so_far);
    }

    fn end(&self, partitions: Partitions) {
        let Some((started_at, started)) = self.started.get() else { return };
        // The end of the run and the last partition may come to it at once, from two threads.
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        shielded("the listener of a query", || {
            let Partitions { idle_since, worst, plan, baseline, .. } = partitions;
            // The last handle to a plan may be dropped long after its last partition ended.
            let wall_time = idle_since.unwrap_or_else(Instant::now).duration_since(*started);
            let outcome = worst.unwrap_or(QueryOutcome::Completed);
            let baseline = baseline.unwrap_or_default();
            self.listener.ended(self.report(*started_at, wall_time, outcome, plan.as_ref(), &baseline));
        });
        if let Some(travelling) = self.travelling.get() {
            travelling.query_has_ended();
        }
    }

    /// What is known of the query while it runs; `None` where it has not started, or has ended.
    pub(crate) fn report_so_far(&self) -> Option<MeasuredQuery> {
        let (started_at, started) = self.started.get()?;
        // What is upgraded here may be the last handle, which is dropped without the lock.
        let (plan, baseline) = {
            let partitions = self.lock();
            (self.plan.upgrade()?, partitions.baseline.clone().unwrap_or_default())
        };
        let report =
            self.report(*started_at, started.elapsed(), QueryOutcome::Running, Some(&plan), &baseline);
        // Asked again, after the metrics were read: the end may have been reported meanwhile, and a later report
        // must not say that it runs.
        (!self.has_ended()).then_some(report)
    }

    fn report(
        &self,
        started_at: SystemTime,
        wall_time: Duration,
        outcome: QueryOutcome,
        plan: Option<&Arc<dyn ExecutionPlan>>,
        baseline: &Baseline,
    ) -> MeasuredQuery {
        let remote = self.remote_work();
        let cluster = remote.as_ref().map(|work| work.so_far());
        let made_elsewhere = remote
            .as_ref()
            .and(plan)
            .and_then(|plan| MadeElsewhere::of(plan, &self.query.operators).map(Arc::new));
        let planned = made_elsewhere.as_deref().map_or(&*self.query.operators, |made| &made.operators);
        // Other machines may have executed what has no measurements here.
        let is_complete =
            cluster.as_ref().is_none_or(|work| outcome == QueryOutcome::Completed && !work.metrics_missing);
        let operators = plan.map_or_else(Vec::new, |plan| {
            let times = (started_at, started_at + wall_time);
            operators::collect_metrics(plan, planned, baseline, times, is_complete)
        });
        let sum = |name: &str| -> Option<u64> {
            // Unknown where no operator has it, which is something else than none.
            operators.iter().filter_map(|operator| operator.metric(name)).reduce(|a, b| a + b)
        };
        // Of a query that did not complete, what they had read by then.
        let read_elsewhere =
            remote.filter(|_| outcome != QueryOutcome::Completed).and_then(|work| work.rows_read());
        let is_write = self.query.kind.is_write();
        let bytes_returned = || operators.iter().find_map(|operator| operator.metric("output_bytes"));
        MeasuredQuery {
            query: Arc::clone(&self.query),
            started_at,
            wall_time,
            outcome,
            rows: self.is_counted.load(Ordering::Relaxed).then(|| self.rows()),
            rows_read: rows_read(&operators, is_complete).or(read_elsewhere),
            bytes_written: sum("bytes_written"),
            bytes_scanned: sum("bytes_scanned"),
            bytes_spilled: sum("spilled_bytes").unwrap_or(0),
            cluster: cluster.or_else(|| self.query.cluster.clone()),
            bytes_returned: if is_write { None } else { bytes_returned() },
            operators,
            made_elsewhere,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueryRun {
    /// The last handle is gone: a query of which only some partitions were ever executed ends here.
    fn drop(&mut self) {
        let partitions = self.partitions.get_mut().unwrap_or_else(PoisonError::into_inner);
        let partitions = std::mem::take(partitions);
        self.end(partitions);
    }
}

/// The rows of all scans, where each of them counts.
fn rows_read(operators: &[MeasuredOperator], is_complete: bool) -> Option<u64> {
    if operators.is_empty() {
        return None;
    }
    let mut scans = operators.iter().filter(|operator| operator.is_scan).peekable();
    // A plan without scans reads nothing, but another machine may execute another plan.
    if !is_complete && scans.peek().is_none() {
        return None;
    }
    // `None` as soon as one scan does not count: a sum that lacks a table is worse than none, since nobody sees that
    // it lacks one.
    scans.map(|operator| operator.rows_read).sum()
}

impl DataReceiver for QueryRun {
    fn tap(&self) -> Option<Arc<dyn DataTap>> {
        self.tap.clone()
    }

    fn add_result(&self, batch: &RecordBatch) {
        let rows = if self.query.kind.is_write() { count_of(batch) } else { Some(batch.num_rows() as u64) };
        if let Some(rows) = rows {
            self.rows.fetch_add(rows, Ordering::Relaxed);
            self.is_counted.store(true, Ordering::Relaxed);
        }
    }

    fn add_written(&self, rows: u64) {
        if self.query.kind.is_write() {
            self.written.fetch_add(rows, Ordering::Relaxed);
        }
    }
}

/// The count that a write returns as its only column.
fn count_of(batch: &RecordBatch) -> Option<u64> {
    let [column] = batch.columns() else { return None };
    match column.data_type() {
        DataType::UInt64 => Some(column.as_primitive::<UInt64Type>().iter().flatten().sum()),
        // Sinks of DataFusion return an unsigned number; some table providers of others a signed one.
        DataType::Int64 => {
            let counts = column.as_primitive::<Int64Type>();
            counts.iter().flatten().map(u64::try_from).sum::<Result<u64, _>>().ok()
        }
        _ => None,
    }
}

/// The partitions of the root of a plan.
pub(crate) fn partition_count(plan: &Arc<dyn ExecutionPlan>) -> usize {
    plan.output_partitioning().partition_count()
}
