//! Joins that return too many rows, compare everything, or are built from the wrong side.

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, plan_view::PlanView};
use crate::{display, operator_time::timers_in_partition_ms};

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    let has_ended = plan.bundle.outcome.as_deref() == Some("completed");
    for (position, operator) in plan.operators().filter(|(_, operator)| operator.name.contains("Join")) {
        let (Some(left), Some(right)) = (built_rows(plan, position), plan.input_rows(position, 1)) else {
            continue;
        };
        let rows = operator.output_rows;
        let time_ms = plan.time_ms(position);
        let sides = |finding: Finding| {
            let finding = finding.count("rows of the left side", left).count("rows of the right side", right);
            match rows {
                Some(rows) => finding.count("rows returned", rows),
                None => finding,
            }
        };
        let place = plan.place();
        let name = plan.name(position);
        if is_without_equality(&operator.name) {
            // If the query did not come to its end, rows that have arrived may not have been compared.
            let pairs = left.saturating_mul(right);
            if pairs >= thresholds.cross_pairs && left.min(right) >= thresholds.cross_side_rows {
                let compares = if has_ended { "compared" } else { "did not end, and was to compare" };
                let summary = format!(
                    "{name} in {place} {compares} all of {} with all of {}: {}.",
                    display::plural(left, "row"),
                    display::plural(right, "row"),
                    display::plural(pairs, "pair")
                );
                let finding =
                    Finding::of_plan(FindingKind::CrossJoin, plan, Some(position), summary).at_stake(time_ms);
                found.push(sides(finding).count("pairs", pairs));
            }
            continue;
        }
        // The larger side: a join on a unique key of one side returns at most as many rows as the other side has.
        let larger = left.max(right).max(1);
        if let Some(rows) = rows.filter(|rows| *rows >= thresholds.explosion_rows)
            && rows as f64 >= thresholds.explosion * larger as f64
        {
            let summary = format!(
                "{name} in {place} returned {} from {} and {}: {:.0} for each row of the larger side.",
                display::plural(rows, "row"),
                display::count(left),
                display::count(right),
                rows as f64 / larger as f64
            );
            // The operators above have to process all of those rows, too.
            let above_ms = time_above(plan, position);
            let finding = Finding::of_plan(FindingKind::ExplodingJoin, plan, Some(position), summary);
            found.push(sides(finding.at_stake(plan.within(time_ms + above_ms))));
        }
        let is_larger =
            left >= thresholds.build_rows && left as f64 >= thresholds.build_ratio * right.max(1) as f64;
        // DataFusion builds the hash table from the left side. A query that did not come to its end may not have read any row of
        // the other one.
        if operator.name == "HashJoinExec" && is_larger && has_ended {
            let build_ms = operator
                .metric("build_time")
                .map_or(time_ms, |_| timers_in_partition_ms(operator, &["build_time"]));
            let estimated = [0, 1].map(|side| plan.estimated_rows(position, side));
            let expected = match estimated {
                [Some(left), Some(right)] => {
                    format!("; the plan had expected {} and {}", display::count(left), display::count(right))
                }
                // Other machines do not say what their planner expected.
                _ if plan.is_on_cluster(position) => String::new(),
                _ => "; the plan had no statistics of both sides".to_owned(),
            };
            let summary = format!(
                "{name} in {place} built its hash table of {}, and probed it with {}{expected}.",
                display::plural(left, "row"),
                display::count(right)
            );
            let finding = Finding::of_plan(FindingKind::WrongBuildSide, plan, Some(position), summary);
            let names = ["rows expected of the left side", "rows expected of the right side"];
            let finding = names.into_iter().zip(estimated).fold(finding, |finding, (what, rows)| {
                rows.into_iter().fold(finding, |finding, rows| finding.count(what, rows))
            });
            found.push(sides(finding.at_stake(plan.within(build_ms * (1.0 - right as f64 / left as f64)))));
        }
    }
}

/// The rows of the left side of a join. If each task of a cluster has all of them, each counts them; `None` if it is not known how often
/// they are counted.
fn built_rows(plan: &PlanView<'_>, position: usize) -> Option<u64> {
    let rows = plan.input_rows(position, 0)?;
    let operator = plan.operator(position);
    let detail = operator.detail.as_deref().unwrap_or_default();
    let is_divided = operator.name == "SortMergeJoinExec" || detail.contains("mode=Partitioned");
    if !plan.is_on_cluster(position) || is_divided {
        return Some(rows);
    }
    let is_repeated = is_without_equality(&operator.name) || detail.contains("mode=CollectLeft");
    rows.checked_div(plan.tasks(position)).filter(|_| is_repeated)
}

/// Whether a join compares each row of one side with each of the other.
pub(super) fn is_without_equality(name: &str) -> bool {
    matches!(name, "CrossJoinExec" | "NestedLoopJoinExec")
}

/// The time of the operators between a join and the next one that reduces the number of rows.
fn time_above(plan: &PlanView<'_>, position: usize) -> f64 {
    let rows = plan.operator(position).output_rows.unwrap_or(0);
    let mut sum_ms = 0.0;
    for parent in plan.above(position) {
        sum_ms += plan.time_ms(parent);
        // Above an operator that drops some of the rows, the time is no longer caused only by the rows of the join.
        if plan.operator(parent).output_rows.is_none_or(|kept| kept < rows) {
            break;
        }
    }
    sum_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{Plan, check, check_quiet, found};

    fn join(name: &str, rows: u64, left: u64, right: u64) -> Plan {
        let plan = Plan::new().operator(None, "AggregateExec", 1).compute(300.0);
        plan.operator(Some(0), name, rows).compute(1_800.0).partitions(2).scan(Some(1), "a", left).scan(
            Some(1),
            "b",
            right,
        )
    }

    #[test]
    fn a_join_that_returns_many_times_its_larger_side_has_exploded() {
        let parts =
            ["HashJoinExec in node orders returned 5.0 M rows from 20,000 and 50,000: 100 for each row"];
        check(
            join("HashJoinExec", 5_000_000, 20_000, 50_000),
            FindingKind::ExplodingJoin,
            "HashJoinExec",
            &parts,
        );
        check_quiet(join("HashJoinExec", 4_999_999, 20_000, 500_000));
        check_quiet(join("HashJoinExec", 999_999, 20_000, 50_000));
    }

    #[test]
    fn a_join_that_did_not_end_has_not_compared_what_it_was_given() {
        let plan =
            join("CrossJoinExec", 7, 5_000, 2_000).with(|plan| plan.outcome = Some("cancelled".into()));
        let found = found([plan]);
        assert!(
            found[0].summary.contains("did not end, and was to compare all of 5,000 rows"),
            "{}",
            found[0].summary
        );
    }

    #[test]
    fn a_join_without_equality_compares_all_pairs() {
        for name in ["CrossJoinExec", "NestedLoopJoinExec"] {
            let parts = ["compared all of 5,000 rows with all of 2,000 rows: 10.0 M pairs"];
            check(join(name, 7, 5_000, 2_000), FindingKind::CrossJoin, name, &parts);
            check_quiet(join(name, 7, 5_000, 1_999));
            // A scalar subquery.
            check_quiet(join(name, 7, 1, 100_000_000));
        }
    }

    #[test]
    fn rows_of_a_cross_join_in_one_partition_are_not_said_besides() {
        let in_one = |name| {
            let plan = Plan::new().operator(None, name, 20_000_000).compute(1_800.0).partitions(2);
            let plan = plan.in_partitions([("output_rows", 20_000_000), ("output_rows", 0)]);
            let plan = plan.metric_in_partitions("elapsed_compute", [1_800_000_000, 0]);
            let plan = plan.scan(Some(0), "a", 8_000).scan(Some(0), "b", 5_000);
            found([plan]).into_iter().map(|finding| finding.kind).collect::<Vec<_>>()
        };
        assert_eq!(in_one("FilterExec"), [FindingKind::PartitionSkew]);
        assert_eq!(in_one("NestedLoopJoinExec"), [FindingKind::CrossJoin]);
    }

    #[test]
    fn a_hash_table_is_built_from_the_smaller_side() {
        let parts = [
            "built its hash table of 400,000 rows, and probed it with 100,000; the plan had expected 400,000 and",
        ];
        check(join("HashJoinExec", 7, 400_000, 100_000), FindingKind::WrongBuildSide, "HashJoinExec", &parts);
        check_quiet(join("HashJoinExec", 7, 400_000, 100_001));
        check_quiet(join("HashJoinExec", 7, 99_999, 10));
        check_quiet(join("SortMergeJoinExec", 7, 400_000, 100_000));
        for outcome in [Some("failed"), Some("cancelled"), None] {
            let cut = join("HashJoinExec", 0, 400_000, 0);
            check_quiet(cut.with(|plan| plan.outcome = outcome.map(str::to_owned)));
        }
    }

    #[test]
    fn the_rows_that_each_task_of_a_cluster_has_are_counted_once() {
        let join = |mode: &str, left: u64| {
            let plan =
                Plan::new().operator(None, "NetworkCoalesceExec", 9).operator(Some(0), "HashJoinExec", 7);
            let plan = plan.detail(&format!("HashJoinExec: {mode}, join_type=Inner")).in_tasks([900, 900]);
            plan.scan(Some(1), "a", left).scan(Some(1), "b", 100_000).estimated(None).on_cluster()
        };
        // Each of the two tasks has read all of it.
        check_quiet(join("mode=CollectLeft", 799_999));
        check(
            join("mode=CollectLeft", 800_000),
            FindingKind::WrongBuildSide,
            "HashJoinExec",
            &["built its hash table of 400,000 rows, and probed it with 100,000."],
        );
        check(
            join("mode=Partitioned", 400_000),
            FindingKind::WrongBuildSide,
            "HashJoinExec",
            &["400,000 rows"],
        );
        // The policy withholds the mode, or the tasks are not known.
        check_quiet(join("", 8_000_000));
        check_quiet(join("mode=CollectLeft", 8_000_000).with(|plan| {
            plan.metrics.operators[1].partition_metrics.clear();
        }));
    }

    #[test]
    fn a_join_whose_inputs_are_not_counted_is_not_judged() {
        let plan = Plan::new().operator(None, "HashJoinExec", 5_000_000).compute(1_800.0).partitions(2);
        check_quiet(plan.uncounted(Some(0), "StreamingTableExec").uncounted(Some(0), "StreamingTableExec"));
    }
}
