//! What several queries did again: scans of the same data in the same way, which a table would have done once.

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
};

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, plan_view::PlanView};
use crate::{display, level::Level, report::Report};

/// Scans that are distinguished; those of a run with more are not looked at.
const MAX_SCANS: usize = 10_000;

/// Every scan by its table and what it reads of it.
#[derive(Debug, Default)]
pub(crate) struct RepeatedScans(HashMap<u64, Scans>);

#[derive(Debug)]
struct Scans {
    table: String,
    operator: String,
    count: u64,
    rows: u64,
    bytes: u64,
    sum_ms: f64,
    longest_ms: f64,
    nodes: Vec<String>,
}

impl RepeatedScans {
    pub(crate) fn add(&mut self, plan: &PlanView<'_>) {
        for (position, operator) in plan.operators().filter(|(_, operator)| operator.is_scan) {
            // Without both of them it is not known whether the same is read.
            let (Some(table), Some(detail)) = (&operator.table, &operator.detail) else { continue };
            let mut hasher = DefaultHasher::new();
            (table, detail).hash(&mut hasher);
            let key = hasher.finish();
            if self.0.len() >= MAX_SCANS && !self.0.contains_key(&key) {
                continue;
            }
            let time_ms = plan.time_ms(position);
            let scans = self.0.entry(key).or_insert_with(|| Scans {
                table: table.clone(),
                operator: plan.name(position),
                count: 0,
                rows: 0,
                bytes: 0,
                sum_ms: 0.0,
                longest_ms: 0.0,
                nodes: Vec::new(),
            });
            scans.count += 1;
            scans.rows = scans.rows.saturating_add(operator.output_rows.unwrap_or(0));
            scans.bytes = scans.bytes.saturating_add(plan.bytes_read(position).unwrap_or(0));
            scans.sum_ms += time_ms;
            scans.longest_ms = scans.longest_ms.max(time_ms);
            if let Some(node) = &plan.bundle.node
                && scans.nodes.len() < 3
                && !scans.nodes.contains(node)
            {
                scans.nodes.push(node.clone());
            }
        }
    }

    /// The findings, but of the tables of which more is known.
    pub(crate) fn findings(
        self,
        report: &Report,
        thresholds: &FindingThresholds,
        known: &HashSet<String>,
    ) -> Vec<Finding> {
        let run_ms = report.duration_ms.unwrap_or(0.0);
        let again_ms = |scans: &Scans| scans.sum_ms - scans.longest_ms;
        let matters = |scans: &Scans| {
            !known.contains(&scans.table)
                && scans.count >= thresholds.repeated_scans
                && again_ms(scans) >= thresholds.min_ms
                && again_ms(scans) >= thresholds.repeated_share * run_ms
        };
        let mut repeated: Vec<Scans> = self.0.into_values().filter(matters).collect();
        repeated.sort_by(|a, b| again_ms(b).total_cmp(&again_ms(a)).then_with(|| a.table.cmp(&b.table)));
        let found = repeated.iter().map(|scans| finding(scans, again_ms(scans))).collect();
        Finding::listed(found, thresholds.max_per_kind, 0)
    }
}

fn finding(scans: &Scans, again_ms: f64) -> Finding {
    let by = if scans.nodes.is_empty() { String::new() } else { format!(", by {}", scans.nodes.join(", ")) };
    let summary = format!(
        "{} was scanned {} times in the same way{by}: {} in all.",
        scans.table,
        display::count(scans.count),
        display::duration(scans.sum_ms)
    );
    let finding = Finding::new(FindingKind::RepeatedScan, Level::Note, summary);
    let finding = finding.node(scans.nodes.first().map(String::as_str)).count("scans", scans.count);
    let finding = finding.count("rows read", scans.rows).bytes("bytes read", scans.bytes).at_stake(again_ms);
    Finding { operator: Some(scans.operator.clone()), ..finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::planted::{Plan, found};

    #[test]
    fn what_is_scanned_again_in_the_same_way_is_found() {
        let scan = |ms, detail: &str| {
            let detail = detail.to_owned();
            let plan = Plan::new().scan(None, "events", 10).compute(ms).partitions(2);
            plan.with(|plan| plan.metrics.operators[0].detail = Some(detail))
        };
        let times = |count, ms| found((0..count).map(|_| scan(ms, "projection=[a]")));
        // Of three scans of 1 s, in a run of 10 s, two were not needed.
        let repeated = times(3, 2_000.0);
        assert_eq!(repeated.len(), 1, "{repeated:#?}");
        assert_eq!((repeated[0].kind, repeated[0].at_stake_ms), (FindingKind::RepeatedScan, Some(2_000.0)));
        assert_eq!(
            repeated[0].summary,
            "events was scanned 3 times in the same way, by orders: 3.00 s in all."
        );
        assert_eq!(times(2, 4_000.0), []);
        assert_eq!(times(3, 1_999.0), []);
        assert_eq!(found((0..9).map(|number| scan(2_000.0, &format!("projection=[{number}]")))), []);
    }
}
