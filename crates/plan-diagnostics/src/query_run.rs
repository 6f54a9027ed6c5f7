//! One query, from its plan to its end.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arrow::datatypes::SchemaRef;
use datafusion::{
    error::DataFusionError,
    logical_expr::{LogicalPlan, WriteOp},
    physical_plan::{ExecutionPlan, ExecutionPlanProperties},
};

use crate::{
    Fingerprints, Observation, OperatorReport, PlanTexts, QueryListener,
    operators::{self, PlannedOperator},
};

/// What a query does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryKind {
    /// Returns rows.
    Select,
    /// Writes files.
    Copy {
        /// Where to, as it was written.
        target: String,
        /// The file format, in lower case.
        format: String,
    },
    /// Changes a table.
    Dml {
        /// The table, as it was written.
        table: String,
        /// `insert into`, `update`, ...
        operation: String,
    },
    /// Explains a plan.
    Explain,
}

impl QueryKind {
    pub(crate) fn of(plan: &LogicalPlan) -> Self {
        match plan {
            LogicalPlan::Copy(copy) => Self::Copy {
                target: copy.output_url.clone(),
                format: copy.file_type.get_ext().to_lowercase(),
            },
            LogicalPlan::Dml(dml) => Self::Dml {
                table: dml.table_name.to_string(),
                operation: match dml.op {
                    WriteOp::Insert(_) => "insert".to_owned(),
                    _ => dml.op.name().to_lowercase(),
                },
            },
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => Self::Explain,
            _ => Self::Select,
        }
    }

    /// `select`, `copy`, `insert`, ...
    pub fn operation(&self) -> &str {
        match self {
            Self::Select => "select",
            Self::Copy { .. } => "copy",
            Self::Dml { operation, .. } => operation,
            Self::Explain => "explain",
        }
    }

    /// The table that it changes, as it was written.
    pub fn target_table(&self) -> Option<&str> {
        match self {
            Self::Dml { table, .. } => Some(table),
            _ => None,
        }
    }

    /// Whether the query writes data and returns only their count.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Copy { .. } | Self::Dml { .. })
    }
}

/// A query that has a physical plan.
#[derive(Debug)]
pub struct PlannedQuery {
    /// Unique in the process, from 1.
    pub id: u64,
    /// What it does.
    pub kind: QueryKind,
    /// The plan as the front end made it. `None` where the analyzer was not seen.
    pub unoptimized: Option<LogicalPlan>,
    /// The plan that was turned into a physical one.
    pub optimized: LogicalPlan,
    /// The columns of the data: what it returns, or what it writes.
    pub schema: SchemaRef,
    /// The tables that it reads, sorted, each once.
    pub source_tables: Vec<String>,
    /// What makes two queries the same.
    pub fingerprints: Fingerprints,
    /// The plans as texts, made before execution: a physical plan takes up data values while it runs.
    pub texts: PlanTexts,
    /// When physical planning started.
    pub planned_at: SystemTime,
    /// How long physical planning took.
    pub planning_time: Duration,
    /// Partitions of the root.
    pub partitions: usize,
}

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
    /// Rows that it returned, or wrote.
    pub rows: u64,
    /// Bytes that it wrote to storage, where the sink says.
    pub bytes_written: Option<u64>,
    /// Bytes that its scans read from storage, where they say.
    pub bytes_scanned: Option<u64>,
    /// Bytes in memory of the rows that it returned, where an operator counts them.
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
    pub(crate) operators: Vec<PlannedOperator>,
    plan: Weak<dyn ExecutionPlan>,
    listener: Arc<dyn QueryListener>,
    started: OnceLock<(SystemTime, Instant)>,
    ended: AtomicBool,
    rows: AtomicU64,
    partitions: Mutex<Partitions>,
}

#[derive(Default)]
struct Partitions {
    opened: usize,
    active: usize,
    worst: Option<QueryOutcome>,
    /// The physical plan, held while partitions are active so that its metrics outlive the caller's handle.
    plan: Option<Arc<dyn ExecutionPlan>>,
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
        plan: &Arc<dyn ExecutionPlan>,
        observation: &Observation,
    ) -> Self {
        Self {
            query,
            operators: operators::describe(plan),
            plan: Arc::downgrade(plan),
            listener: Arc::clone(&observation.listener),
            started: OnceLock::new(),
            ended: AtomicBool::new(false),
            rows: AtomicU64::new(0),
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

    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The physical plan, as long as somebody can still run it.
    pub(crate) fn plan(&self) -> Option<Arc<dyn ExecutionPlan>> {
        self.plan.upgrade()
    }

    pub(crate) fn open_partition(&self, plan: &Arc<dyn ExecutionPlan>) {
        let mut first = false;
        self.started.get_or_init(|| {
            first = true;
            (SystemTime::now(), Instant::now())
        });
        let mut partitions = self.lock();
        partitions.opened += 1;
        partitions.active += 1;
        partitions.plan.get_or_insert_with(|| Arc::clone(plan));
        drop(partitions);
        if first {
            self.listener.started();
        }
    }

    pub(crate) fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
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
        let all_opened = partitions.opened >= self.query.partitions;
        let went_wrong = partitions.worst.is_some();
        if all_opened || went_wrong {
            let plan = partitions.plan.take();
            let outcome = partitions.worst.clone().unwrap_or(QueryOutcome::Completed);
            drop(partitions);
            self.end(plan, outcome);
        }
    }

    fn end(&self, plan: Option<Arc<dyn ExecutionPlan>>, outcome: QueryOutcome) {
        let Some((started_at, started)) = self.started.get() else { return };
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        let wall_time = started.elapsed();
        let operators = plan.as_ref().map_or_else(Vec::new, |plan| {
            operators::harvest(plan, &self.operators, *started_at, *started_at + wall_time)
        });
        let sum = |name: &str| -> Option<u64> {
            operators.iter().filter_map(|operator| operator.metrics.get(name).copied()).reduce(|a, b| a + b)
        };
        self.listener.ended(QueryReport {
            query: Arc::clone(&self.query),
            started_at: *started_at,
            wall_time,
            outcome,
            rows: sum("rows_written").filter(|_| self.query.kind.is_write()).unwrap_or_else(|| self.rows()),
            bytes_written: sum("bytes_written"),
            bytes_scanned: sum("bytes_scanned"),
            bytes_returned: operators
                .iter()
                .find_map(|operator| operator.metrics.get("output_bytes").copied()),
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
        let outcome = partitions.worst.take().unwrap_or(QueryOutcome::Completed);
        self.end(plan, outcome);
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
