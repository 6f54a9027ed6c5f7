//! Lack of memory: spill, and queries that failed because of it.

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, plan_view::PlanView};
use crate::{display, level::Level, report::Report};

/// The beginning of DataFusion's errors if a query may not use more memory.
const EXHAUSTED: &str = "Resources exhausted";

pub(crate) fn of_plan(plan: &PlanView<'_>, _thresholds: &FindingThresholds, found: &mut Vec<Finding>) {
    for (position, operator) in plan.operators() {
        let Some(bytes) = operator.metric("spilled_bytes").filter(|bytes| *bytes > 0) else { continue };
        let summary = format!(
            "Memory was short: {} in {} spilled {} to disk.",
            plan.name(position),
            plan.place(),
            display::bytes(bytes)
        );
        let finding = Finding::of_plan(FindingKind::Spill, plan, Some(position), summary);
        let rows = operator.metric("spilled_rows").unwrap_or(0);
        let finding = finding.bytes("bytes spilled", bytes).count("rows spilled", rows);
        let finding = finding.count("spill files", operator.metric("spill_count").unwrap_or(0));
        found.push(finding.at_stake(plan.time_ms(position)));
    }
}

/// Findings that are not in plans: spill of queries without a plan, and nodes that failed.
pub(crate) fn of_run(report: &Report, of_plans: &[Finding], _thresholds: &FindingThresholds) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_said = of_plans.iter().any(|finding| finding.kind == FindingKind::Spill);
    let spilled = report.totals.bytes_spilled;
    if spilled > 0 && !is_said {
        let summary = format!("Memory was short: operators spilled {} to disk.", display::bytes(spilled));
        let finding = Finding::new(FindingKind::Spill, Level::Warning, summary);
        found.push(finding.bytes("bytes spilled", spilled));
    }
    let exhausted = |error: &Option<String>| error.as_ref().is_some_and(|error| error.contains(EXHAUSTED));
    let mut nodes = report.nodes.iter().filter(|node| exhausted(&node.error));
    if let Some(node) = nodes.next() {
        let limit = report.memory_limit();
        let of_limit = limit.map(|limit| format!(": {}", display::memory_limit(limit))).unwrap_or_default();
        let summary = format!(
            "Node {} failed, because the memory that it may use was used up{of_limit}.",
            display::name(&node.name)
        );
        let finding = Finding::new(FindingKind::MemoryPressure, Level::Bad, summary).node(Some(&node.name));
        let peak = report.heartbeat.as_ref().and_then(|heartbeat| heartbeat.peak_resident_bytes);
        let finding = finding.bytes("bytes spilled before", spilled);
        let numbers = [("memory that queries may use", limit), ("peak memory of the process", peak)];
        let numbers = numbers.into_iter().filter_map(|(what, bytes)| Some((what, bytes?)));
        let finding = numbers.fold(finding, |finding, (what, bytes)| finding.bytes(what, bytes));
        found.push(Finding { more: nodes.count() as u64, ..finding });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{Plan, check, check_quiet, found_in, report};

    #[test]
    fn spill_that_took_no_time_is_a_note() {
        let level = |compute_ms| {
            let sort = Plan::new().operator(None, "SortExec", 100).compute(compute_ms);
            found_in(&report(), [sort.metric("spilled_bytes", 1_500_000)])[0].level
        };
        assert_eq!((level(0.0), level(3.0), level(2_000.0)), (Level::Note, Level::Note, Level::Warning));
    }

    #[test]
    fn spill_names_the_operator() {
        let sort = |spilled| {
            Plan::new().operator(None, "SortExec", 100).compute(3.0).metric("spilled_bytes", spilled)
        };
        let parts = ["Memory was short: SortExec in node orders spilled 1.5 MB to disk."];
        check(sort(1_500_000), FindingKind::Spill, "SortExec", &parts);
        check_quiet(sort(0));
    }

    #[test]
    fn spill_without_a_plan_and_a_failure_for_want_of_memory_are_found() {
        let mut report = report();
        assert_eq!(found_in(&report, []), []);
        report.totals.bytes_spilled = 2_000_000;
        report.nodes[0].error = Some("Resources exhausted: Failed to allocate 1 GB for HashJoinInput".into());
        let found = found_in(&report, []);
        let kinds: Vec<_> = found.iter().map(|finding| (finding.kind, finding.level)).collect();
        assert_eq!(kinds, [(FindingKind::MemoryPressure, Level::Bad), (FindingKind::Spill, Level::Warning)]);
        assert_eq!(found[0].node.as_deref(), Some(&*report.nodes[0].name));
        let identity = report.identity.as_mut().unwrap();
        identity.tags.insert("option.memory_limit".into(), "62914560".into());
        let summary = &found_in(&report, [])[0].summary;
        assert!(summary.ends_with("was used up: 62.9 MB, or 60.0 MiB."), "{summary}");
    }
}
