//! Repeated scans in several queries: of the same data in the same way, which a table would have needed only once.

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
};

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind, again::Again, plan_view::PlanView};
use crate::{display, level::Level, report::Report};

/// The maximum number of distinct scans; in a run with more, the others are ignored.
const MAX_SCANS: usize = 10_000;

/// All scans by table and what they read of it.
#[derive(Debug, Default)]
pub(crate) struct RepeatedScans(HashMap<u64, Scans>);

#[derive(Debug)]
struct Scans {
    table: String,
    operator: String,
    rows: u64,
    bytes: u64,
    again: Again,
}

impl RepeatedScans {
    pub(crate) fn add(&mut self, plan: &PlanView<'_>) {
        for (position, operator) in plan.operators().filter(|(_, operator)| operator.is_scan) {
            // Without both of them it is unknown whether the same data is read.
            let (Some(table), Some(detail)) = (&operator.table, &operator.detail) else { continue };
            let mut hasher = DefaultHasher::new();
            (table, detail).hash(&mut hasher);
            let key = hasher.finish();
            if self.0.len() >= MAX_SCANS && !self.0.contains_key(&key) {
                continue;
            }
            let scans = self.0.entry(key).or_insert_with(|| Scans {
                table: table.clone(),
                operator: plan.name(position),
                rows: 0,
                bytes: 0,
                again: Again::default(),
            });
            scans.rows = scans.rows.saturating_add(operator.output_rows.unwrap_or(0));
            scans.bytes = scans.bytes.saturating_add(plan.bytes_read(position).unwrap_or(0));
            scans.again.add(plan, plan.time_ms(position));
        }
    }

    /// The findings, except for tables with more specific ones.
    pub(crate) fn findings(
        self,
        report: &Report,
        thresholds: &FindingThresholds,
        known: &HashSet<String>,
    ) -> Vec<Finding> {
        let again_ms = |scans: &Scans| scans.again.spare_ms();
        let matters = |scans: &Scans| {
            !known.contains(&scans.table)
                && scans.again.count >= thresholds.repeated_scans
                && scans.again.matters(report, thresholds, thresholds.repeated_share)
        };
        let mut repeated: Vec<Scans> = self.0.into_values().filter(matters).collect();
        repeated.sort_by(|a, b| again_ms(b).total_cmp(&again_ms(a)).then_with(|| a.table.cmp(&b.table)));
        let found = repeated.iter().map(finding).collect();
        Finding::listed(found, thresholds.max_per_kind, 0)
    }
}

fn finding(scans: &Scans) -> Finding {
    let again = &scans.again;
    let summary = format!(
        "{} was scanned {} times in the same way{}: {} in all.",
        scans.table,
        display::count(again.count),
        again.in_nodes("by"),
        display::duration(again.sum_ms)
    );
    let finding = Finding::new(FindingKind::RepeatedScan, Level::Note, summary);
    let finding = finding.node(again.first_node()).count("scans", again.count);
    let finding = finding.count("rows read", scans.rows).bytes("bytes read", scans.bytes);
    let finding = finding.at_stake(again.spare_ms());
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
