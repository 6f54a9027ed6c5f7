//! Uneven partitions: a few had most of the rows, and the others waited for them.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{PartitionMetrics, PlanOperator, saturating_sum};

use super::{Finding, FindingKind, Unit, plan_view::PlanView};
use crate::display;

/// The remedy if no more partitions could have read in parallel: DataFusion reads a row group in a single partition.
const ONE_ROW_GROUP: &str =
    "Write the file with smaller row groups: all of it is one, and a row group is read by one partition.";

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    for (position, operator) in plan.operators() {
        let is_uneven = |position: usize| {
            let operator = plan.operator(position);
            operator.output_rows.is_some_and(|rows| rows >= thresholds.skew_rows)
                && score(operator).is_some_and(|score| score >= thresholds.skew_score)
        };
        // An operator above uneven partitions has uneven ones itself: the cause is their origin.
        let is_caused_below = plan.inputs(position).iter().any(|input| is_uneven(plan.through_rows(*input)));
        if !is_uneven(position) || is_caused_below {
            continue;
        }
        let source = plan.source(position);
        let score = match source {
            Some(source) if source.shares_files => {
                score_of_shared_files(operator).filter(|score| *score >= thresholds.skew_score)
            }
            _ => score(operator),
        };
        let (Some(score), Some(partitions)) = (score, operator.partitions) else { continue };
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
        let mut finding = finding
            .count("rows", rows)
            .count("partitions", partitions)
            .evidence("skew", score, Unit::Part)
            .at_stake(plan.within(waiting_ms(plan, position, score)));
        if source.is_some_and(|source| source.row_groups_read == Some(1)) {
            finding = finding.count("row groups", 1);
            ONE_ROW_GROUP.clone_into(&mut finding.remedy);
        }
        found.push(finding);
    }
}

/// How unevenly the rows of an operator are distributed over its partitions, from 0 (even) to 1 (all in one). DataFusion provides
/// it for scans of files; for others it is the share of the largest partition beyond that of an even one.
fn score(operator: &PlanOperator) -> Option<f64> {
    let partitions = operator.partitions.filter(|partitions| *partitions > 1)?;
    let scanned = operator.metric("output_rows_skew.part").zip(operator.metric("output_rows_skew.total"));
    if let Some((part, whole)) = scanned.filter(|(_, whole)| *whole > 0) {
        return Some(part as f64 / whole as f64);
    }
    let rows = of_partitions(operator, rows_of);
    let most = *rows.iter().max()? as f64;
    beyond_even(most, saturating_sum(rows), partitions)
}

/// How uneven the files are that the partitions of a scan take from one queue. The rows of a partition do not show that: on a
/// busy machine, a partition that starts late finds the queue empty.
fn score_of_shared_files(operator: &PlanOperator) -> Option<f64> {
    let partitions = operator.partitions.filter(|partitions| *partitions > 1)?;
    let largest = of_partitions(operator, rows_of_file).into_iter().max()? as f64;
    beyond_even(largest, saturating_sum(of_partitions(operator, rows_of)), partitions)
}

/// The share of `most` beyond that of an even partition: an even distribution is 0 instead of one divided by the number of
/// partitions, so that one threshold works for plans of any width.
fn beyond_even(most: f64, all: u64, partitions: u64) -> Option<f64> {
    let even = 1.0 / partitions as f64;
    (all > 0).then(|| ((most / all as f64 - even) / (1.0 - even)).clamp(0.0, 1.0))
}

/// For how long the largest partition computed alone, in the operator and in those above it with the same partitioning.
fn waiting_ms(plan: &PlanView<'_>, position: usize, score: f64) -> f64 {
    let operator = plan.operator(position);
    if operator.partition_metrics.is_empty() {
        // If one partition has everything, it takes as long as all of them together.
        let time_ms = plan.time_ms(position);
        let whole_ms = plan.within(time_ms * operator.partition_count() as f64);
        return (whole_ms - time_ms).max(0.0) * score;
    }
    let same_partitions = plan.above(position).take_while(|above| {
        let above = plan.operator(*above);
        // After a repartition the rows are redistributed, so that unevenness there has another cause.
        above.partitions == operator.partitions && above.name != "RepartitionExec"
    });
    [position].into_iter().chain(same_partitions).map(|position| uneven_ms(plan.operator(position))).sum()
}

fn uneven_ms(operator: &PlanOperator) -> f64 {
    let times = of_partitions(operator, nanoseconds_of);
    let most = times.iter().copied().max().unwrap_or(0) as f64;
    // The mean is what each partition would take if the rows were evenly distributed.
    let mean = saturating_sum(times) as f64 / operator.partition_count() as f64;
    (most - mean).max(0.0) / 1e6
}

fn of_partitions(operator: &PlanOperator, value: fn(&PartitionMetrics) -> u64) -> Vec<u64> {
    operator.partition_metrics.iter().filter(|metrics| metrics.partition.is_some()).map(value).collect()
}

fn rows_of(partition: &PartitionMetrics) -> u64 {
    partition.metrics.get("output_rows").copied().unwrap_or(0)
}

/// The average number of rows per file, or per file range, in a partition. A range in which no row group begins has none.
fn rows_of_file(partition: &PartitionMetrics) -> u64 {
    let of = |name: &str| partition.metrics.get(name).copied();
    let with_rows = of("row_groups_pruned_statistics.matched").unwrap_or(u64::MAX);
    rows_of(partition) / of("files_opened").unwrap_or(1).min(with_rows).max(1)
}

fn nanoseconds_of(partition: &PartitionMetrics) -> u64 {
    let of = |name: &str| partition.metrics.get(name).copied().unwrap_or(0);
    // Joins have their own timers, which may not be included in the common one.
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

    /// A scan of two partitions with a filter above it.
    fn filtered(rows: [u64; 2], files: [u64; 2], row_groups: [u64; 2]) -> Plan {
        let all = rows.iter().sum();
        let times = rows.map(|rows| ("elapsed_compute", rows * 10_000));
        let filter = Plan::new().operator(None, "FilterExec", all).partitions(2).in_partitions(times);
        let scan =
            filter.metric_in_partitions("output_rows", rows).scan(Some(0), "events", all).partitions(2);
        scan.in_partitions(times)
            .metric_in_partitions("output_rows", rows)
            .metric_in_partitions("files_opened", files)
            .metric_in_partitions("row_groups_pruned_statistics.matched", row_groups)
            .source("parquet", 2, 1_000)
            .with(|plan| plan.sources[0].row_groups_read = Some(row_groups.iter().sum()))
    }

    #[test]
    fn who_came_first_to_files_of_one_size_is_not_skewed() {
        let shared = |plan: Plan| plan.with(|plan| plan.sources[0].shares_files = true);
        // One partition read everything before the other one was started.
        check_quiet(shared(filtered([100_000, 0], [4, 0], [8, 0])));
        check_quiet(shared(filtered([90_000, 10_000], [9, 1], [9, 1])));
        // Each partition reads its own files, which are uneven.
        let all = ["had all of its 100,000 rows in one of its 2 partitions (skew 100 %)"];
        check(
            filtered([100_000, 0], [4, 1], [8, 0]),
            FindingKind::PartitionSkew,
            "DataSourceExec (events)",
            &all,
        );
        // One file is larger than all others together.
        let most = ["had 90,000 of its 100,000 rows in one of its 2 partitions (skew 80 %)"];
        let large = shared(filtered([90_000, 10_000], [1, 9], [3, 9]));
        check(large, FindingKind::PartitionSkew, "DataSourceExec (events)", &most);
    }

    #[test]
    fn a_file_of_one_row_group_is_to_be_written_anew() {
        for files in [[1, 1], [2, 0]] {
            let plan = filtered([100_000, 0], files, [1, 0]).with(|plan| plan.sources[0].shares_files = true);
            let found = found([plan]);
            assert_eq!((found.len(), &*found[0].remedy), (1, ONE_ROW_GROUP));
        }
        assert_ne!(found([filtered([100_000, 0], [4, 1], [8, 0])])[0].remedy, ONE_ROW_GROUP);
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
        // Uneven, but without consequences.
        check_quiet(keyed([100_000, 0, 0, 0], [10, 0, 0, 0]));
    }
}
