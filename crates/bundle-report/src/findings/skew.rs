//! Partitions that were uneven: a few had most of the rows, and the others waited for them.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{PartitionMetrics, PlanOperator, saturating_sum};

use super::{Finding, FindingKind, Unit, plan_view::PlanView};
use crate::display;

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    for (position, operator) in plan.operators() {
        let is_skewed = |position: usize| {
            let operator = plan.operator(position);
            operator.output_rows.is_some_and(|rows| rows >= thresholds.skew_rows)
                && score(operator).is_some_and(|score| score >= thresholds.skew_score)
        };
        // What reads uneven partitions has uneven ones itself: the cause is where they come from.
        let is_caused_below = plan.inputs(position).iter().any(|input| is_skewed(plan.through_rows(*input)));
        if !is_skewed(position) || is_caused_below {
            continue;
        }
        let (Some(score), Some(partitions)) = (score(operator), operator.partitions) else { continue };
        let rows = operator.output_rows.unwrap_or(0);
        let most = of_partitions(operator, rows_of).into_iter().max().filter(|most| *most > 0);
        let had = match most {
            Some(most) if most >= rows => "all of".to_owned(),
            Some(most) => format!("{} of", display::count(most)),
            None => "most of".to_owned(),
        };
        let which = if most.is_some() { "one" } else { "few" };
        let summary = format!(
            "{} in {} had {had} its {} in {which} of its {partitions} partitions (skew {}).",
            plan.name(position),
            plan.place(),
            display::plural(rows, "row"),
            display::percent(score)
        );
        let finding = Finding::of_plan(FindingKind::PartitionSkew, plan, Some(position), summary);
        let finding = most
            .into_iter()
            .fold(finding, |finding, most| finding.count("rows of the largest partition", most));
        found.push(
            finding
                .count("rows", rows)
                .count("partitions", partitions)
                .evidence("skew", score, Unit::Part)
                .at_stake(plan.within(waiting_ms(plan, position, score))),
        );
    }
}

/// How unevenly the rows of an operator are spread over its partitions, from 0 (even) to 1 (all in one). DataFusion has it for
/// the scans of files; of others it is the part of the largest partition beyond that of an even one.
fn score(operator: &PlanOperator) -> Option<f64> {
    let partitions = operator.partitions.filter(|partitions| *partitions > 1)?;
    let scanned = operator.metric("output_rows_skew.part").zip(operator.metric("output_rows_skew.total"));
    if let Some((part, whole)) = scanned.filter(|(_, whole)| *whole > 0) {
        return Some(part as f64 / whole as f64);
    }
    let rows = of_partitions(operator, rows_of);
    let most = *rows.iter().max()? as f64;
    let all = saturating_sum(rows) as f64;
    let even = 1.0 / partitions as f64;
    // Even is 0 and not a part of the partitions, so that one threshold fits plans of any width.
    (all > 0.0).then(|| ((most / all - even) / (1.0 - even)).clamp(0.0, 1.0))
}

/// For how long the largest partition computed alone, in the operator and in those above it that have the same partitions.
fn waiting_ms(plan: &PlanView<'_>, position: usize, score: f64) -> f64 {
    let operator = plan.operator(position);
    if operator.partition_metrics.is_empty() {
        // The one partition that has it all takes as long as all of them together.
        let time_ms = plan.time_ms(position);
        let whole_ms = plan.within(time_ms * operator.partition_count() as f64);
        return (whole_ms - time_ms).max(0.0) * score;
    }
    let same_partitions = plan.above(position).take_while(|above| {
        let above = plan.operator(*above);
        // Behind a repartition the rows are spread anew, and what is uneven there has another cause.
        above.partitions == operator.partitions && above.name != "RepartitionExec"
    });
    [position].into_iter().chain(same_partitions).map(|position| uneven_ms(plan.operator(position))).sum()
}

fn uneven_ms(operator: &PlanOperator) -> f64 {
    let times = of_partitions(operator, nanoseconds_of);
    let most = times.iter().copied().max().unwrap_or(0) as f64;
    // The mean is what each partition would take if the rows were spread evenly.
    let mean = saturating_sum(times) as f64 / operator.partition_count() as f64;
    (most - mean).max(0.0) / 1e6
}

fn of_partitions(operator: &PlanOperator, value: fn(&PartitionMetrics) -> u64) -> Vec<u64> {
    operator.partition_metrics.iter().filter(|metrics| metrics.partition.is_some()).map(value).collect()
}

fn rows_of(partition: &PartitionMetrics) -> u64 {
    partition.metrics.get("output_rows").copied().unwrap_or(0)
}

fn nanoseconds_of(partition: &PartitionMetrics) -> u64 {
    let of = |name: &str| partition.metrics.get(name).copied().unwrap_or(0);
    // Joins have timers of their own, and may say nothing of them in the common one.
    of("elapsed_compute").max(of("build_time").saturating_add(of("join_time")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{Plan, check, check_quiet, found};

    #[test]
    fn rows_in_few_partitions_are_skewed() {
        let scan = |rows, score| {
            let plan = Plan::new().scan(None, "events", rows).compute(1_900.0).partitions(4);
            plan.metric("output_rows_skew.part", score).metric("output_rows_skew.total", 10_000)
        };
        let parts = ["had most of its 100,000 rows in few of its 4 partitions (skew 60 %)"];
        check(scan(100_000, 6_000), FindingKind::PartitionSkew, "DataSourceExec (events)", &parts);
        check_quiet(scan(100_000, 5_999));
        check_quiet(scan(99_999, 10_000));
        check_quiet(scan(100_000, 10_000).partitions(1).compute(400.0));
    }

    /// A join over a repartition by a key, with the rows of each partition and the milliseconds of the join in it.
    fn keyed(rows: [u64; 4], join_ms: [u64; 4]) -> Plan {
        let all = rows.iter().sum();
        let joined = join_ms.map(|ms| ("elapsed_compute", ms * 1_000_000));
        let plan = Plan::new().operator(None, "HashJoinExec", all).partitions(4).in_partitions(joined);
        let plan = plan.metric_in_partitions("output_rows", rows);
        let plan = plan.operator(Some(0), "RepartitionExec", all).partitions(4);
        plan.in_partitions(rows.map(|rows| ("output_rows", rows)))
    }

    #[test]
    fn a_key_of_few_values_is_found_where_the_rows_are_spread_by_it() {
        let parts = ["had 70,000 of its 100,000 rows in one of its 4 partitions (skew 60 %)"];
        check(
            keyed([70_000, 10_000, 10_000, 10_000], [800, 0, 0, 0]),
            FindingKind::PartitionSkew,
            "RepartitionExec",
            &parts,
        );
        let found = found([keyed([100_000, 0, 0, 0], [1_000, 200, 0, 0])]);
        assert_eq!((found.len(), found[0].at_stake_ms), (1, Some(700.0)));
        assert!(
            found[0].summary.contains("had all of its 100,000 rows in one of its 4"),
            "{}",
            found[0].summary
        );
        check_quiet(keyed([69_000, 11_000, 10_000, 10_000], [800, 0, 0, 0]));
        // Uneven, and nobody waited for it.
        check_quiet(keyed([100_000, 0, 0, 0], [10, 0, 0, 0]));
    }
}
