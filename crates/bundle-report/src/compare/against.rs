//! Findings of a run relative to a baseline that is not its last good run.

use std::collections::BTreeSet;

use super::{
    compared_run::ComparedRun,
    outputs::{of_whole_nodes, outputs},
    since::{columns_moved, lost, rows_moved},
};
use crate::{
    findings::{Finding, Moved, moved_findings},
    report::by_name,
};

/// Findings of a run relative to a baseline: the same that its own report has relative to its last good run.
pub(super) fn findings_against(baseline: &ComparedRun, run: &ComparedRun) -> Vec<Finding> {
    let thresholds = &run.thresholds;
    let (before, nodes) = (by_name(&baseline.report.nodes), &run.report.nodes);
    let now = by_name(nodes);
    let statuses =
        |node: &str| [before.get(node).map(|node| node.status), now.get(node).map(|node| node.status)];
    let [old, new] =
        [baseline, run].map(|run| of_whole_nodes(&run.report.artifacts, statuses).collect::<Vec<_>>());
    let with_output: BTreeSet<&str> =
        old.iter().chain(&new).copied().filter_map(|artifact| artifact.node.as_deref()).collect();
    let mut columns = columns_moved(&baseline.rows, &run.rows);
    columns.retain(|moved| !with_output.contains(&*moved.node));
    let moved = Moved {
        than: "the baseline",
        lost: &lost(&baseline.rows, &run.rows, thresholds),
        rows: &rows_moved(|node| before.get(node).map(|node| (node.status, node.rows_out)), nodes),
        outputs: &outputs(&[old], &new),
        columns: &columns,
    };
    moved_findings(&moved, &run.report, thresholds)
}
