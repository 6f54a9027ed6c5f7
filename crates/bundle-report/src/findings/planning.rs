//! Queries that were planned for longer than they were executed.

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, plan_view::PlanView};
use crate::display;

/// The operator with the count of rows that an UPDATE or a DELETE has changed.
const CHANGE_OF_TABLE: &str = "DmlResultExec";

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds) -> Option<Finding> {
    let metrics = &plan.bundle.metrics;
    // DataFusion changes a table in memory while it plans the statement: the work is not planning.
    if metrics.operators.first().is_some_and(|operator| operator.name == CHANGE_OF_TABLE) {
        return None;
    }
    let planning_ms =
        metrics.planning_ms.filter(|ms| *ms >= thresholds.planning_ms && *ms > metrics.wall_ms)?;
    let summary = format!(
        "{} planned a query for {}, and executed it in {}.",
        plan.place_as_subject(),
        display::duration(planning_ms),
        display::duration(metrics.wall_ms)
    );
    let finding = Finding::of_plan(FindingKind::Planning, plan, None, summary);
    let finding = finding.milliseconds("planning", planning_ms).milliseconds("executing", metrics.wall_ms);
    Some(finding.count("operators", metrics.operators.len() as u64).at_stake(planning_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{Plan, check_quiet, found};

    #[test]
    fn planning_is_too_long_where_it_is_longer_than_executing() {
        let plan = |planning_ms, wall_ms| {
            Plan::new().with(|plan| {
                plan.metrics.planning_ms = Some(planning_ms);
                plan.metrics.wall_ms = wall_ms;
            })
        };
        let found = found([plan(1_000.0, 999.0)]);
        assert_eq!(found[0].kind, FindingKind::Planning);
        assert_eq!(found[0].summary, "Node orders planned a query for 1.00 s, and executed it in 999 ms.");
        check_quiet(plan(1_000.0, 1_000.0));
        check_quiet(plan(999.0, 500.0));
        check_quiet(plan(249.0, 1.0));
        check_quiet(plan(1_000.0, 1.0).operator(None, CHANGE_OF_TABLE, 1));
    }
}
