//! What a run nearly had among its findings: a number on the edge of its threshold is on either side of it by chance, and what is found
//! of it would come and go between runs in which nothing changed.

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::PlanBundle;
use serde_json::Value;

use crate::{
    findings::{Finding, PlanFindings, findings},
    report::Report,
};

/// How many times as far a number must be from its threshold in the other run for a finding to have come or gone.
const MARGIN: f64 = 1.5;
/// Findings of a kind that are looked at: which ones are listed depends on chance as well.
const MAX_PER_KIND: u64 = 1_000;

/// Thresholds from which on something is found.
const FROM: [&str; 33] = [
    "min_share",
    "min_ms",
    "skew_rows",
    "skew_score",
    "partitions_per_core",
    "cpu_run_ms",
    "many_files",
    "huge_bytes",
    "scan_rows",
    "repeated_share",
    "recomputed_share",
    "explosion",
    "explosion_rows",
    "cross_pairs",
    "build_ratio",
    "build_rows",
    "planning_ms",
    "planning_share",
    "writing",
    "output_files",
    "task_skew",
    "straggler",
    "shuffle_bytes",
    "waiting_share",
    "setup_share",
    "waiting_ms",
    "pause_intervals",
    "pause_seconds",
    "own_share",
    "own_ms",
    "wrong_estimate",
    "estimated_rows",
    "statistics_rows",
];
/// Thresholds below which something is found.
const BELOW: [&str; 5] = ["rows_per_partition", "cpu_used", "small_file_bytes", "kept", "idle_worker"];

/// Thresholds that are parts of the time of the run or of a query. What is beside a cause changes that part, and the cause is as it was.
const SHARES: [&str; 8] = [
    "min_share",
    "repeated_share",
    "recomputed_share",
    "planning_share",
    "writing",
    "waiting_share",
    "setup_share",
    "own_share",
];

/// The findings that a run nearly has, as its plans are read.
#[derive(Debug)]
pub(super) struct NearFindings {
    /// As near to a finding as chance may bring it.
    on_edge: (FindingThresholds, PlanFindings),
    /// The cause of one, whatever else took its time.
    causes: (FindingThresholds, PlanFindings),
}

/// What a run has or nearly has, besides the findings of its report.
#[derive(Debug, Clone)]
pub(crate) struct Near {
    /// What it has on the edge of thresholds.
    on_edge: Vec<Finding>,
    /// What it has at all, with what is at stake.
    causes: Vec<Finding>,
}

impl Near {
    /// Whether there is as good as the same as a finding of another run: one that `is_same`, on the edge, or with about as much at stake.
    pub(super) fn has(&self, other: &Finding, is_same: impl Fn(&Finding) -> bool) -> bool {
        let is_as_much = |cause: &Finding| {
            let at_stake = cause.at_stake_ms.zip(other.at_stake_ms);
            at_stake.is_some_and(|(own_ms, other_ms)| own_ms * MARGIN >= other_ms)
        };
        self.on_edge.iter().any(&is_same)
            || self.causes.iter().any(|cause| is_as_much(cause) && is_same(cause))
    }
}

impl NearFindings {
    pub(super) fn new(thresholds: &FindingThresholds) -> Self {
        let without_shares = changed(thresholds, &[(&FROM, 1.0 / MARGIN), (&BELOW, MARGIN), (&SHARES, 0.0)]);
        let judged = |thresholds: FindingThresholds| (thresholds.clone(), PlanFindings::new(thresholds));
        Self { on_edge: judged(relaxed(thresholds)), causes: judged(without_shares) }
    }

    pub(super) fn add(&mut self, file: &str, plan: &PlanBundle) {
        for (_, of_plans) in [&mut self.on_edge, &mut self.causes] {
            of_plans.add(file, plan);
        }
    }

    pub(super) fn of(self, report: &Report) -> Near {
        let found = |(thresholds, of_plans)| findings(report, of_plans, &thresholds);
        Near { on_edge: found(self.on_edge), causes: found(self.causes) }
    }
}

fn relaxed(thresholds: &FindingThresholds) -> FindingThresholds {
    changed(thresholds, &[(&FROM, 1.0 / MARGIN), (&BELOW, MARGIN)])
}

fn changed(thresholds: &FindingThresholds, changes: &[(&[&str], f64)]) -> FindingThresholds {
    // By their names, so that a test sees that each is thought of.
    let mut fields = serde_json::to_value(thresholds).unwrap_or_default();
    let scale = |field: &mut Value, by: f64| {
        *field = match field.as_u64() {
            // Of whole numbers the next one that is easier to reach.
            Some(count) if by < 1.0 => ((count as f64 * by).floor() as u64).into(),
            Some(count) => ((count as f64 * by).ceil() as u64).into(),
            None => (field.as_f64().unwrap_or(0.0) * by).into(),
        };
    };
    for (names, by) in changes {
        names.iter().filter_map(|name| fields.get_mut(*name).map(|field| scale(field, *by))).count();
    }
    fields["max_per_kind"] = MAX_PER_KIND.into();
    serde_json::from_value(fields).unwrap_or_else(|_| thresholds.clone())
}

#[cfg(test)]
mod tests {
    use daglight_finding_thresholds::FINDING_THRESHOLDS;

    use super::*;

    /// Those of comparisons, of levels, and of counts that chance does not change.
    const AS_THEY_ARE: [&str; 14] = [
        "warning_share",
        "max_per_kind",
        "repeated_scans",
        "recomputed_queries",
        "cross_side_rows",
        "drift",
        "missing_drift",
        "distinct_drift",
        "lost_share",
        "lost_rows",
        "rows_drift",
        "drift_rows",
        "compared_share",
        "compared_ms",
    ];

    #[test]
    fn every_threshold_is_relaxed_or_stays_as_it_is() {
        let names = FINDING_THRESHOLDS.iter().map(|declared| declared.key.trim_start_matches("findings."));
        let mut declared: Vec<&str> = names.collect();
        let mut known: Vec<&str> = [&FROM[..], &BELOW, &AS_THEY_ARE].concat();
        declared.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, declared);
    }

    #[test]
    fn thresholds_become_easier_to_reach() {
        let thresholds = FindingThresholds::default();
        let relaxed = relaxed(&thresholds);
        assert!((relaxed.skew_score - 0.4).abs() < 1e-9, "{}", relaxed.skew_score);
        assert_eq!((relaxed.partitions_per_core, relaxed.rows_per_partition), (2, 1_500));
        assert!((relaxed.cpu_used - 0.45).abs() < 1e-9, "{}", relaxed.cpu_used);
        assert_eq!((relaxed.lost_rows, relaxed.max_per_kind), (thresholds.lost_rows, 1_000));
    }
}
