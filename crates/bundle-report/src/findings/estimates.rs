//! What the planner knew about the rows: wrong estimates, and scans without any.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{PLAN_BUNDLE_FORMAT, PlanOperator};

use super::{Finding, FindingKind, plan_view::PlanView};
use crate::display;

/// Scans without statistics, below joins that the planner had to arrange.
pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    // Bundles of the first version have no estimates.
    if plan.bundle.format != PLAN_BUNDLE_FORMAT {
        return;
    }
    for (position, operator) in plan.operators() {
        let rows = operator.output_rows.filter(|rows| *rows >= thresholds.statistics_rows);
        let (Some(rows), None, true) = (rows, operator.estimated_rows, operator.is_scan) else { continue };
        let joins = plan.above(position).filter(|above| plan.operator(*above).name.contains("Join"));
        let joins: Vec<usize> = joins.collect();
        // A plan that other machines execute is shown as these report it, without what its planner knew.
        if plan.is_on_cluster(position) {
            continue;
        }
        // Joins are what the planner arranges by the number of rows. Without joins there was no decision to make.
        if joins.is_empty() {
            continue;
        }
        let joins_ms = joins.iter().map(|join| plan.time_ms(*join)).sum();
        let summary = format!(
            "{} in {} has no statistics: the planner did not know that {} come from it when it arranged {}.",
            plan.name(position),
            plan.place(),
            display::plural(rows, "row"),
            display::plural(joins.len() as u64, "join")
        );
        let finding = Finding::of_plan(FindingKind::MissingStatistics, plan, Some(position), summary);
        let finding = finding.count("rows", rows).count("joins above it", joins.len() as u64);
        found.push(finding.at_stake(plan.within(joins_ms)));
    }
}

/// Whether the number of rows was wrong by a large factor, in either direction.
pub(crate) fn is_wrong(operator: &PlanOperator, thresholds: &FindingThresholds) -> bool {
    let Some((estimated, rows)) = operator.estimated_rows.zip(operator.output_rows) else { return false };
    // A plan is as bad with too many expected rows as with too few.
    let (more, less) = (estimated.max(rows), estimated.min(rows).max(1));
    more >= thresholds.estimated_rows && more as f64 >= thresholds.wrong_estimate * less as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{Plan, check, check_quiet, found};

    #[test]
    fn a_scan_without_statistics_is_found_where_joins_depend_on_it() {
        let joined = |rows, estimated, above: &str| {
            let plan =
                Plan::new().operator(None, above, rows).compute(1_800.0).partitions(2).estimated(Some(1));
            let plan = plan.operator(Some(0), "CoalesceBatchesExec", rows);
            plan.scan(Some(1), "events", rows).estimated(estimated)
        };
        let parts = ["DataSourceExec (events) in node orders has no statistics", "100,000 rows", "1 join."];
        check(
            joined(100_000, None, "SortMergeJoinExec"),
            FindingKind::MissingStatistics,
            "DataSourceExec (events)",
            &parts,
        );
        check_quiet(joined(99_999, None, "SortMergeJoinExec"));
        check_quiet(joined(100_000, Some(7), "SortMergeJoinExec"));
        check_quiet(joined(100_000, None, "AggregateExec"));
        let old = joined(100_000, None, "SortMergeJoinExec");
        check_quiet(old.with(|plan| plan.format = "datafusion_plan_bundle_v1".into()));
    }

    #[test]
    fn a_scan_on_a_cluster_is_not_judged_by_statistics_that_nobody_reports() {
        let reader = |name: &str| {
            let plan = Plan::new().operator(None, name, 9).operator(Some(0), "SortMergeJoinExec", 100_000);
            let plan = plan.compute(1_800.0).in_tasks([900, 900]);
            plan.scan(Some(1), "events", 100_000).estimated(None)
        };
        for name in ["NetworkCoalesceExec", "BallistaExec"] {
            check_quiet(reader(name).on_cluster());
        }
        let here = reader("BallistaExec").on_cluster().with(|plan| {
            plan.metrics.cluster.as_mut().unwrap().on_client = Some("it is small".to_owned());
        });
        assert_eq!(found([here])[0].kind, FindingKind::MissingStatistics);
    }

    #[test]
    fn an_estimate_is_wrong_where_it_matters() {
        let is_wrong = |estimated_rows, rows| {
            let operator =
                PlanOperator { estimated_rows, output_rows: Some(rows), ..PlanOperator::default() };
            is_wrong(&operator, &FindingThresholds::default())
        };
        assert!(is_wrong(Some(100), 1_000) && is_wrong(Some(1_000), 0) && is_wrong(Some(u64::MAX), 5));
        assert!(!is_wrong(Some(101), 1_000) && !is_wrong(Some(1), 999) && !is_wrong(None, 5_000));
    }
}
