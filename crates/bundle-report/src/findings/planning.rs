//! Queries that were planned for longer than they were executed.

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, plan_view::PlanView};
use crate::display;

/// The operator with the number of rows changed by an UPDATE or a DELETE.
const CHANGE_OF_TABLE: &str = "DmlResultExec";

pub(crate) fn of_plan(plan: &PlanView<'_>, thresholds: &FindingThresholds) -> Option<Finding> {
    let metrics = &plan.bundle.metrics;
    // DataFusion changes an in-memory table while it plans the statement: that work is not planning.
    if metrics.operators.first().is_some_and(|operator| operator.name == CHANGE_OF_TABLE) {
        return None;
    }
    let planning_ms =
        plan.bundle.planning_ms().filter(|ms| *ms >= thresholds.planning_ms && *ms > metrics.wall_ms)?;
    let took = display::duration(planning_ms);
    let planning = plan.bundle.planning.as_ref();
    let summary = match planning.and_then(|planning| planning.open_part.as_deref()) {
        Some(part) => {
            let rule = planning.and_then(|planning| planning.open_rule.as_deref());
            let at = rule.map_or_else(|| part.to_owned(), |rule| format!("the rule {rule} of its {part}"));
            format!("{} was still planning a query after {took}, in {at}.", plan.place_as_subject())
        }
        None => format!(
            "{} planned a query for {took}, and executed it in {}{}.",
            plan.place_as_subject(),
            display::duration(metrics.wall_ms),
            longest_rule(plan, planning_ms)
        ),
    };
    let finding = Finding::of_plan(FindingKind::Planning, plan, None, summary);
    let finding = finding.milliseconds("planning", planning_ms).milliseconds("executing", metrics.wall_ms);
    Some(finding.count("operators", metrics.operators.len() as u64).at_stake(planning_ms))
}

/// The rule that took more than half of it, as an addition to a sentence.
fn longest_rule(plan: &PlanView<'_>, planning_ms: f64) -> String {
    let rules = plan.bundle.planning.iter().flat_map(|planning| &planning.rules);
    let longest = rules.max_by(|a, b| a.ms.total_cmp(&b.ms)).filter(|rule| rule.ms * 2.0 >= planning_ms);
    longest.map_or_else(String::new, |rule| {
        format!("; the rule {} of its {} took {}", rule.name, rule.part, display::duration(rule.ms))
    })
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::{PlanningRecord, RuleRecord};

    use super::*;
    use crate::findings::planted::{Plan, check_quiet, found};

    fn rule(name: &str, ms: f64) -> RuleRecord {
        RuleRecord { name: name.into(), part: "optimization".into(), ms, ..RuleRecord::default() }
    }

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
        let with = |of: fn(&mut PlanningRecord)| {
            let with = plan(1_000.0, 10.0).with(|plan| of(plan.planning.get_or_insert_default()));
            super::super::planted::found([with])[0].summary.clone()
        };
        assert_eq!(
            with(|planning| planning.rules =
                vec![rule("push_down_filter", 300.0), rule("eliminate_join", 600.0)]),
            "Node orders planned a query for 1.00 s, and executed it in 10 ms; the rule eliminate_join of its \
             optimization took 600 ms."
        );
        for (analysis_ms, after) in [(0.0, "1.00 s"), (9_481.0, "9.48 s")] {
            let open = plan(1_000.0, 0.0).with(|plan| {
                let planning = plan.planning.get_or_insert_default();
                planning.analysis_ms = analysis_ms;
                planning.open_part = Some("analysis".into());
                planning.open_rule = Some("type_coercion".into());
            });
            let found = super::super::planted::found([open]);
            let expected = format!(
                "Node orders was still planning a query after {after}, in the rule type_coercion of its analysis."
            );
            assert_eq!(found[0].summary, expected);
        }
        check_quiet(plan(1_000.0, 1_000.0));
        check_quiet(plan(999.0, 500.0));
        check_quiet(plan(249.0, 1.0));
        check_quiet(plan(1_000.0, 1.0).operator(None, CHANGE_OF_TABLE, 1));
    }
}
