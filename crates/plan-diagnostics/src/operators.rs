//! What the operators of a physical plan measured.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use daglight_capture_policy::operator_name;
use daglight_run_bundle::{Metrics, OperatorTimers};
use datafusion::physical_plan::{
    ExecutionPlan,
    metrics::{Metric, MetricValue, MetricsSet},
};

use crate::{
    counted::counted_rows,
    planned_operators::{Estimate, PlannedOperator, visit},
    reported_operator::TASK_LABEL,
    sources::{Leaf, counts_rows},
    tap::below_hooks,
};

/// Partitions of an operator whose metrics are kept apart.
const MAX_PARTITIONS: usize = 100;

/// An operator of a query that has ended, or runs.
#[derive(Debug, Clone)]
pub struct MeasuredOperator {
    /// Position in pre-order, from 0.
    pub id: usize,
    /// The operator that reads this one's output.
    pub parent: Option<usize>,
    /// Such as `HashJoinExec`.
    pub name: String,
    /// Whether it gets rows from outside of the query.
    pub is_scan: bool,
    /// The table that it scans, as the query calls it, where that is known.
    pub table: Option<String>,
    /// Rows that it gave, over all partitions. `None` for operators that do not count.
    pub output_rows: Option<u64>,
    /// Rows of a table that it read; `None` where it reads none, or how many is not known.
    pub(crate) rows_read: Option<u64>,
    /// Time that it computed itself, summed over its partitions, which run at the same time, without the time that it waited.
    pub busy: Duration,
    /// The partitions that it was executed in; at least 1.
    pub partitions: usize,
    /// The tasks of a cluster that have measured it, where those of its plan did; `None` where it was executed in this process.
    pub tasks: Option<usize>,
    /// When it was first executed.
    pub started_at: SystemTime,
    /// When it, and everything below it, had ended.
    pub ended_at: SystemTime,
    /// What it was planned to return.
    pub estimate: Estimate,
    pub(crate) readings: Readings,
}

/// What an operator has measured. The query reads it and waits for that, and most of it is summed only where it is written down.
#[derive(Debug, Clone)]
pub(crate) enum Readings {
    /// Every metric as the operator has it, and rows that were counted in its place.
    OfPartitions { readings: Vec<Reading>, counted_rows: Option<u64> },
    /// The sums: of a plan that is executed once more, whose operators do not start anew, and of more than a hundred
    /// partitions.
    InSum(Metrics),
}

impl Readings {
    /// The sum of a metric over all partitions.
    fn metric(&self, name: &str) -> Option<u64> {
        match self {
            Self::OfPartitions { readings, counted_rows } => {
                let of_name = readings.iter().filter(|reading| reading.name == name);
                let sum = of_name.map(|reading| reading.value).reduce(u64::saturating_add);
                sum.or_else(|| counted_rows.filter(|_| name == OUTPUT_ROWS))
            }
            Self::InSum(sums) => sums.get(name).copied(),
        }
    }

    /// Every metric, summed over partitions.
    fn sums(&self) -> Metrics {
        match self {
            Self::OfPartitions { readings, counted_rows } => {
                let mut sums = Metrics::new();
                for Reading { name, value, .. } in readings {
                    add(&mut sums, name.clone(), *value);
                }
                if let Some(rows) = counted_rows {
                    sums.entry(OUTPUT_ROWS.into()).or_insert(*rows);
                }
                sums
            }
            Self::InSum(sums) => sums.clone(),
        }
    }
}

const OUTPUT_ROWS: &str = "output_rows";

/// A metric of an operator, read.
///
/// The metrics of the engine are not kept: they are a thousand small pieces of memory of a query's threads, and the thread that
/// would free them is another one, for which these would have to wait.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The task of a cluster that measured it.
    task: Option<u64>,
    partition: Option<usize>,
    name: Cow<'static, str>,
    value: u64,
}

impl MeasuredOperator {
    /// The most memory that it used, over all partitions, where it says.
    pub fn memory_bytes(&self) -> Option<u64> {
        ["peak_mem_used", "build_mem_used", "max_mem_used"].iter().find_map(|name| self.metric(name))
    }

    /// A metric by its name, summed over partitions; times in nanoseconds.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.readings.metric(name)
    }

    /// Every metric, as [`MeasuredOperator::metric`] has it.
    pub fn metrics(&self) -> Metrics {
        self.readings.sums()
    }

    /// The metrics of each partition by itself. Empty where they are not known, or for more than a hundred partitions.
    pub(crate) fn by_partition(&self) -> BTreeMap<(Option<u64>, Option<usize>), Metrics> {
        let mut partitions: BTreeMap<(Option<u64>, Option<usize>), Metrics> = BTreeMap::new();
        if let Readings::OfPartitions { readings, .. } = &self.readings {
            for Reading { task, partition, name, value } in readings {
                add(partitions.entry((*task, *partition)).or_default(), name.clone(), *value);
            }
        }
        partitions
    }

    /// Its name, with the table that it scans.
    pub fn shown_name(&self) -> String {
        operator_name(&self.name, self.table.as_deref())
    }

    /// The time that it was busy in one of its partitions, on average.
    pub fn busy_per_partition(&self) -> Duration {
        self.busy / u32::try_from(self.partitions).unwrap_or(u32::MAX).max(1)
    }
}

/// What the operators of a plan had measured before it was executed once more: they do not start anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct Baseline(Vec<Metrics>);

/// Reads what the operators have measured so far.
pub(crate) fn baseline(plan: &Arc<dyn ExecutionPlan>) -> Baseline {
    let mut sums = Vec::new();
    visit(plan, None, &mut |plan, _| {
        sums.push(Measured::of(plan.as_ref()).readings.sums());
    });
    Baseline(sums)
}

/// Reads the metrics of every operator. Operators that measured no time get that of the query; an operator ends no
/// earlier than those below it, which also repairs the end time of hash joins. `times` are those of the query. A scan that has measured
/// nothing has read no rows if the measurements are complete; otherwise it is not known how many.
pub(crate) fn collect_metrics(
    plan: &Arc<dyn ExecutionPlan>,
    planned: &[PlannedOperator],
    baseline: &Baseline,
    times: (SystemTime, SystemTime),
    is_complete: bool,
) -> Vec<MeasuredOperator> {
    let (query_started, query_ended) = times;
    let mut reports: Vec<MeasuredOperator> = Vec::with_capacity(planned.len());
    let mut measured_end: Vec<Option<SystemTime>> = Vec::with_capacity(planned.len());
    visit(plan, None, &mut |plan, parent| {
        let id = reports.len();
        let mut measured = Measured::of(plan.as_ref());
        let before = baseline.0.get(id);
        if before.is_some() || measured.partitions.len() > MAX_PARTITIONS {
            measured.sum_up(before);
        }
        // A plan that is executed once more has the times of its first execution as well, and the engine's clock may
        // have been set anew.
        let started_at =
            measured.started_at.unwrap_or(query_started).clamp(query_started, query_started.max(query_ended));
        measured_end.push(measured.ended_at.filter(|end| is_behind(*end, started_at)));
        let planned = planned.get(id);
        let leaf = planned.and_then(|operator| operator.leaf.as_ref());
        let output_rows = measured.readings.metric(OUTPUT_ROWS);
        let rows_read = match leaf {
            // One that was not executed any more, because its query ended before, has not measured anything.
            Some(Leaf::Scan(_)) => {
                let is_none = || is_complete && counts_rows(below_hooks(plan.as_ref()));
                output_rows.or_else(|| is_none().then_some(0))
            }
            Some(Leaf::Change(rows)) => *rows,
            Some(Leaf::Inner) | None => None,
        };
        let is_change = matches!(leaf, Some(Leaf::Change(_)));
        reports.push(MeasuredOperator {
            id,
            parent,
            name: plan.name().to_owned(),
            is_scan: is_change || matches!(leaf, Some(Leaf::Scan(_))),
            table: leaf.and_then(Leaf::table).map(str::to_owned),
            output_rows: output_rows.filter(|_| !is_change),
            rows_read,
            busy: measured.busy(plan.name()),
            partitions: measured.partitions.len().max(1),
            // One without metrics of its own is where those above it are.
            tasks: (!measured.tasks.is_empty()).then_some(measured.tasks.len()).or_else(|| {
                let is_elsewhere = parent.and_then(|parent: usize| reports[parent].tasks).is_some();
                is_elsewhere.then_some(0)
            }),
            started_at,
            ended_at: query_ended,
            estimate: planned.map(|operator| operator.estimate).unwrap_or_default(),
            readings: measured.readings,
        });
    });
    // From the leaves up, so that the end of a child is right when its parent asks for it. A hash join's end is
    // written when the metrics of its build side are dropped, which is before it has read its probe side: of 62
    // joins of TPC-H, 29 ended before their own child.
    for id in (0..reports.len()).rev() {
        let below =
            reports.iter().filter(|report| report.parent == Some(id)).map(|report| report.ended_at).max();
        if let Some(end) = measured_end[id].max(below.filter(|_| measured_end[id].is_some())) {
            reports[id].ended_at = end.min(query_ended).max(reports[id].started_at);
        }
    }
    reports
}

/// The metrics of one operator.
#[derive(Debug)]
struct Measured {
    started_at: Option<SystemTime>,
    ended_at: Option<SystemTime>,
    partitions: BTreeSet<(Option<u64>, usize)>,
    tasks: BTreeSet<u64>,
    readings: Readings,
}

impl Measured {
    fn of(plan: &dyn ExecutionPlan) -> Self {
        let metrics = plan.metrics();
        let mut readings = Vec::with_capacity(metrics.as_ref().map_or(0, |metrics| metrics.iter().count()));
        let mut measured = Self {
            started_at: None,
            ended_at: None,
            partitions: BTreeSet::new(),
            tasks: BTreeSet::new(),
            readings: Readings::InSum(Metrics::new()),
        };
        let (mut last, mut last_task) = (None, None);
        for metric in metrics.iter().flat_map(MetricsSet::iter) {
            let task = task_of(metric);
            let partition = metric.partition().map(|partition| (task, partition));
            // A partition has a dozen of them, mostly in a row.
            if partition != last {
                measured.partitions.extend(partition);
                last = partition;
            }
            if task != last_task {
                measured.tasks.extend(task);
                last_task = task;
            }
            measured.take(&mut readings, task, metric.partition(), metric.value());
        }
        measured.readings = Readings::OfPartitions { readings, counted_rows: counted_rows(plan) };
        measured
    }

    fn take(
        &mut self,
        readings: &mut Vec<Reading>,
        task: Option<u64>,
        partition: Option<usize>,
        value: &MetricValue,
    ) {
        let mut read =
            |name, value: usize| readings.push(Reading { task, partition, name, value: value as u64 });
        match value {
            MetricValue::StartTimestamp(start) => {
                self.started_at = earlier(self.started_at, start.value().map(SystemTime::from));
            }
            MetricValue::EndTimestamp(end) => {
                self.ended_at = self.ended_at.max(end.value().map(SystemTime::from));
            }
            MetricValue::PruningMetrics { name, pruning_metrics } => {
                read(format!("{name}.pruned").into(), pruning_metrics.pruned());
                read(format!("{name}.matched").into(), pruning_metrics.matched());
            }
            MetricValue::Ratio { name, ratio_metrics } => {
                read(format!("{name}.part").into(), ratio_metrics.part());
                read(format!("{name}.total").into(), ratio_metrics.total());
            }
            value => read(name_of(value), value.as_usize()),
        }
    }

    /// Keeps the sums alone, without what was measured `before`.
    fn sum_up(&mut self, before: Option<&Metrics>) {
        let mut sums = self.readings.sums();
        for (name, value) in &mut sums {
            *value = value.saturating_sub(before.and_then(|before| before.get(name)).copied().unwrap_or(0));
        }
        self.readings = Readings::InSum(sums);
    }

    /// `elapsed_compute` says little for some operators: a hash join adds its parts once per clone of its metrics, a
    /// file scan decodes outside of it, a repartition measures its own work under other names.
    fn busy(&self, operator: &str) -> Duration {
        let metric = |name: &str| self.readings.metric(name);
        if let Some(timers) = OperatorTimers::of(operator, |name| metric(name).is_some()) {
            return Duration::from_nanos(metric(timers.computing).unwrap_or(0));
        }
        let nanoseconds = match operator {
            // `BuildProbeJoinMetrics` adds both to `elapsed_compute` whenever a clone of it is dropped
            // (`datafusion-physical-plan` 55.2.0, `src/joins/utils.rs`, lines 1790 to 1794).
            "HashJoinExec" => metric("build_time").unwrap_or(0) + metric("join_time").unwrap_or(0),
            _ => metric("elapsed_compute").unwrap_or(0),
        };
        Duration::from_nanos(nanoseconds)
    }
}

/// The task of a cluster that measured it, where an engine says so by the label of `datafusion-distributed`.
fn task_of(metric: &Metric) -> Option<u64> {
    metric
        .labels()
        .iter()
        .find(|label| label.name() == TASK_LABEL)
        .and_then(|label| label.value().parse().ok())
}

fn add(sums: &mut Metrics, name: Cow<'static, str>, value: u64) {
    let sum = sums.entry(name).or_default();
    *sum = sum.saturating_add(value);
}

/// The name of a metric, copied only where an operator has made it at run time: there are a dozen for each partition of each
/// operator.
fn name_of(value: &MetricValue) -> Cow<'static, str> {
    match value {
        MetricValue::OutputRows(_) => "output_rows".into(),
        MetricValue::ElapsedCompute(_) => "elapsed_compute".into(),
        MetricValue::SpillCount(_) => "spill_count".into(),
        MetricValue::SpilledBytes(_) => "spilled_bytes".into(),
        MetricValue::OutputBytes(_) => "output_bytes".into(),
        MetricValue::OutputBatches(_) => "output_batches".into(),
        MetricValue::SpilledRows(_) => "spilled_rows".into(),
        MetricValue::Count { name, .. }
        | MetricValue::Gauge { name, .. }
        | MetricValue::PeakMemoryUsage { name, .. }
        | MetricValue::Time { name, .. } => name.clone(),
        other => other.name().to_owned().into(),
    }
}

/// Whether an operator may have ended at this moment of the engine's clock. Else that was set back meanwhile, and nobody knows when
/// the operator ended.
fn is_behind(end: SystemTime, start: SystemTime) -> bool {
    /// The query's clock and the engine's drift apart by less while a process runs.
    const DRIFT: Duration = Duration::from_millis(100);
    end + DRIFT >= start
}

fn earlier(a: Option<SystemTime>, b: Option<SystemTime>) -> Option<SystemTime> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Milliseconds since the Unix epoch, with their fraction.
pub(crate) fn unix_milliseconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_front_of_the_start_is_that_of_a_clock_that_was_set_back() {
        let start = UNIX_EPOCH + Duration::from_secs(7_200);
        assert!(is_behind(start + Duration::from_secs(3_600), start));
        assert!(is_behind(start - Duration::from_millis(1), start));
        assert!(!is_behind(start - Duration::from_secs(3_600), start));
    }
}
