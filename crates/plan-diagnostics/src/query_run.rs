//! One execution of a query, from its first partition to its end.

use std::{
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
use datafusion::{
    error::DataFusionError,
    physical_plan::{ExecutionPlan, ExecutionPlanProperties},
};

use crate::{
    DataTap, Observation, OperatorReport, PlannedQuery, QueryListener,
    operators::{self, Baseline, PlannedOperator},
};

/// How a query ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryOutcome {
    /// Every partition was read to its end.
    Completed,
    /// A partition gave an error.
    Failed {
        /// The error's message.
        message: String,
    },
    /// A partition was dropped before its end.
    Cancelled,
    /// A partition was dropped by a panic.
    Panicked,
}

impl QueryOutcome {
    /// The outcome as one word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
        }
    }
}

/// What is known of a query at its end.
#[derive(Debug, Clone)]
pub struct QueryReport {
    /// The query.
    pub query: Arc<PlannedQuery>,
    /// When the first partition was executed.
    pub started_at: SystemTime,
    /// From the first partition's execution to the end.
    pub wall_time: Duration,
    /// How it ended.
    pub outcome: QueryOutcome,
    /// Rows that it returned, or wrote. `None` for a write that returned no count, as one that failed.
    pub rows: Option<u64>,
    /// Rows that it got from the tables that it scans. `None` where a scan does not count them.
    pub rows_read: Option<u64>,
    /// Bytes that it wrote to storage, where the sink says.
    pub bytes_written: Option<u64>,
    /// Bytes that its scans read from storage, where they say.
    pub bytes_scanned: Option<u64>,
    /// Bytes that its operators spilled to disk.
    pub bytes_spilled: u64,
    /// Bytes in memory of the rows that it returned, where an operator counts them. `None` for a write.
    pub bytes_returned: Option<u64>,
    /// Every operator in pre-order.
    pub operators: Vec<OperatorReport>,
}

impl QueryReport {
    /// When the query ended.
    pub fn ended_at(&self) -> SystemTime {
        self.started_at + self.wall_time
    }
}

/// The state that the wrapper, its streams and the registry of live queries share.
pub(crate) struct QueryRun {
    pub(crate) query: Arc<PlannedQuery>,
    pub(crate) operators: Arc<[PlannedOperator]>,
    plan: Weak<dyn ExecutionPlan>,
    listener: Arc<dyn QueryListener>,
    tap: Option<Arc<dyn DataTap>>,
    /// Whether the plan was executed before: then its operators have measured that already.
    is_repeated: bool,
    started: OnceLock<(SystemTime, Instant)>,
    ended: AtomicBool,
    rows: AtomicU64,
    /// Whether a count of rows was seen where there is one to be seen.
    is_counted: AtomicBool,
    partitions: Mutex<Partitions>,
}

#[derive(Default)]
struct Partitions {
    opened: Vec<usize>,
    active: usize,
    worst: Option<QueryOutcome>,
    /// The physical plan, held while partitions are active so that its metrics outlive the caller's handle.
    plan: Option<Arc<dyn ExecutionPlan>>,
    baseline: Option<Baseline>,
}

/// How one partition ended.
pub(crate) enum PartitionEnd {
    Complete,
    Failed(String),
    Dropped,
}

impl QueryRun {
    pub(crate) fn new(
        query: Arc<PlannedQuery>,
        operators: Arc<[PlannedOperator]>,
        plan: &Arc<dyn ExecutionPlan>,
        observation: Observation,
        is_repeated: bool,
    ) -> Self {
        let is_write = query.kind.is_write();
        Self {
            query,
            operators,
            plan: Arc::downgrade(plan),
            listener: observation.listener,
            tap: observation.tap,
            is_repeated,
            started: OnceLock::new(),
            ended: AtomicBool::new(false),
            rows: AtomicU64::new(0),
            is_counted: AtomicBool::new(!is_write),
            partitions: Mutex::default(),
        }
    }

    /// When the first partition was executed.
    pub(crate) fn started_at(&self) -> Option<SystemTime> {
        self.started.get().map(|(at, _)| *at)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Rows that were returned or written so far, as far as they are known.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(crate) fn tap(&self) -> Option<Arc<dyn DataTap>> {
        self.tap.clone()
    }

    /// The physical plan, as long as somebody can still run it.
    pub(crate) fn plan(&self) -> Option<Arc<dyn ExecutionPlan>> {
        self.plan.upgrade()
    }

    /// False where the partition was executed already, or the query has ended.
    pub(crate) fn open_partition(&self, plan: &Arc<dyn ExecutionPlan>, partition: usize) -> bool {
        let mut partitions = self.lock();
        if self.has_ended() || partitions.opened.contains(&partition) {
            return false;
        }
        if self.is_repeated && partitions.opened.is_empty() {
            partitions.baseline = Some(operators::baseline(plan));
        }
        partitions.opened.push(partition);
        partitions.active += 1;
        partitions.plan.get_or_insert_with(|| Arc::clone(plan));
        drop(partitions);
        let mut first = false;
        self.started.get_or_init(|| {
            first = true;
            (SystemTime::now(), Instant::now())
        });
        if first {
            self.listener.started();
        }
        true
    }

    /// Takes in a batch that the query returns.
    pub(crate) fn add_result(&self, batch: &RecordBatch) {
        let rows = if self.query.kind.is_write() { count_of(batch) } else { Some(batch.num_rows() as u64) };
        if let Some(rows) = rows {
            self.rows.fetch_add(rows, Ordering::Relaxed);
            self.is_counted.store(true, Ordering::Relaxed);
        }
    }

    /// A partition ended; its inner stream is dropped already, so that its metrics have their end times.
    pub(crate) fn close_partition(&self, end: PartitionEnd) {
        let outcome = match end {
            PartitionEnd::Complete => None,
            PartitionEnd::Failed(message) => Some(QueryOutcome::Failed { message }),
            PartitionEnd::Dropped if std::thread::panicking() => Some(QueryOutcome::Panicked),
            PartitionEnd::Dropped => Some(QueryOutcome::Cancelled),
        };
        let mut partitions = self.lock();
        partitions.active = partitions.active.saturating_sub(1);
        // After a failure the other partitions are dropped: the first thing that went wrong says why.
        if outcome.is_some() && matches!(partitions.worst, None | Some(QueryOutcome::Cancelled)) {
            partitions.worst = outcome;
        }
        if partitions.active > 0 {
            return;
        }
        let all_opened = partitions.opened.len() >= self.query.partitions;
        let went_wrong = partitions.worst.is_some();
        if all_opened || went_wrong {
            let plan = partitions.plan.take();
            let baseline = partitions.baseline.take();
            let outcome = partitions.worst.clone().unwrap_or(QueryOutcome::Completed);
            drop(partitions);
            self.end(plan, baseline, outcome);
        }
    }

    fn end(&self, plan: Option<Arc<dyn ExecutionPlan>>, baseline: Option<Baseline>, outcome: QueryOutcome) {
        let Some((started_at, started)) = self.started.get() else { return };
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let wall_time = started.elapsed();
        let operators = plan.as_ref().map_or_else(Vec::new, |plan| {
            let baseline = baseline.unwrap_or_default();
            operators::harvest(plan, &self.operators, &baseline, *started_at, *started_at + wall_time)
        });
        let sum = |name: &str| -> Option<u64> {
            operators.iter().filter_map(|operator| operator.metrics.get(name).copied()).reduce(|a, b| a + b)
        };
        let is_write = self.query.kind.is_write();
        let bytes_returned =
            || operators.iter().find_map(|operator| operator.metrics.get("output_bytes").copied());
        self.listener.ended(QueryReport {
            query: Arc::clone(&self.query),
            started_at: *started_at,
            wall_time,
            outcome,
            rows: self.is_counted.load(Ordering::Relaxed).then(|| self.rows()),
            rows_read: rows_read(&operators),
            bytes_written: sum("bytes_written"),
            bytes_scanned: sum("bytes_scanned"),
            bytes_spilled: sum("spilled_bytes").unwrap_or(0),
            bytes_returned: if is_write { None } else { bytes_returned() },
            operators,
        });
    }

    fn lock(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueryRun {
    /// The last handle is gone: a query of which only some partitions were ever executed ends here.
    fn drop(&mut self) {
        let partitions = self.partitions.get_mut().unwrap_or_else(PoisonError::into_inner);
        let plan = partitions.plan.take();
        let baseline = partitions.baseline.take();
        let outcome = partitions.worst.take().unwrap_or(QueryOutcome::Completed);
        self.end(plan, baseline, outcome);
    }
}

/// The rows of all scans, where each of them counts.
fn rows_read(operators: &[OperatorReport]) -> Option<u64> {
    if operators.is_empty() {
        return None;
    }
    operators.iter().filter(|operator| operator.is_scan).map(|operator| operator.output_rows).sum()
}

/// The count that a write returns as its only column.
fn count_of(batch: &RecordBatch) -> Option<u64> {
    let [column] = batch.columns() else { return None };
    match column.data_type() {
        DataType::UInt64 => Some(column.as_primitive::<UInt64Type>().iter().flatten().sum()),
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

/// The message of an error without the backtrace that DataFusion may add.
pub(crate) fn message_of(error: &DataFusionError) -> String {
    error.strip_backtrace()
}
