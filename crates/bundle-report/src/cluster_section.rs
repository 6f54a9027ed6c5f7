//! The section about the cluster: how much of the run it executed, why the rest ran on the client, and what each worker did.

use crate::{
    display,
    report::{ClusterReport, OnClientReport, Report, WorkerReport},
    section::{Block, Cell, Column, Piece, Section, counted, shown, words},
    section_parts::{list, section, sentence, table},
};

/// The maximum number of reasons shown.
const MAX_REASONS: usize = 20;
/// The maximum number of nodes shown for a reason.
const MAX_NODES: usize = 5;
/// The maximum number of workers shown.
const MAX_WORKERS: usize = 30;

pub(crate) fn cluster(report: &Report) -> Section<'_> {
    let Some(cluster) = &report.cluster else { return section("Cluster", Vec::new()) };
    let mut blocks = vec![Block::Sentence(in_short(cluster))];
    let columns =
        vec![Column::text("ran on the client because"), Column::number("queries"), Column::text("nodes")];
    blocks.extend(list(columns, cluster.on_client.iter().take(MAX_REASONS).map(reason_row)));
    blocks.extend(left_out(cluster.on_client.len().saturating_sub(MAX_REASONS) as u64, "more reason"));
    let columns = vec![
        Column::text("worker"),
        Column::number("tasks"),
        Column::number("failed"),
        Column::number("lost"),
        Column::number("cancelled"),
        Column::number("rows"),
        Column::number("received"),
        Column::number("computed"),
    ];
    // The row of those that nobody knows is the last one, and shown in any case: without it, the tasks do not add up.
    let (known, unknown): (Vec<_>, Vec<_>) = cluster.workers.iter().partition(|row| row.worker.is_some());
    let rows = known.into_iter().take(MAX_WORKERS).chain(unknown);
    blocks.extend(table(columns, rows.map(worker_row)));
    blocks.extend(left_out(cluster.worker_count.saturating_sub(MAX_WORKERS as u64), "more worker"));
    section("Cluster", blocks)
}

/// Which cluster it was, and how much of the run it executed.
fn in_short(cluster: &ClusterReport) -> Cell<'_> {
    let mut sentence = vec![Piece::Name(&cluster.engine)];
    match &cluster.scheduler {
        Some(scheduler) => sentence.extend([Piece::words(", scheduler "), Piece::Code(scheduler.into())]),
        None if cluster.worker_count > 0 => {
            sentence.push(Piece::words(format!(", {}", display::plural(cluster.worker_count, "worker"))));
        }
        None => {}
    }
    let all = cluster.queries_on_cluster.saturating_add(cluster.queries_on_client);
    let queries = if all == 1 { "query" } else { "queries" };
    sentence.push(Piece::words(format!(
        ": {} of {} {queries} ran on the cluster, {} on the client.",
        display::count(cluster.queries_on_cluster),
        display::count(all),
        display::count(cluster.queries_on_client),
    )));
    sentence
}

fn left_out<'r>(count: u64, noun: &str) -> Option<Block<'r>> {
    (count > 0).then(|| sentence(format!("{}: see the JSON report.", display::plural(count, noun))))
}

fn reason_row(row: &OnClientReport) -> Vec<Cell<'_>> {
    let mut nodes = Vec::new();
    for (position, node) in row.nodes.iter().take(MAX_NODES).enumerate() {
        nodes.extend([Piece::words(if position > 0 { ", " } else { "" }), Piece::Name(node)]);
    }
    let more = (row.nodes.len().saturating_sub(MAX_NODES) as u64).saturating_add(row.nodes_left_out);
    if more > 0 {
        nodes.push(Piece::words(format!(" and {} more", display::count(more))));
    }
    let reason =
        row.reason.as_deref().map_or_else(|| words("other reasons"), |reason| vec![Piece::Message(reason)]);
    vec![reason, shown(row.queries, display::count), nodes]
}

fn worker_row(row: &WorkerReport) -> Vec<Cell<'_>> {
    let worker = row.worker.as_deref().map_or_else(|| words("not known"), |worker| vec![Piece::Name(worker)]);
    vec![
        worker,
        shown(row.tasks, display::count),
        counted(row.failed),
        counted(row.lost),
        counted(row.cancelled),
        shown(row.rows, display::count),
        shown(row.bytes_received, display::bytes),
        shown(row.compute_ms, display::duration),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(number: u64) -> WorkerReport {
        WorkerReport {
            worker: Some(format!("w{number}:9400")),
            tasks: 2,
            lost: 1,
            rows: Some(1_000),
            bytes_received: Some(2_000_000),
            compute_ms: Some(1_500.0),
            ..WorkerReport::default()
        }
    }

    fn markdown(cluster: ClusterReport) -> String {
        let report = Report { cluster: Some(cluster), ..crate::findings::planted::report() };
        assert!(report.to_html().contains("ran on the client because"));
        report.to_markdown()
    }

    #[track_caller]
    fn check(markdown: &str, expected: &[&str]) {
        for expected in expected {
            assert!(markdown.contains(expected), "{expected:?} is not in\n{markdown}");
        }
    }

    #[test]
    fn what_ran_where_is_said_with_the_reasons_and_the_workers() {
        let names = |count: u64| (0..count).map(|number| format!("n{number}")).collect();
        let reason = |reason: Option<&str>, nodes_left_out| OnClientReport {
            reason: reason.map(str::to_owned),
            queries: 12,
            nodes: names(7),
            nodes_left_out,
        };
        let unknown = WorkerReport { worker: None, ..worker(0) };
        let cluster = ClusterReport {
            engine: "datafusion-distributed".to_owned(),
            scheduler: None,
            queries_on_cluster: 4,
            queries_on_client: 24,
            on_client: vec![reason(Some("it reads no files"), 100), reason(None, 0)],
            worker_count: 40,
            workers: (0..40).map(worker).chain([unknown]).collect(),
        };
        let of_workers = markdown(cluster.clone());
        check(
            &of_workers,
            &[
                "## Cluster",
                "datafusion-distributed",
                ", 40 workers: 4 of 28 queries ran on the cluster, 24 on the client.",
                "it reads no files",
                "other reasons",
                " and 102 more",
                "w29:9400",
                "not known",
                "10 more workers: see the JSON report.",
            ],
        );
        assert!(!of_workers.contains("w30:9400") && !of_workers.contains("cancelled"), "{of_workers}");
        let of_jobs = markdown(ClusterReport { scheduler: Some("s:50050".to_owned()), ..cluster });
        check(&of_jobs, &["s:50050", ": 4 of 28 queries ran on the cluster"]);
    }

    #[test]
    fn a_run_without_a_cluster_has_no_section_about_it() {
        let report = crate::findings::planted::report();
        assert!(cluster(&report).blocks.is_empty());
        assert!(serde_json::to_value(&report).unwrap().get("cluster").is_none());
    }
}
