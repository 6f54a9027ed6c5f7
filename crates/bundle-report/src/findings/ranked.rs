//! All findings of a run, the most important first.

use daglight_finding_thresholds::FindingThresholds;

use super::{
    Finding, FindingKind, checks, collected::PlanFindings, memory, moved, parallelism, schedule, stalls,
    telemetry, writes,
};
use crate::{level::Level, report::Report};

/// All findings of a run, most important first: by level, then by the time at stake, with the cost of Daglight last in its level.
/// `report` must be complete except for the findings.
pub(crate) fn findings(
    report: &Report,
    of_plans: PlanFindings,
    thresholds: &FindingThresholds,
) -> Vec<Finding> {
    let mut findings = of_plans.into_findings(report, thresholds);
    findings.extend(memory::of_run(report, &findings, thresholds));
    findings.extend(parallelism::of_run(report, thresholds));
    findings.extend(writes::of_run(report, thresholds));
    findings.extend(checks::of_run(report, thresholds));
    findings.extend(schedule::of_run(report, thresholds));
    findings.extend(moved::of_run(report, thresholds));
    findings.extend(stalls::of_run(report, thresholds));
    findings.extend(telemetry::of_run(report, thresholds));
    for finding in &mut findings {
        finding.share = report
            .duration_ms
            .filter(|run_ms| *run_ms > 0.0)
            .and_then(|run_ms| finding.at_stake_ms.map(|at_stake_ms| (at_stake_ms / run_ms).clamp(0.0, 1.0)));
        if finding.level == Level::Note
            && finding.kind.warns_by_share()
            && finding.share.is_some_and(|share| share >= thresholds.warning_share)
        {
            finding.level = Level::Warning;
        }
    }
    findings.sort_by(|a, b| {
        let stake = |finding: &Finding| finding.at_stake_ms.unwrap_or(0.0);
        // Possible savings in the run itself come first: the cost of observing it is unavoidable.
        let is_own = |finding: &Finding| finding.kind == FindingKind::TelemetryCost;
        b.level
            .cmp(&a.level)
            .then_with(|| is_own(a).cmp(&is_own(b)))
            .then_with(|| stake(b).total_cmp(&stake(a)))
            .then_with(|| a.kind.cmp(&b.kind))
    });
    findings
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::OwnTime;

    use crate::findings::{
        FindingKind,
        planted::{Plan, found_in, report},
    };

    #[test]
    fn what_daglight_costs_stands_behind_what_the_run_could_save() {
        let mut report = report();
        let mut own = OwnTime::default();
        own.nodes_ms = 9_000.0;
        report.own_time = Some(own);
        let sort = Plan::new().operator(None, "SortExec", 100).compute(2_000.0);
        let found = found_in(&report, [sort.metric("spilled_bytes", 1_500_000)]);
        let kinds: Vec<FindingKind> = found.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::Spill, FindingKind::SingleThreaded, FindingKind::TelemetryCost]);
        assert_eq!(found[0].level, found[2].level);
        assert!(found[0].at_stake_ms < found[2].at_stake_ms, "{found:#?}");
    }
}
