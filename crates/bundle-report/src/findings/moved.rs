//! Differences from the last good run: lost rows, and changed rows or columns.

use std::collections::{BTreeSet, HashMap};

use daglight_finding_thresholds::FindingThresholds;

use super::{Finding, FindingKind};
use crate::{
    compare::OutputComparison,
    display,
    level::Level,
    report::{ColumnsMoved, NodeReport, Report, RowsLost, RowsMoved},
};

/// The maximum number of columns in a summary.
const MAX_NAMED: usize = 5;

/// The differences from another run.
pub(crate) struct Moved<'m> {
    /// The description of that run.
    pub(crate) than: &'static str,
    pub(crate) lost: &'m [RowsLost],
    pub(crate) rows: &'m [RowsMoved],
    pub(crate) outputs: &'m [OutputComparison],
    pub(crate) columns: &'m [ColumnsMoved],
}

/// The differences from the last good run.
pub(crate) fn of_run(report: &Report, thresholds: &FindingThresholds) -> Vec<Finding> {
    let Some(since) = &report.since else { return Vec::new() };
    let moved = Moved {
        than: "the last good run",
        lost: &since.lost,
        rows: &since.rows,
        outputs: &since.outputs,
        columns: &since.columns,
    };
    moved_findings(&moved, report, thresholds)
}

/// Findings about the differences between another run and that of the report.
pub(crate) fn moved_findings(
    moved: &Moved<'_>,
    report: &Report,
    thresholds: &FindingThresholds,
) -> Vec<Finding> {
    let limit = thresholds.max_per_kind;
    let lost: Vec<Finding> = moved.lost.iter().map(|lost| rows_lost(lost, moved.than)).collect();
    let mut findings = Finding::listed(lost, limit, 0);
    findings.extend(Finding::listed(schemas(moved, report), limit, 0));
    findings.extend(Finding::listed(row_drifts(moved, report, thresholds), limit, 0));
    findings
}

fn rows_lost(lost: &RowsLost, than: &str) -> Finding {
    let from = match &lost.rows_in {
        Some(rows) if !rows.is_empty() => {
            let counts: Vec<String> = rows.iter().map(|rows| display::count(*rows)).collect();
            format!(" from {}", counts.join(" and "))
        }
        _ => String::new(),
    };
    let summary = format!(
        "{} in node {} returned {}{from}. At the rate of {than} it would have been {}.",
        lost.operator,
        display::name(&lost.node),
        display::plural(lost.rows_out, "row"),
        display::count(lost.rows_expected)
    );
    let finding = Finding {
        query_id: Some(lost.query_id.clone()),
        operator: Some(lost.operator.clone()),
        plan_file: Some(lost.plan_file.clone()),
        ..Finding::new(FindingKind::RowsLost, Level::Warning, summary).node(Some(&lost.node))
    };
    finding
        .count("rows returned", lost.rows_out)
        .count(&format!("rows at the rate of {than}"), lost.rows_expected)
        .count(&format!("rows in {than}"), lost.rows_out_before)
}

/// The outputs and queries with changed columns, in the order of the run.
fn schemas(moved: &Moved<'_>, report: &Report) -> Vec<Finding> {
    let positions: HashMap<&str, usize> =
        report.nodes.iter().enumerate().map(|(position, node)| (node.name.as_str(), position)).collect();
    let node_of = |output: &OutputComparison| {
        let named = report.artifacts.iter().find(|artifact| {
            let with_kind = output.name.strip_prefix(&*artifact.name);
            with_kind.is_some_and(|kind| {
                kind.is_empty() || kind == format!(" ({})", artifact.materialization.name())
            })
        });
        named.and_then(|artifact| artifact.node.as_deref())
    };
    let outputs = moved.outputs.iter().filter(|output| output.was_there && output.is_there).map(|output| {
        let what = format!("Output {}", display::name(&output.name));
        (node_of(output), what, &output.columns_gone, &output.columns_new)
    });
    let queries = moved.columns.iter().map(|moved| {
        (
            Some(&*moved.node),
            format!("The query of node {}", display::name(&moved.node)),
            &moved.gone,
            &moved.new,
        )
    });
    let mut all: Vec<_> =
        outputs.chain(queries).filter(|(_, _, gone, new)| !gone.is_empty() || !new.is_empty()).collect();
    // A column that is missing in a source is missing in everything derived from it: the first one is the cause.
    all.sort_by_key(|(node, ..)| node.and_then(|node| positions.get(node)).copied().unwrap_or(usize::MAX));
    let findings = all.into_iter().map(|(node, what, gone, new)| {
        let parts: Vec<String> = [("lost", gone), ("has the new", new)]
            .into_iter()
            .filter(|(_, columns)| !columns.is_empty())
            .map(|(verb, columns)| format!("{verb} {}", named(columns)))
            .collect();
        let level = if gone.is_empty() { Level::Note } else { Level::Warning };
        let summary = format!("{what} {} since {}.", parts.join(" and "), moved.than);
        Finding::new(FindingKind::SchemaDrift, level, summary)
            .node(node)
            .count("columns gone", gone.len() as u64)
            .count("columns new", new.len() as u64)
    });
    findings.collect()
}

/// Columns with their types, such as `columns a Int64, b Utf8`.
fn named(columns: &[String]) -> String {
    let noun = if columns.len() == 1 { "column" } else { "columns" };
    format!("{noun} {}", display::first_of(columns, MAX_NAMED))
}

/// The nodes that returned many more rows or fewer, in the order of the run, except those that only follow their inputs.
fn row_drifts(moved: &Moved<'_>, report: &Report, thresholds: &FindingThresholds) -> Vec<Finding> {
    let than = moved.than;
    let lost: BTreeSet<&str> = moved.lost.iter().map(|lost| lost.node.as_str()).collect();
    let nodes: HashMap<&str, &NodeReport> =
        report.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let fell = |moved: &RowsMoved| moved.after < moved.before;
    let drifts = || moved.rows.iter().filter(|moved| moved.is_drift(thresholds));
    let direction: HashMap<&str, bool> = drifts().map(|moved| (moved.node.as_str(), fell(moved))).collect();
    let dependencies =
        |node: &str| nodes.get(node).into_iter().flat_map(|node| &node.dependencies).map(String::as_str);
    // If a dependency of the node changed in the same direction, the change of the node itself is expected.
    let follows = |moved: &RowsMoved| {
        dependencies(&moved.node)
            .any(|above| direction.get(above) == Some(&fell(moved)) || fell(moved) && lost.contains(above))
    };
    let is_explained = |moved: &RowsMoved| fell(moved) && lost.contains(&*moved.node);
    let roots = drifts().filter(|moved| !is_explained(moved) && !follows(moved));
    let findings = roots.map(|moved| {
        let is_large = moved.before.abs_diff(moved.after) >= thresholds.drift_rows;
        let level = if fell(moved) && is_large { Level::Warning } else { Level::Note };
        let summary = format!(
            "Node {} returned {}; in {than} it was {}.",
            display::name(&moved.node),
            display::plural(moved.after, "row"),
            display::count(moved.before)
        );
        let finding = Finding::new(FindingKind::RowDrift, level, summary).node(Some(&moved.node));
        finding.count("rows", moved.after).count(&format!("rows in {than}"), moved.before)
    });
    findings.collect()
}
