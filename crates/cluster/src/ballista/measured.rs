//! What the operators of a job have measured: its stages as one plan, and sums for each task.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ballista_core::serde::protobuf::{
    GetJobMetricsResult, JobStageMetrics, OperatorMetric, operator_metric::Metric as Value,
};
use daglight_plan_diagnostics::{ReportedOperator, TASK_LABEL};
use datafusion::physical_plan::{
    ExecutionPlan,
    metrics::{Label, Metric, MetricValue, MetricsSet},
};

use super::{rest::UPSTREAM, travels::OWN_SPAN};
use crate::computing_time::Timers;

/// The tasks of each stage, with the partitions that they did.
pub(super) type Tasks = BTreeMap<u64, Vec<(u64, Vec<u32>)>>;

/// The operator that gets rows from another stage, and what it counts of those that came from other executors.
const SHUFFLE_READER: &str = "ShuffleReaderExec";
const RECEIVED: &str = "decoded_bytes";

/// What a task has measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TaskMeasures {
    pub(super) compute: Duration,
    pub(super) bytes_received: Option<u64>,
    /// Rows that it gave.
    pub(super) rows: Option<u64>,
    /// Whether its executor says that it makes the span of it.
    pub(super) has_own_span: bool,
}

/// The task that did a partition; the partition itself where the scheduler does not say.
fn task_of(tasks: &Tasks, stage: u64, partition: Option<u32>) -> Option<u64> {
    let partition = partition?;
    match tasks.get(&stage) {
        Some(tasks) => {
            tasks.iter().find(|(_, partitions)| partitions.contains(&partition)).map(|(task, _)| *task)
        }
        None => Some(partition.into()),
    }
}

pub(super) fn by_task(job: &GetJobMetricsResult, tasks: &Tasks) -> BTreeMap<(u64, u64), TaskMeasures> {
    let mut measures: BTreeMap<(u64, u64), TaskMeasures> = BTreeMap::new();
    let mut timers: BTreeMap<(u64, u64, usize), Timers> = BTreeMap::new();
    for stage in &job.stages {
        let number = u64::from(stage.stage_id);
        for (position, operator) in stage.operators.iter().enumerate() {
            for metric in &operator.metrics {
                let Some(task) = task_of(tasks, number, metric.partition) else { continue };
                let measures = measures.entry((number, task)).or_default();
                let add =
                    |sum: &mut Option<u64>, more: u64| *sum = Some(sum.unwrap_or(0).saturating_add(more));
                match &metric.metric {
                    Some(Value::ElapseTime(nanoseconds)) => timers
                        .entry((number, task, position))
                        .or_default()
                        .add("elapsed_compute", *nanoseconds),
                    Some(Value::Time(time)) => {
                        timers.entry((number, task, position)).or_default().add(&time.name, time.value)
                    }
                    _ if is_remark(metric) => measures.has_own_span = true,
                    Some(Value::OutputRows(rows)) if position == 0 => add(&mut measures.rows, *rows),
                    Some(Value::Count(count))
                        if operator.operator_type == SHUFFLE_READER && count.name == RECEIVED =>
                    {
                        add(&mut measures.bytes_received, count.value);
                    }
                    _ => {}
                }
            }
        }
    }
    for ((stage, task, _), timers) in timers {
        measures.entry((stage, task)).or_default().compute += Duration::from_nanos(timers.nanoseconds());
    }
    measures
}

/// The stages as one plan: each below the operator that reads its rows, or else at the top.
pub(super) fn plans(job: GetJobMetricsResult, tasks: &Tasks) -> Vec<Arc<dyn ExecutionPlan>> {
    let stages = job.stages.into_iter().map(|stage| (u64::from(stage.stage_id), stage));
    let mut stages = Stages { left: stages.collect(), tasks };
    let mut plans = Vec::new();
    // Those that others read have lower numbers.
    while let Some((number, stage)) = stages.left.pop_last() {
        plans.extend(stages.plan(number, stage));
    }
    plans
}

struct Stages<'t> {
    left: BTreeMap<u64, JobStageMetrics>,
    tasks: &'t Tasks,
}

impl Stages<'_> {
    fn plan(&mut self, number: u64, stage: JobStageMetrics) -> Vec<Arc<dyn ExecutionPlan>> {
        // From the last operator to the first: those below one are known when it comes.
        let mut below: Vec<(u32, Arc<dyn ExecutionPlan>)> = Vec::new();
        for operator in stage.operators.into_iter().rev() {
            let mut children = Vec::new();
            while let Some((_, child)) = below.pop_if(|(depth, _)| *depth > operator.depth) {
                children.push(child);
            }
            if let Some((upstream, stage)) = self.upstream(&operator.operator_desc) {
                children.extend(self.plan(upstream, stage));
            }
            let metrics = metrics_of(operator.metrics, number, self.tasks);
            let plan =
                ReportedOperator::plan(operator.operator_type, operator.operator_desc, metrics, children);
            below.push((operator.depth, plan));
        }
        below.into_iter().rev().map(|(_, plan)| plan).collect()
    }

    fn upstream(&mut self, text: &str) -> Option<(u64, JobStageMetrics)> {
        let (_, behind) = text.split_once(UPSTREAM)?;
        let digits = behind.split(|c: char| !c.is_ascii_digit()).next()?;
        let number = digits.parse().ok()?;
        Some((number, self.left.remove(&number)?))
    }
}

/// Whether an executor says with it that it makes the span of the task.
fn is_remark(metric: &OperatorMetric) -> bool {
    matches!(&metric.metric, Some(Value::Count(count)) if count.name == OWN_SPAN)
}

fn metrics_of(metrics: Vec<OperatorMetric>, stage: u64, tasks: &Tasks) -> MetricsSet {
    let mut set = MetricsSet::new();
    for metric in metrics.into_iter().filter(|metric| !is_remark(metric)) {
        let labels =
            task_of(tasks, stage, metric.partition).map(|task| Label::new(TASK_LABEL, task.to_string()));
        let value = metric.metric.and_then(|value| TryInto::<MetricValue>::try_into(value).ok());
        let partition = metric.partition.map(|partition| partition as usize);
        let labels = labels.into_iter().collect();
        if let Some(value) = value {
            set.push(Arc::new(Metric::new_with_labels(value, partition, labels)));
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use ballista_core::serde::protobuf::{NamedCount, OperatorWithMetrics};

    use super::*;

    fn operator(depth: u32, name: &str, text: &str, metrics: Vec<OperatorMetric>) -> OperatorWithMetrics {
        let (operator_type, operator_desc) = (name.to_owned(), text.to_owned());
        OperatorWithMetrics { depth, operator_type, operator_desc, metrics }
    }

    fn metric(partition: u32, value: Value) -> OperatorMetric {
        OperatorMetric { partition: Some(partition), metric: Some(value) }
    }

    fn job() -> GetJobMetricsResult {
        let received = |partition, value| {
            metric(partition, Value::Count(NamedCount { name: RECEIVED.to_owned(), value }))
        };
        let scan = vec![
            metric(0, Value::ElapseTime(5)),
            metric(1, Value::ElapseTime(7)),
            metric(2, Value::OutputRows(3)),
        ];
        let written = vec![metric(0, Value::OutputRows(10)), metric(1, Value::OutputRows(20))];
        let stage = |stage_id, operators| JobStageMetrics { stage_id, partitions: 3, operators };
        let below = |text| operator(2, SHUFFLE_READER, text, vec![received(0, 4)]);
        GetJobMetricsResult {
            stages: vec![
                stage(1, vec![operator(0, "Writer", "one", written), operator(1, "Scan", "a", scan)]),
                stage(2, vec![operator(0, "Writer", "two", vec![])]),
                stage(
                    3,
                    vec![
                        operator(0, "Writer", "three", vec![]),
                        operator(1, "Join", "j", vec![]),
                        below("ShuffleReaderExec: upstream_stage: 1, partitioning: x"),
                        below("ShuffleReaderExec: upstream_stage: 2"),
                    ],
                ),
            ],
        }
    }

    fn shown(plan: &Arc<dyn ExecutionPlan>) -> String {
        let below: Vec<String> = plan.children().into_iter().map(shown).collect();
        if below.is_empty() {
            plan.name().to_owned()
        } else {
            format!("{}({})", plan.name(), below.join(" "))
        }
    }

    #[test]
    fn a_stage_stands_below_the_operator_that_reads_it() {
        let tasks = Tasks::from([(1, vec![(7, vec![0, 1]), (8, vec![2])])]);
        let plans = plans(job(), &tasks);
        let texts: Vec<String> = plans.iter().map(shown).collect();
        assert_eq!(texts, ["Writer(Join(ShuffleReaderExec(Writer(Scan)) ShuffleReaderExec(Writer)))"]);
    }

    #[test]
    fn what_an_executor_remarks_of_its_task_is_no_metric() {
        let remark =
            |partition| metric(partition, Value::Count(NamedCount { name: OWN_SPAN.to_owned(), value: 1 }));
        let metrics = vec![metric(0, Value::OutputRows(10)), remark(0), metric(2, Value::OutputRows(20))];
        let operators = vec![operator(0, "Writer", "one", metrics.clone())];
        let job =
            GetJobMetricsResult { stages: vec![JobStageMetrics { stage_id: 1, partitions: 3, operators }] };
        let tasks = Tasks::from([(1, vec![(7, vec![0, 1]), (8, vec![2])])]);
        let measures = by_task(&job, &tasks);
        assert_eq!((measures[&(1, 7)].has_own_span, measures[&(1, 8)].has_own_span), (true, false));
        let names: Vec<String> =
            metrics_of(metrics, 1, &tasks).iter().map(|metric| metric.value().name().to_owned()).collect();
        assert_eq!(names, ["output_rows", "output_rows"]);
    }

    #[test]
    fn partitions_are_summed_for_their_tasks() {
        let tasks = Tasks::from([(1, vec![(7, vec![0, 1]), (8, vec![2])])]);
        let measures = by_task(&job(), &tasks);
        let of = |compute, bytes_received, rows| TaskMeasures {
            compute: Duration::from_nanos(compute),
            bytes_received,
            rows,
            has_own_span: false,
        };
        assert_eq!(measures[&(1, 7)], of(12, None, Some(30)));
        assert_eq!(measures[&(1, 8)], of(0, None, None));
        // Of the third stage nobody has said which tasks it has.
        assert_eq!(measures[&(3, 0)], of(0, Some(8), None));
    }
}
