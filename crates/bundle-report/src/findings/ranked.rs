//! All findings of a run, the most important first.

use daglight_finding_thresholds::FindingThresholds;

use super::{
    Finding, checks, collected::PlanFindings, memory, moved, parallelism, schedule, stalls, telemetry, writes,
};
use crate::{level::Level, report::Report};

/// All findings of a run, the most important first: by level, then by the time at stake. `report` has everything else that
/// it says.
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
        b.level.cmp(&a.level).then_with(|| stake(b).total_cmp(&stake(a))).then_with(|| a.kind.cmp(&b.kind))
    });
    findings
}
