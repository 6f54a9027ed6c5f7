//! The rules of queries over all plans of a run, in bounded memory.

use std::collections::BTreeMap;

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::PlanBundle;

use super::{
    Finding, FindingKind, cluster, estimates, joins, memory, parallelism, plan_view::PlanView, planning,
    recomputed::RecomputedParts, repeated::RepeatedScans, scans, skew, writes,
};
use crate::{largest::Largest, report::Report};

/// The maximum number of candidates kept for each kind: more than are listed, because the choice is made at the end.
const CANDIDATES: usize = 20;

/// The results of the rules for the plans so far.
#[derive(Debug)]
pub(crate) struct PlanFindings {
    thresholds: FindingThresholds,
    /// By kind: the candidates with most at stake, and the amount at stake in each of the others that matter.
    candidates: BTreeMap<FindingKind, Candidates>,
    repeated: RepeatedScans,
    recomputed: RecomputedParts,
}

#[derive(Debug)]
struct Candidates {
    largest: Largest<Finding>,
    count: u64,
}

impl PlanFindings {
    pub(crate) fn new(thresholds: FindingThresholds) -> Self {
        Self {
            thresholds,
            candidates: BTreeMap::new(),
            repeated: RepeatedScans::default(),
            recomputed: RecomputedParts::default(),
        }
    }

    /// Applies every rule to a plan; `file` is its path in the bundle.
    pub(crate) fn add(&mut self, file: &str, plan: &PlanBundle) {
        let view = PlanView::new(plan, file);
        let mut found = Vec::new();
        for rule in [
            estimates::of_plan,
            joins::of_plan,
            scans::of_plan,
            memory::of_plan,
            parallelism::of_plan,
            skew::of_plan,
            writes::of_plan,
            cluster::of_plan,
        ] {
            rule(&view, &self.thresholds, &mut found);
        }
        found.extend(planning::of_plan(&view, &self.thresholds));
        // If a join explodes or compares everything, all its rows are where its input is: that is the cause.
        let is_cause =
            |cause: &Finding| matches!(cause.kind, FindingKind::CrossJoin | FindingKind::ExplodingJoin);
        let joins: Vec<Option<String>> = found
            .iter()
            .filter(|finding| is_cause(finding))
            .map(|finding| finding.operator.clone())
            .collect();
        found.retain(|finding| {
            finding.kind != FindingKind::PartitionSkew || !joins.contains(&finding.operator)
        });
        for finding in found {
            let candidates = self
                .candidates
                .entry(finding.kind)
                .or_insert_with(|| Candidates { largest: Largest::new(CANDIDATES), count: 0 });
            candidates.count += 1;
            candidates.largest.offer((finding.at_stake_ms.unwrap_or(0.0) * 1e3) as u64, || finding);
        }
        self.repeated.add(&view);
        self.recomputed.add(&view);
    }

    /// The findings that matter for the run.
    pub(crate) fn into_findings(self, report: &Report, thresholds: &FindingThresholds) -> Vec<Finding> {
        let matters = |finding: &Finding| {
            let at_stake_ms = finding.at_stake_ms.unwrap_or(0.0);
            let run_ms = report.duration_ms.unwrap_or(0.0);
            // Spill is a question of memory, which may run out one day, and not only of time.
            let min_share = match finding.kind {
                FindingKind::Planning => thresholds.planning_share,
                _ => thresholds.min_share,
            };
            finding.kind == FindingKind::Spill
                || (at_stake_ms >= thresholds.min_ms && at_stake_ms >= min_share * run_ms)
        };
        let cores = report.cores();
        let mut findings = Vec::new();
        for (kind, candidates) in self.candidates {
            let fits = |finding: &Finding| match kind {
                // One partition is as much as one core, or one thread, can use.
                FindingKind::SingleThreaded | FindingKind::FewHugeFiles => {
                    cores.is_none_or(|cores| cores > 1) && !report.is_on_one_thread()
                }
                FindingKind::TooManyPartitions => parallelism::are_too_many(finding, cores, thresholds),
                _ => true,
            };
            let listed: Vec<Finding> =
                candidates.largest.into_items().filter(|finding| matters(finding) && fits(finding)).collect();
            // Candidates that were not kept have less at stake than those that were.
            let beyond = if listed.len() == CANDIDATES { candidates.count - CANDIDATES as u64 } else { 0 };
            findings.extend(Finding::listed(listed, thresholds.max_per_kind, beyond));
        }
        let (recomputed, tables) = self.recomputed.findings(report, thresholds);
        findings.extend(recomputed);
        // Recomputed parts include repeated scans: only the former are reported.
        findings.extend(self.repeated.findings(report, thresholds, &tables));
        findings
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::planted::{Plan, found};

    #[test]
    fn of_many_of_a_kind_the_largest_are_listed_and_the_others_counted() {
        let plans = (0..50).map(|number| {
            let explosion = Plan::new().operator(None, "HashJoinExec", 20_000_000).partitions(2);
            let detail = format!("HashJoinExec: a = {number}");
            explosion
                .compute(1_000.0 + 2.0 * number as f64)
                .with(|plan| plan.metrics.operators[0].detail = Some(detail))
                .scan(Some(0), "a", 1_000)
                .scan(Some(0), "b", 1_000)
        });
        let found = found(plans);
        let stakes: Vec<f64> = found.iter().filter_map(|finding| finding.at_stake_ms).collect();
        assert_eq!(stakes, [549.0, 548.0, 547.0]);
        assert_eq!(found.iter().map(|finding| finding.more).sum::<u64>(), 47);
    }
}
