//! Findings: what made a run slow or wasteful, with the evidence and what to do about it.
//!
//! A rule is a pure function. Those of a query look at one plan with its measurements and are asked while the plans are read,
//! so that no more than a few candidates of each kind are in memory; those of a run look at the finished report.
//!
//! ```text
//! kind.rs          every kind with its remedy and page
//! finding.rs       a finding with its evidence
//! plan_view.rs     a plan as the rules look at it
//! collected.rs     the rules of queries, over all plans of a run
//! estimates.rs     what the planner knew of the rows
//! joins.rs scans.rs memory.rs parallelism.rs skew.rs planning.rs writes.rs      the rules of queries
//! repeated.rs      what several queries did again
//! checks.rs schedule.rs stalls.rs telemetry.rs                          the rules of runs
//! moved.rs         what is otherwise than in the last good run
//! ```

mod checks;
mod collected;
mod estimates;
mod finding;
mod joins;
mod kind;
mod memory;
mod moved;
mod parallelism;
mod plan_view;
mod planning;
mod repeated;
mod scans;
mod schedule;
mod skew;
mod stalls;
mod telemetry;
mod writes;

#[cfg(test)]
pub(crate) mod planted;

pub(crate) use collected::PlanFindings;
pub(crate) use daglight_finding_thresholds::FindingThresholds as Thresholds;
pub(crate) use estimates::is_wrong;
pub use finding::{Evidence, Finding, Unit};
pub use kind::{FindingKind, UnknownFinding};
pub(crate) use moved::{Moved, moved_findings};
pub(crate) use plan_view::PlanView;
pub(crate) use stalls::is_long_pause;
pub(crate) use telemetry::items;

use crate::report::{Level, Report};

/// All findings of a run, the most important first: by level, then by the time at stake. `report` has everything else that
/// it says.
pub(crate) fn findings(report: &Report, of_plans: PlanFindings, thresholds: &Thresholds) -> Vec<Finding> {
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
