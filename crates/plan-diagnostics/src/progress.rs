//! The queries that run at this moment, and how far they are.

use std::{
    any::Any,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use datafusion::physical_plan::{ExecutionPlan, metrics::MetricValue};

use crate::{
    counted::{counted_rows, is_waiting},
    measured_query::MeasuredQuery,
    open_planning::{LivePlanning, OpenPlannings},
    planned_operators::PlannedOperator,
    polls::ActivePoll,
    query_run::QueryRun,
    sources::Leaf,
};

/// A registry of the queries that are planned and that run. Clones share it; reading it from any thread costs a few microseconds a query.
#[derive(Clone, Default)]
pub struct LiveQueries {
    runs: Arc<Mutex<Vec<Weak<QueryRun>>>>,
    pub(crate) plannings: OpenPlannings,
}

impl fmt::Debug for LiveQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveQueries").field("queries", &self.lock().len()).finish()
    }
}

/// A query that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveQuery {
    /// The id of the query in its process.
    pub id: u64,
    /// When the first partition was executed.
    pub started_at: SystemTime,
    /// How long that is ago.
    pub runs_for: Duration,
    /// Rows that it has returned so far.
    pub rows: u64,
    /// Rows that its scans have returned so far.
    pub rows_read: u64,
    /// Rows that its scans will have returned in the end. `None` where the statistics of a table are not exact, or something
    /// may leave rows out, as a filter of a scan and a limit do.
    pub rows_to_read: Option<u64>,
    /// Whether rows pass from one scan to the end as they are read, so that reading the rest takes as long as its speed so far
    /// says. A join reads its sides at their own speeds, and a sort or an aggregate goes on when everything is read.
    pub is_streamed: bool,
    /// Rows that its sink has taken so far.
    pub rows_written: u64,
    /// Bytes that its scans have read from storage so far, where they say.
    pub bytes_read: u64,
    /// Bytes that its sink has written to storage so far, where it says.
    pub bytes_written: u64,
    /// Bytes that its operators have spilled to disk so far.
    pub bytes_spilled: u64,
    /// Whether somebody waits for its rows, or its root is polled.
    pub is_asked: bool,
    /// Polls of its root that have not returned.
    pub polls: Vec<ActivePoll>,
    /// How long those took that have, and how long other machines have computed for it.
    pub busy: Duration,
    /// The task on another machine that it waits for, in words.
    pub waits_for_worker: Option<String>,
    /// Its operators in pre-order.
    pub operators: Vec<LiveOperator>,
}

/// An operator of a query that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveOperator {
    /// The operator that reads this one's output, by position.
    pub parent: Option<usize>,
    /// Such as `HashJoinExec`.
    pub name: String,
    /// One line of the plan, as it was before execution.
    pub detail: String,
    /// Rows that it has given so far.
    pub rows: u64,
    /// Bytes that it has given, read, written and spilled so far, as far as it counts them.
    pub bytes: u64,
    /// Its own time so far.
    pub elapsed_compute: Duration,
    /// Whether all its partitions that started have ended; `None` for operators that do not measure that.
    pub finished: Option<bool>,
    /// Of a scan: whether it was asked for rows and has none yet; `None` where that is not seen.
    pub is_waiting: Option<bool>,
}

impl LiveQueries {
    /// No queries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The queries that are being planned.
    pub fn plannings(&self) -> Vec<LivePlanning> {
        self.plannings.sample()
    }

    /// Whoever asked for queries says that this has failed with the message of an error: a query of theirs whose plan the checks
    /// behind the analysis have refused is reported with it. Nothing else tells of these, since no rule is called with them.
    pub fn failed(&self, is_theirs: impl Fn(&(dyn Any + Send + Sync)) -> bool, message: &str) {
        self.plannings.refused(is_theirs, message);
    }

    /// Every query that has started and not ended, by id.
    pub fn sample(&self) -> Vec<LiveQuery> {
        let mut runs = self.runs();
        // It may have ended and still be held by the reader of its last rows.
        runs.retain(|run| !run.has_ended());
        let mut queries: Vec<LiveQuery> = runs.iter().filter_map(|run| sample(run)).collect();
        queries.sort_by_key(|query| query.id);
        queries
    }

    /// Ends the running queries that `is_meant` is true of as cancelled, with what they have measured so far: for those that
    /// do not give way, of which nothing will be heard before the end of the process. Their code is not stopped.
    pub fn end(&self, is_meant: impl Fn(u64) -> bool) {
        self.runs().iter().filter(|run| is_meant(run.query.id)).for_each(|run| run.end_now());
    }

    /// Has a query that runs end with a [`QueryCancelled`](crate::QueryCancelled) for this reason, as soon as somebody asks for
    /// its rows, or waits for them. What it computes on its own threads meanwhile is dropped, and ends where it gives way.
    pub fn cancel(&self, query_id: u64, reason: &str) {
        self.runs().iter().filter(|run| run.query.id == query_id).for_each(|run| run.cancel.order(reason));
    }

    /// What the query that runs longest of those has done so far whose id `is_meant`. `None` where none of them runs.
    pub fn report_of_longest(&self, is_meant: impl Fn(u64) -> bool) -> Option<MeasuredQuery> {
        let mut runs = self.runs();
        runs.retain(|run| is_meant(run.query.id) && !run.has_ended());
        let runs = runs.iter().filter_map(|run| Some((run.started_at()?, run)));
        runs.min_by_key(|(started_at, _)| *started_at)?.1.report_so_far()
    }

    /// What is upgraded may be the last handle, whose end calls a listener, which may ask for the queries once more: all are
    /// upgraded under the lock, and dropped without it.
    fn runs(&self) -> Vec<Arc<QueryRun>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn add(&self, run: &Arc<QueryRun>) {
        let mut runs = self.lock();
        // Here and not when a query ends: a session that is sampled by nobody must not keep an entry for each query of
        // a long service.
        runs.retain(|run| run.strong_count() > 0);
        runs.push(Arc::downgrade(run));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<QueryRun>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sample(run: &QueryRun) -> Option<LiveQuery> {
    let (started_at, runs_for) = (run.started_at()?, run.runs_for()?);
    // The plan is gone once nobody executes it any more.
    let plan = run.plan()?;
    let mut measured = Vec::with_capacity(run.query.operators.len());
    measure(&plan, &mut measured);
    let sum = |of: fn(&Sample) -> u64| measured.iter().map(of).sum();
    let (bytes_read, bytes_written) =
        (sum(|sample| sample.bytes_scanned), sum(|sample| sample.bytes_written));
    // A sink that is not seen may count by itself, though most do when they are done.
    let rows_written = run.rows_written().max(sum(|sample| sample.rows_written));
    let bytes_spilled = sum(|sample| sample.bytes_spilled);
    let scans = run.query.operators.iter().zip(&measured);
    let scans = scans.filter(|(planned, _)| matches!(planned.leaf, Some(Leaf::Scan(_))));
    let remote = run.remote_work();
    let rows_read = remote.as_ref().and_then(|work| work.rows_read());
    let rows_read = rows_read.unwrap_or_else(|| scans.map(|(_, sample)| sample.rows).sum());
    let polls = run.polls.active();
    let busy_elsewhere = remote.as_ref().map_or(Duration::ZERO, |work| work.busy());
    let is_asked = run.is_asked() || !polls.is_empty();
    let operators = run
        .query
        .operators
        .iter()
        .zip(measured)
        .map(|(planned, measured)| LiveOperator {
            parent: planned.parent,
            name: planned.name.clone(),
            detail: planned.detail.clone(),
            rows: measured.rows,
            bytes: measured.output_bytes
                + measured.bytes_scanned
                + measured.bytes_written
                + measured.bytes_spilled,
            elapsed_compute: Duration::from_nanos(measured.elapsed_nanoseconds),
            // Each partition has its own pair of time stamps: the operator has finished when no partition that began
            // is without its end.
            finished: (measured.started > 0).then_some(measured.started == measured.ended),
            is_waiting: measured.is_waiting,
        })
        .collect();
    Some(LiveQuery {
        id: run.query.id,
        started_at,
        runs_for,
        rows: run.rows(),
        rows_read,
        rows_to_read: rows_to_read(&run.query.operators),
        is_streamed: is_streamed(&run.query.operators),
        rows_written,
        bytes_read,
        bytes_written,
        bytes_spilled,
        is_asked,
        polls,
        busy: run.polls.busy() + busy_elsewhere,
        waits_for_worker: remote.and_then(|work| work.waits_for()),
        operators,
    })
}

fn rows_to_read(operators: &[PlannedOperator]) -> Option<u64> {
    let may_stop_early = |operator: &PlannedOperator| {
        // A query that stops early reads fewer rows than its tables have, and nobody knows how many.
        operator.name.ends_with("LimitExec") || operator.detail.contains("fetch=")
    };
    if operators.iter().any(may_stop_early) {
        return None;
    }
    let mut scans =
        operators.iter().filter(|operator| matches!(operator.leaf, Some(Leaf::Scan(_)))).peekable();
    // The sum over no scans would be zero, and look like a query that is done.
    scans.peek()?;
    scans.map(|scan| scan.estimate.rows.filter(|_| scan.estimate.is_exact)).sum()
}

/// Operators that return rows while they read them.
const STREAMING: [&str; 9] = [
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "DataSinkExec",
    "FilterExec",
    "ProjectionExec",
    "RepartitionExec",
    "SchemaCastExec",
    "UnnestExec",
];

fn is_streamed(operators: &[PlannedOperator]) -> bool {
    let scans = operators.iter().filter(|operator| operator.leaf.is_some()).count();
    let all = |operator: &PlannedOperator| operator.leaf.is_some() || STREAMING.contains(&&*operator.name);
    scans == 1 && operators.iter().all(all)
}

#[derive(Default)]
struct Sample {
    rows: u64,
    rows_written: u64,
    output_bytes: u64,
    bytes_scanned: u64,
    bytes_written: u64,
    bytes_spilled: u64,
    elapsed_nanoseconds: u64,
    started: usize,
    ended: usize,
    is_waiting: Option<bool>,
}

fn measure(plan: &Arc<dyn ExecutionPlan>, out: &mut Vec<Sample>) {
    let mut sample = Sample::default();
    if let Some(metrics) = plan.metrics() {
        for metric in metrics.iter() {
            match metric.value() {
                MetricValue::OutputRows(rows) => sample.rows += rows.value() as u64,
                MetricValue::OutputBytes(bytes) => sample.output_bytes += bytes.value() as u64,
                MetricValue::SpilledBytes(bytes) => sample.bytes_spilled += bytes.value() as u64,
                MetricValue::Count { name, count } => match name.as_ref() {
                    "bytes_scanned" => sample.bytes_scanned += count.value() as u64,
                    "bytes_written" => sample.bytes_written += count.value() as u64,
                    "rows_written" => sample.rows_written += count.value() as u64,
                    _ => {}
                },
                MetricValue::ElapsedCompute(time) => sample.elapsed_nanoseconds += time.value() as u64,
                MetricValue::StartTimestamp(start) => sample.started += usize::from(start.value().is_some()),
                MetricValue::EndTimestamp(end) => sample.ended += usize::from(end.value().is_some()),
                _ => {}
            }
        }
    }
    // An operator without the usual metric is counted by ourselves.
    if sample.rows == 0 {
        sample.rows = counted_rows(plan.as_ref()).unwrap_or(0);
    }
    sample.is_waiting = is_waiting(plan.as_ref());
    out.push(sample);
    for child in plan.children() {
        measure(child, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planned_operators::Estimate;

    fn plan(operators: &[&str]) -> Vec<PlannedOperator> {
        let operators = operators.iter().enumerate().map(|(position, name)| PlannedOperator {
            parent: position.checked_sub(1),
            name: (*name).to_owned(),
            detail: String::new(),
            description: String::new(),
            leaf: name.starts_with("DataSource").then_some(Leaf::Scan(None)),
            scan: None,
            estimate: Estimate::default(),
        });
        operators.collect()
    }

    #[test]
    fn only_what_passes_rows_of_one_scan_on_has_a_speed_that_lasts() {
        assert!(is_streamed(&plan(&["DataSinkExec", "ProjectionExec", "FilterExec", "DataSourceExec"])));
        for operators in [
            &["HashJoinExec", "DataSourceExec", "DataSourceExec"][..],
            &["UnionExec", "DataSourceExec", "DataSourceExec"],
            &["SortExec", "DataSourceExec"],
            &["AggregateExec", "RepartitionExec", "AggregateExec", "DataSourceExec"],
            &["OwnExec", "DataSourceExec"],
            &["ProjectionExec"],
        ] {
            assert!(!is_streamed(&plan(operators)), "{operators:?}");
        }
    }
}
