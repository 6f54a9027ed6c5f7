//! What changed since the last good run: lost rows, columns, values and plans.

use std::collections::{BTreeSet, HashMap};

use daglight_finding_thresholds::FindingThresholds;
use daglight_run_bundle::{Artifact, NodeRecord, NodeStatus, milliseconds};

use super::{
    Measured, PlanChange,
    drift::drifts,
    last_run::BothRuns,
    outputs::{of_whole_nodes, outputs},
    row_points::{Amount, Place, PlanRows, pairs},
    sources::sources_moved,
};
use crate::report::{ColumnsMoved, NodeReport, RowsLost, RowsMoved, SinceLastRun, by_name};

/// The maximum number of entries of each kind.
const MAX_LISTED: usize = 100;
/// The maximum number of plans listed as trees.
const MAX_PLANS: usize = 50;

/// The changes since the last good run. `nodes` are those of this run, and `duration_ms` is its time.
pub(crate) fn since(
    both: BothRuns,
    nodes: &[NodeReport],
    duration_ms: Option<f64>,
    thresholds: &FindingThresholds,
) -> SinceLastRun {
    let BothRuns { before, of_before, of_run, planned_anew, compared, ran_the_same } = both;
    let manifest = before.manifest;
    // A part of the pipeline is faster than all of it.
    let duration_before = manifest
        .ended_at
        .filter(|_| ran_the_same)
        .map(|ended| milliseconds::between(manifest.started_at, ended));
    let before: HashMap<&str, &NodeRecord> =
        manifest.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let now = by_name(nodes);

    let statuses =
        |node: &str| [before.get(node).map(|node| node.status), now.get(node).map(|node| node.status)];
    let of_old: Vec<&Artifact> = of_whole_nodes(&of_before.artifacts, statuses).collect();
    let of_new: Vec<&Artifact> = of_whole_nodes(&of_run.artifacts, statuses).collect();
    let with_output: BTreeSet<&str> =
        of_old.iter().chain(&of_new).copied().filter_map(|artifact| artifact.node.as_deref()).collect();
    let mut columns = columns_moved(&of_before.rows, &of_run.rows);
    columns.retain(|moved| !with_output.contains(&*moved.node));
    let mut outputs = outputs(&[of_old], &of_new);
    outputs.retain(|output| {
        output.was_there != output.is_there
            || !output.columns_gone.is_empty()
            || !output.columns_new.is_empty()
    });
    let changes = of_before.shapes.changes(&of_run.shapes);
    let with_tree: BTreeSet<&String> = changes.iter().map(|(node, _)| node).collect();
    let other_plans = planned_anew.iter().filter(|node| !with_tree.contains(node)).cloned();
    let mut since = SinceLastRun {
        run_id: manifest.identity.run_id.to_string(),
        started_at: manifest.started_at,
        duration_ms: duration_before.zip(duration_ms).and_then(|(before, now)| Measured::new(&[before], now)),
        lost: lost(&of_before.rows, &of_run.rows, thresholds),
        rows: rows_moved(|node| before.get(node).map(|node| (node.status, node.rows)), nodes),
        sources: sources_moved(&of_before.rows, &of_run.rows),
        outputs,
        columns,
        drifts: drifts(&of_before.summaries, &of_run.summaries, &HashMap::new(), thresholds),
        other_plans: other_plans.collect(),
        plan_changes: changes.into_iter().map(|(node, tree)| PlanChange { node: Some(node), tree }).collect(),
        left_out: planned_anew.difference(&compared).count() as u64,
    };
    since.left_out += cut(&mut since.lost, MAX_LISTED)
        + cut(&mut since.rows, MAX_LISTED)
        + cut(&mut since.sources, MAX_LISTED)
        + cut(&mut since.outputs, MAX_LISTED)
        + cut(&mut since.columns, MAX_LISTED)
        + cut(&mut since.drifts, MAX_LISTED)
        + cut(&mut since.plan_changes, MAX_PLANS);
    since
}

fn cut<T>(list: &mut Vec<T>, limit: usize) -> u64 {
    let more = list.len().saturating_sub(limit);
    list.truncate(limit);
    more as u64
}

/// The operators that let a smaller share of their rows pass than before, largest loss first.
pub(super) fn lost(before: &[PlanRows], after: &[PlanRows], thresholds: &FindingThresholds) -> Vec<RowsLost> {
    let mut lost: Vec<RowsLost> = Vec::new();
    for (plan, old) in pairs(before, after) {
        for (key, place) in &plan.places {
            let Some(was) = old.places.get(key) else { continue };
            let Some(rows_expected) =
                expected(was, place).filter(|expected| is_lost(*expected, place, thresholds))
            else {
                continue;
            };
            let rows_in: Option<Vec<u64>> = place
                .inputs
                .iter()
                .map(|input| match input {
                    Amount::Rows(rows) => Some(*rows),
                    Amount::Bytes(_) => None,
                })
                .collect();
            lost.push(RowsLost {
                node: plan.node.clone(),
                query_id: plan.query_id.clone(),
                plan_file: plan.file.clone(),
                operator: place.operator.clone(),
                rows_in,
                rows_out: place.rows_out,
                rows_out_before: was.rows_out,
                rows_expected: rows_expected as u64,
            });
        }
    }
    let lost_rows = |lost: &RowsLost| lost.rows_expected.saturating_sub(lost.rows_out);
    lost.sort_by(|a, b| {
        lost_rows(b).cmp(&lost_rows(a)).then_with(|| (&a.node, &a.operator).cmp(&(&b.node, &b.operator)))
    });
    lost
}

/// The expected number of rows if the same share had been kept as before.
fn expected(before: &Place, now: &Place) -> Option<f64> {
    let ratios = now.inputs.iter().zip(&before.inputs).map(|(now, before)| now.ratio_to(*before));
    let ratios: Vec<f64> = ratios.collect::<Option<_>>()?;
    let larger = before.inputs.iter().map(|input| input.number()).max().unwrap_or(0);
    // A join that returns more rows than either side has returns pairs; otherwise each row comes from one side.
    let ratio = match before.rows_out > larger && now.is_join {
        true => ratios.into_iter().product::<f64>(),
        false => ratios.into_iter().fold(f64::INFINITY, f64::min),
    };
    Some(before.rows_out as f64 * ratio).filter(|expected| expected.is_finite())
}

fn is_lost(expected: f64, now: &Place, thresholds: &FindingThresholds) -> bool {
    let lost = expected - now.rows_out as f64;
    // A join without any result uses the wrong key, however few rows it returned before.
    let is_empty_join = now.is_join && now.rows_out == 0 && expected >= 1.0;
    (now.rows_out as f64) < thresholds.lost_share * expected
        && (lost >= thresholds.lost_rows as f64 || is_empty_join)
}

/// The relative change from which a node is listed. Thresholds decide when it is a finding.
const LISTED_SHARE: f64 = 0.02;

/// The nodes that succeeded in both runs and returned more rows, or fewer.
pub(super) fn rows_moved(
    before: impl Fn(&str) -> Option<(NodeStatus, Option<u64>)>,
    nodes: &[NodeReport],
) -> Vec<RowsMoved> {
    let moved = nodes.iter().filter(|node| node.status == NodeStatus::Success).filter_map(|node| {
        let (_, rows) = before(&node.name).filter(|(status, _)| *status == NodeStatus::Success)?;
        let moved = RowsMoved { node: node.name.clone(), before: rows?, after: node.rows_out? };
        moved.is_listed().then_some(moved)
    });
    moved.collect()
}

impl RowsMoved {
    fn is_listed(&self) -> bool {
        self.before.abs_diff(self.after) as f64 > LISTED_SHARE * self.before as f64
    }

    /// Whether it changed enough to be a finding.
    pub(crate) fn is_drift(&self, thresholds: &FindingThresholds) -> bool {
        let moved = self.before.abs_diff(self.after);
        let is_empty = self.after == 0 && self.before > 0;
        is_empty
            || moved >= thresholds.drift_rows && moved as f64 > thresholds.rows_drift * self.before as f64
    }
}

/// The queries whose columns have changed.
pub(super) fn columns_moved(before: &[PlanRows], after: &[PlanRows]) -> Vec<ColumnsMoved> {
    let moved = pairs(before, after).filter(|(plan, old)| plan.columns != old.columns);
    let mut moved: Vec<ColumnsMoved> = moved
        .map(|(plan, old)| ColumnsMoved {
            node: plan.node.clone(),
            gone: old.columns.difference(&plan.columns).cloned().collect(),
            new: plan.columns.difference(&old.columns).cloned().collect(),
        })
        .collect();
    moved.sort_by(|a, b| a.node.cmp(&b.node));
    moved
}
