//! The plans of the slowest queries, in bounded memory.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::PlanBundle;

use crate::{
    findings::is_wrong,
    largest::Largest,
    operator_time::OperatorTime,
    report::{PlanOperatorReport, PlanReport, QueryReport},
};

/// The maximum number of plans kept.
const MAX_PLANS: usize = 20;
/// The maximum number of operators of each.
const MAX_OPERATORS: usize = 200;
/// The maximum number of characters of an operator's detail.
const MAX_DETAIL_CHARS: usize = 300;

/// The plans of the slowest queries so far.
#[derive(Debug)]
pub(crate) struct SlowestPlans(Largest<PlanReport>);

impl Default for SlowestPlans {
    fn default() -> Self {
        Self(Largest::new(MAX_PLANS))
    }
}

impl SlowestPlans {
    /// `file` is relative to the bundle's folder.
    pub(crate) fn add(&mut self, file: &str, plan: &PlanBundle, thresholds: &FindingThresholds) {
        if !plan.metrics.operators.is_empty() {
            self.0
                .offer((plan.metrics.wall_ms.max(0.0) * 1e6) as u64, || plan_report(file, plan, thresholds));
        }
    }

    /// The plans, slowest first. A plan that ran once gets the time of its query: the span is longer than the time of its operators
    /// by the time until they started, and readers would look for the difference.
    pub(crate) fn into_plans(self, queries: &[QueryReport]) -> Vec<PlanReport> {
        let took = |plan: &PlanReport| {
            let of_plan = queries.iter().find(|query| query.plan_file.as_deref() == Some(&*plan.plan_file));
            of_plan
                .filter(|query| plan.executions <= 1 && query.query_id == plan.query_id)
                .map(|query| query.duration_ms)
        };
        let plans = self.0.into_items();
        plans
            .map(|plan| PlanReport { duration_ms: took(&plan).unwrap_or(plan.duration_ms), ..plan })
            .collect()
    }
}

fn plan_report(file: &str, plan: &PlanBundle, thresholds: &FindingThresholds) -> PlanReport {
    let operators = &plan.metrics.operators;
    let shown = operators.iter().zip(plan.metrics.depths()).take(MAX_OPERATORS);
    PlanReport {
        query_id: plan.query_id.clone(),
        node: plan.node.clone(),
        plan_hash: plan.plan_hash.clone(),
        plan_file: file.to_owned(),
        executions: plan.executions.as_ref().map_or(1, |all| all.started),
        duration_ms: plan.metrics.wall_ms,
        operators: shown
            .map(|(operator, depth)| (operator, depth, OperatorTime::of(plan, operator)))
            .map(|(operator, depth, time)| PlanOperatorReport {
                depth,
                name: operator.name.clone(),
                table: operator.table.clone(),
                detail: operator
                    .detail
                    .iter()
                    .flat_map(|detail| detail.chars())
                    .take(MAX_DETAIL_CHARS)
                    .collect(),
                estimated_rows: operator.estimated_rows,
                estimate_is_exact: operator.estimate_is_exact,
                estimate_is_wrong: is_wrong(operator, thresholds),
                rows: operator.output_rows,
                compute_ms: time.map(|time| time.total_ms),
                partitions: operator.partitions,
                longest_partition_ms: time.and_then(|time| time.longest_ms),
                is_at_least: time.is_some_and(|time| time.is_at_least),
                memory_bytes: operator.memory_bytes,
                spilled_bytes: operator.spilled_bytes,
            })
            .collect(),
        left_out: operators.len().saturating_sub(MAX_OPERATORS) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::Plan;

    #[test]
    fn the_slowest_plans_are_trees() {
        let mut slowest = SlowestPlans::default();
        for number in 0..30 {
            let plan =
                Plan::new().operator(None, "HashJoinExec", 5).scan(Some(0), "a", 3).scan(Some(0), "b", 4);
            slowest.add(
                "plans/a.json",
                &plan.with(|plan| plan.metrics.wall_ms = f64::from(number)).bundle(),
                &FindingThresholds::default(),
            );
        }
        slowest.add("plans/empty.json", &PlanBundle::default(), &FindingThresholds::default());
        let plans = slowest.into_plans(&[]);
        assert_eq!((plans.len(), plans[0].duration_ms), (20, 29.0));
        let shown: Vec<_> =
            plans[0].operators.iter().map(|op| (op.depth, op.shown_name(), op.rows)).collect();
        let scan = |table: &str, rows| (1, format!("DataSourceExec ({table})"), Some(rows));
        assert_eq!(shown, [(0, "HashJoinExec".into(), Some(5)), scan("a", 3), scan("b", 4)]);
    }

    #[test]
    fn a_plan_that_ran_once_took_what_its_query_took() {
        let took = |executions: u64, query_id: &str| {
            let mut slowest = SlowestPlans::default();
            let plan = Plan::new().operator(None, "HashJoinExec", 5).with(|plan| {
                plan.query_id = "4".into();
                plan.metrics.wall_ms = 358.0;
                plan.executions =
                    Some(daglight_run_bundle::PlanExecutions { started: executions, ..Default::default() });
            });
            slowest.add("plans/a.json", &plan.bundle(), &FindingThresholds::default());
            let mut query = crate::planted::report("x").queries.remove(0);
            query.query_id = query_id.to_owned();
            query.plan_file = Some("plans/a.json".into());
            query.duration_ms = 365.0;
            slowest.into_plans(&[query])[0].duration_ms
        };
        assert_eq!(took(1, "4"), 365.0);
        assert_eq!((took(2, "4"), took(1, "5")), (358.0, 358.0));
    }

    #[test]
    fn an_absurd_plan_is_cut() {
        let mut plan = Plan::new();
        for number in 0..10_000_u64 {
            plan = plan.operator(number.checked_sub(1), "FilterExec", 1);
        }
        let mut slowest = SlowestPlans::default();
        slowest.add("plans/deep.json", &plan.bundle(), &FindingThresholds::default());
        let [plan] = &slowest.into_plans(&[])[..] else { panic!() };
        assert_eq!((plan.operators.len(), plan.left_out, plan.operators[199].depth), (200, 9_800, 199));
    }
}
