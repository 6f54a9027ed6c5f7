//! The nodes of the report: from the manifest, with additions from spans, plans and the heartbeat.

use std::collections::HashMap;

use daglight_run_bundle::{Manifest, NodeRecord, NodeStatus, ProcessEvidence};

use crate::{
    queries::PlannedQueries,
    report::NodeReport,
    signals::{SeenNode, SeenReads},
};

/// The nodes in the order of their start, followed by those that did not run, in the order of the manifest.
///
/// The manifest of a killed run is from its start: then the spans show which nodes have ended, and the last heartbeat which were
/// running. Those ran until the run, of `run_ms`, was last seen.
pub(crate) fn node_reports(
    manifest: Option<&Manifest>,
    mut seen: HashMap<String, SeenNode>,
    queries: &HashMap<String, SeenReads>,
    evidence: Option<&ProcessEvidence>,
    planned: &PlannedQueries,
    run_ms: Option<f64>,
    since_start: &dyn Fn(u64) -> f64,
) -> Vec<NodeReport> {
    let records = manifest.map(|manifest| manifest.nodes.as_slice()).unwrap_or_default();
    let mut nodes: Vec<(NodeReport, bool)> = records
        .iter()
        .map(|record| of_record(record, seen.remove(&record.name).unwrap_or_default(), since_start))
        .collect();
    let mut only_seen: Vec<(NodeReport, bool)> = seen
        .into_iter()
        .map(|(name, seen)| of_record(&NodeRecord::not_run(name), seen, since_start))
        .collect();
    // They come from a hash map, and two reports of the same bundle must be equal.
    only_seen.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    nodes.append(&mut only_seen);
    for (node, has_ended) in &mut nodes {
        // There are spans for every query; older ones do not contain what was read, but the plans do.
        let of_plans = planned.of_node(&node.name);
        let reads = queries.get(&node.name).copied().unwrap_or_default();
        let so_far = of_plans.reads(reads.queries);
        let reads = if reads.says_reads { reads } else { of_plans.reads(reads.queries) };
        node.queries = reads.queries.max(of_plans.queries);
        // For an interrupted node, its queries have what they had read by then.
        let is_told = *has_ended || node.status == NodeStatus::Interrupted && reads.queries > 0;
        node.rows_in = if is_told {
            (reads.uncounted == 0).then_some(reads.rows_read)
        } else {
            // There are spans only for queries that have ended. For the others, the plans have what they had read at the last beat.
            let has_all = so_far.queries > 0 && so_far.uncounted == 0;
            has_all.then_some(so_far.rows_read.max(reads.rows_read))
        };
        let active =
            evidence.and_then(|evidence| evidence.active_tasks.iter().find(|task| task.name == node.name));
        // The manifest of a killed run is that of its start, when nothing had run. The last beat has the nodes that were running.
        if let (NodeStatus::NotRun, Some(task)) = (node.status, active) {
            node.status = NodeStatus::Unfinished;
            let start = task.since.timestamp_nanos_opt().and_then(|start| u64::try_from(start).ok());
            let start_ms = start.map(since_start);
            let is_of_run = |start_ms: &f64| run_ms.is_none_or(|run_ms| (0.0..=run_ms).contains(start_ms));
            node.start_ms = node.start_ms.or(start_ms.filter(is_of_run));
        }
        if node.status == NodeStatus::Unfinished && node.duration_ms.is_none() {
            node.duration_ms =
                node.start_ms.zip(run_ms).map(|(start_ms, run_ms)| (run_ms - start_ms).max(0.0));
        }
    }
    let mut nodes: Vec<NodeReport> = nodes.into_iter().map(|(node, _)| node).collect();
    nodes.sort_by(|a, b| match (a.start_ms, b.start_ms) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
    nodes
}

/// The node, and whether it ended by itself.
fn of_record(record: &NodeRecord, seen: SeenNode, since_start: &dyn Fn(u64) -> f64) -> (NodeReport, bool) {
    let has_ended =
        matches!(record.status, NodeStatus::Success | NodeStatus::Failure | NodeStatus::Interrupted);
    let status = match seen.span {
        // It ended with its process.
        Some(_) if !has_ended && seen.is_closed_for_it => NodeStatus::Unfinished,
        Some(span) if !has_ended && seen.open_since.is_none() && span.failed => NodeStatus::Failure,
        // An attempt has ended, but not the next one.
        _ if !has_ended && seen.open_since.is_some() => NodeStatus::Unfinished,
        Some(_) if !has_ended => NodeStatus::Success,
        _ => record.status,
    };
    let start = record.started_at.and_then(|start| u64::try_from(start.timestamp_nanos_opt()?).ok());
    let duration_ms = seen.span.map(|span| (span.end - span.start) as f64 / 1e6);
    let ended_by_itself = matches!(status, NodeStatus::Success | NodeStatus::Failure)
        && record.status != NodeStatus::Unfinished
        && !seen.is_closed_for_it;
    let node = NodeReport {
        name: record.name.clone(),
        kind: Some(record.kind.clone()).filter(|kind| !kind.name().is_empty()),
        dependencies: record.dependencies.clone(),
        status,
        start_ms: start.or(seen.span.map(|span| span.start)).or(seen.open_since).map(since_start),
        duration_ms: record.duration_ms.or(duration_ms.filter(|_| seen.open_since.is_none())),
        rows_in: None,
        rows_out: record.rows.or(seen.rows),
        bytes: record.bytes.or(seen.bytes),
        queries: 0,
        queries_summed: record.queries_summed,
        error: record.error.clone().or(seen.error),
        process_ended: seen.is_closed_for_it,
        attempts: record.attempts,
        earlier_attempts: record.earlier_attempts.clone(),
        recovered: record.recovered,
        checks: record.checks.clone(),
        on_critical_path: false,
    };
    (node, ended_by_itself)
}

/// The most interesting nodes if there are too many: those that did not succeed, and the longest. They keep their order; the number
/// is that of the others.
pub(crate) fn longest(nodes: &[NodeReport], limit: usize) -> (Vec<&NodeReport>, usize) {
    let mut ranked: Vec<(usize, &NodeReport)> = nodes.iter().enumerate().collect();
    let ended_well = |node: &NodeReport| node.status == NodeStatus::Success;
    let duration = |node: &NodeReport| node.duration_ms.unwrap_or(0.0);
    ranked.sort_by(|(_, a), (_, b)| {
        // Those that did not succeed first, however short they were: readers look for them.
        ended_well(a).cmp(&ended_well(b)).then_with(|| duration(b).total_cmp(&duration(a)))
    });
    ranked.truncate(limit);
    // Restored to the order of the run.
    ranked.sort_by_key(|(position, _)| *position);
    let shown: Vec<&NodeReport> = ranked.into_iter().map(|(_, node)| node).collect();
    let left_out = nodes.len() - shown.len();
    (shown, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, signals::SeenSpan};

    fn node(name: &str, status: NodeStatus, duration_ms: f64) -> NodeReport {
        let record = NodeRecord { status, duration_ms: Some(duration_ms), ..NodeRecord::not_run(name) };
        of_record(&record, SeenNode::default(), &|_| 0.0).0
    }

    #[test]
    fn of_too_many_nodes_the_longest_and_those_that_failed_are_shown() {
        let nodes = [
            node("short", NodeStatus::Success, 1.0),
            node("failed", NodeStatus::Failure, 0.5),
            node("long", NodeStatus::Success, 9.0),
        ];
        let (shown, left_out) = longest(&nodes, 2);
        let names: Vec<&str> = shown.iter().map(|node| node.name.as_str()).collect();
        assert_eq!((names, left_out), (vec!["failed", "long"], 1));
        assert_eq!(longest(&nodes, 9).1, 0);
    }

    #[test]
    fn what_a_node_read_is_unknown_where_its_queries_do_not_say_it() {
        let seen = |failed, is_closed_for_it| SeenNode {
            span: Some(SeenSpan { start: 1, end: 2, failed }),
            is_closed_for_it,
            ..SeenNode::default()
        };
        let queries = |queries, uncounted| SeenReads {
            says_reads: true,
            queries,
            rows_read: 7 * queries,
            uncounted,
            ..SeenReads::default()
        };
        for (status, seen, reads, rows_in) in [
            (NodeStatus::Success, seen(false, false), queries(1, 0), Some(7)),
            (NodeStatus::Success, seen(false, false), queries(0, 0), Some(0)),
            (NodeStatus::Success, seen(false, false), queries(2, 1), None),
            (NodeStatus::Failure, seen(true, false), queries(1, 0), Some(7)),
            // In a running run, only spans show what has ended.
            (NodeStatus::NotRun, seen(false, false), queries(1, 0), Some(7)),
            (NodeStatus::NotRun, SeenNode::default(), queries(0, 0), None),
            (NodeStatus::Interrupted, seen(true, false), queries(0, 0), None),
            (NodeStatus::Interrupted, seen(true, false), queries(1, 0), Some(7)),
            (NodeStatus::Interrupted, seen(true, false), queries(2, 1), None),
            // In a killed run: closed by `sync`, and before that.
            (NodeStatus::Unfinished, seen(true, true), queries(0, 0), None),
            (NodeStatus::Unfinished, SeenNode::default(), queries(0, 0), None),
            (NodeStatus::NotRun, seen(true, true), queries(1, 0), None),
        ] {
            let record = NodeRecord { status, ..NodeRecord::not_run("a") };
            let manifest = Manifest { nodes: vec![record], ..fixture::manifest() };
            let reports = node_reports(
                Some(&manifest),
                [("a".to_owned(), seen)].into(),
                &[("a".to_owned(), reads)].into(),
                None,
                &PlannedQueries::default(),
                None,
                &|_| 0.0,
            );
            assert_eq!(reports[0].rows_in, rows_in, "{status:?} with {reads:?}");
        }
    }
}
