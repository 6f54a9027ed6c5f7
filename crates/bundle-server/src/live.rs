//! A running run: its nodes, the results and rates of its queries, and stalls.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use daglight_bundle_report::{NodeReport, Report, ReportError, ReportOptions, ReportStatus, StallReport};
use daglight_run_bundle::{Bundle, NodeStatus, PlanBundle};
use serde::Serialize;

/// The maximum number of queries shown for a run.
const MAX_QUERIES: usize = 50;
/// The maximum number of operators shown for each.
const MAX_OPERATORS: usize = 100;
/// If a query is first seen at most this long after its start, its average rate counts as its current one.
const YOUNG_MS: f64 = 1_000.0;
/// The maximum number of nodes shown: those that started last, then those that have not started.
const MAX_NODES: usize = 200;

/// The state of a running run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LiveRun {
    pub(crate) dag_name: Option<String>,
    pub(crate) status: ReportStatus,
    pub(crate) duration_ms: Option<f64>,
    pub(crate) nodes: u64,
    pub(crate) nodes_succeeded: u64,
    pub(crate) nodes_failed: u64,
    /// When the process was last seen.
    pub(crate) last_beat_at: Option<DateTime<Utc>>,
    /// For how long the heartbeat has been silent, if that is too long.
    pub(crate) silent_seconds: Option<f64>,
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) resident_bytes: Option<u64>,
    /// What was running at the last beat.
    pub(crate) active: Vec<ActiveNode>,
    pub(crate) shown_nodes: Vec<LiveNode>,
    pub(crate) queries: Vec<LiveQuery>,
    /// The current stalls, and the earlier ones.
    pub(crate) stalls: Vec<LiveStall>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ActiveNode {
    pub(crate) name: String,
    pub(crate) since: DateTime<Utc>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct LiveNode {
    pub(crate) name: String,
    /// How it ended, or `running`.
    pub(crate) status: &'static str,
    pub(crate) start_ms: Option<f64>,
    pub(crate) duration_ms: Option<f64>,
    pub(crate) rows_out: Option<u64>,
    pub(crate) error: Option<String>,
}

/// A running query.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LiveQuery {
    pub(crate) query_id: String,
    pub(crate) node: Option<String>,
    pub(crate) wall_ms: f64,
    pub(crate) operators: Vec<LiveOperator>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct LiveOperator {
    pub(crate) depth: u32,
    pub(crate) name: String,
    pub(crate) rows: Option<u64>,
    pub(crate) estimated_rows: Option<u64>,
    /// Between the last two beats that were read, or 0 if its query is stalled. `None` when a query is first seen that has been
    /// running for longer than a second: its current rate is known the second time.
    pub(crate) rows_per_second: Option<f64>,
    pub(crate) compute_ms: Option<f64>,
    pub(crate) memory_bytes: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct LiveStall {
    pub(crate) what: String,
    pub(crate) operator: Option<String>,
    pub(crate) since: DateTime<Utc>,
    pub(crate) ended: Option<DateTime<Utc>>,
    pub(crate) why: Option<&'static str>,
    pub(crate) remedy: Option<String>,
}

/// The row counts of the operators of running queries, as last seen.
#[derive(Debug, Default)]
pub(crate) struct Progress(HashMap<String, [Seen; 2]>);

/// The progress of a query at a point in time.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    wall_ms: f64,
    rows: Vec<Option<u64>>,
}

impl Progress {
    /// Records the current progress of a query, and returns the growth of each operator in rows per second.
    fn rates(&mut self, plan: &PlanBundle) -> Vec<Option<f64>> {
        let now = Seen {
            wall_ms: plan.metrics.wall_ms,
            rows: plan.metrics.operators.iter().map(|operator| operator.output_rows).collect(),
        };
        let start = || if now.wall_ms <= YOUNG_MS { Seen::default() } else { now.clone() };
        let [before, last] = self.0.entry(plan.query_id.clone()).or_insert_with(|| [start(), now.clone()]);
        // If the file was not rewritten, there is nothing new: the rates are unchanged.
        if *last != now {
            // Otherwise it is another execution of the plan, whose counts started again.
            let is_later = last.wall_ms < now.wall_ms && last.rows.len() == now.rows.len();
            *before = if is_later { std::mem::take(last) } else { start() };
            *last = now;
        }
        let seconds = (last.wall_ms - before.wall_ms) / 1e3;
        let rows = last.rows.iter().enumerate();
        rows.map(|(position, rows)| {
            let earlier = before.rows.get(position).copied().flatten().unwrap_or(0);
            (seconds > 0.0).then_some(rows.as_ref()?.saturating_sub(earlier) as f64 / seconds)
        })
        .collect()
    }

    fn keep_only(&mut self, running: &[LiveQuery]) {
        self.0.retain(|query_id, _| running.iter().any(|query| query.query_id == *query_id));
    }
}

/// The state of the run of a bundle.
pub(crate) fn live_run(
    bundle: &Bundle,
    options: &ReportOptions,
    progress: &mut Progress,
) -> Result<LiveRun, ReportError> {
    let mut queries = Vec::new();
    // It is made every second; the comparison with the previous run is needed only after the end.
    let report = Report::made(bundle, &options.clone().alone(), |plan| {
        if !plan.running.is_empty() && queries.len() < MAX_QUERIES {
            queries.push(live_query(plan, progress));
        }
    })?;
    // A server may run for months, and queries come and go.
    progress.keep_only(&queries);
    let last = report.resources.last();
    let heartbeat = report.heartbeat.as_ref();
    stand_still(&mut queries, heartbeat.map(|heartbeat| heartbeat.stalls.as_slice()).unwrap_or_default());
    let stalls = heartbeat.map(|heartbeat| heartbeat.stalls.iter().map(live_stall).collect());
    let active = heartbeat.into_iter().flat_map(|heartbeat| &heartbeat.active_tasks);
    Ok(LiveRun {
        dag_name: report.identity.as_ref().map(|identity| identity.dag_name.clone()),
        status: report.status,
        duration_ms: report.duration_ms,
        nodes: report.totals.nodes,
        nodes_succeeded: report.totals.nodes_succeeded,
        nodes_failed: report.totals.nodes_failed,
        last_beat_at: heartbeat.map(|heartbeat| heartbeat.last_beat_at),
        silent_seconds: heartbeat.and_then(|heartbeat| heartbeat.silent_seconds),
        cpu_seconds: heartbeat.and_then(|heartbeat| heartbeat.cpu_seconds),
        resident_bytes: last.and_then(|sample| sample.resident_bytes),
        active: active.map(|task| ActiveNode { name: task.name.clone(), since: task.since }).collect(),
        shown_nodes: shown_nodes(&report.nodes),
        queries,
        stalls: stalls.unwrap_or_default(),
    })
}

/// The nodes that have started, last one first, followed by those that have not.
fn shown_nodes(nodes: &[NodeReport]) -> Vec<LiveNode> {
    let (mut started, waiting): (Vec<&NodeReport>, Vec<&NodeReport>) =
        nodes.iter().partition(|node| node.start_ms.is_some());
    // Newest first: running nodes are of more interest than those that ended an hour ago.
    started.sort_by(|a, b| b.start_ms.unwrap_or(0.0).total_cmp(&a.start_ms.unwrap_or(0.0)));
    let shown = started.into_iter().chain(waiting).take(MAX_NODES).map(|node| LiveNode {
        name: node.name.clone(),
        status: match node.status {
            NodeStatus::Running => "running",
            NodeStatus::Unfinished => "unfinished",
            NodeStatus::Success => "success",
            NodeStatus::Failure => "failure",
            NodeStatus::Interrupted => "interrupted",
            NodeStatus::NotRun => "not_run",
        },
        start_ms: node.start_ms,
        duration_ms: node.duration_ms,
        rows_out: node.rows_out,
        error: node.error.clone(),
    });
    shown.collect()
}

fn live_query(plan: &PlanBundle, progress: &mut Progress) -> LiveQuery {
    let rates = progress.rates(plan);
    let operators = plan.metrics.operators.iter().zip(plan.metrics.depths()).zip(rates);
    LiveQuery {
        query_id: plan.query_id.clone(),
        node: plan.node.clone(),
        wall_ms: plan.metrics.wall_ms,
        operators: operators
            .take(MAX_OPERATORS)
            .map(|((operator, depth), rows_per_second)| LiveOperator {
                depth,
                name: match &operator.table {
                    Some(table) => format!("{} ({table})", operator.name),
                    None => operator.name.clone(),
                },
                rows: operator.output_rows,
                estimated_rows: operator.estimated_rows,
                rows_per_second,
                compute_ms: operator.computed_ms(),
                memory_bytes: operator.memory_bytes,
            })
            .collect(),
    }
}

/// Sets the rates of stalled queries to 0, whatever they were before.
fn stand_still(queries: &mut [LiveQuery], stalls: &[StallReport]) {
    let stalls = |query: &LiveQuery| {
        let mut of_query = stalls.iter().filter(|stall| stall.stall.query_id == query.query_id);
        of_query.any(|stall| stall.ended.is_none())
    };
    for query in queries.iter_mut().filter(|query| stalls(query)) {
        for operator in query.operators.iter_mut().filter(|operator| operator.rows.is_some()) {
            operator.rows_per_second = Some(0.0);
        }
    }
}

fn live_stall(StallReport { stall, ended, remedy }: &StallReport) -> LiveStall {
    LiveStall {
        what: stall
            .node
            .clone()
            .or_else(|| stall.statement.clone())
            .unwrap_or_else(|| format!("query {}", stall.query_id)),
        operator: stall.operator.clone(),
        since: stall.since,
        ended: *ended,
        why: stall.class.map(|class| class.in_words()),
        remedy: remedy.clone(),
    }
}

#[cfg(test)]
mod tests {
    use daglight_run_bundle::{
        Manifest, NodeRecord, PlanOperator, ProcessEvidence, RunProgress, Stall, StallEpisode,
    };
    use daglight_run_identity::RunId;

    use super::*;

    fn plan(query_id: &str, wall_ms: f64, rows: &[Option<u64>]) -> PlanBundle {
        let mut plan = PlanBundle { query_id: query_id.into(), ..PlanBundle::default() };
        plan.metrics.wall_ms = wall_ms;
        let operators =
            rows.iter().map(|rows| PlanOperator { output_rows: *rows, ..PlanOperator::default() });
        plan.metrics.operators = operators.collect();
        plan
    }

    #[test]
    fn rates_are_those_between_the_last_two_writings_of_a_plan() {
        let mut progress = Progress::default();
        let mut rates = |wall_ms, rows: &[Option<u64>]| progress.rates(&plan("7", wall_ms, rows));
        assert_eq!(rates(1_000.0, &[Some(10), None]), [Some(10.0), None]);
        assert_eq!(rates(3_000.0, &[Some(50), None]), [Some(20.0), None]);
        assert_eq!(rates(3_000.0, &[Some(50), None]), [Some(20.0), None]);
        assert_eq!(rates(4_000.0, &[Some(50), Some(3)]), [Some(0.0), Some(3.0)]);
        // For a query that has been running for long, the first sample does not show its current rate.
        assert_eq!(progress.rates(&plan("8", 9_000.0, &[Some(90)])), [None]);
        assert_eq!(progress.rates(&plan("8", 9_000.0, &[Some(90)])), [None]);
        assert_eq!(progress.rates(&plan("8", 11_000.0, &[Some(90)])), [Some(0.0)]);
        let mut rates = |wall_ms, rows: &[Option<u64>]| progress.rates(&plan("7", wall_ms, rows));
        // Another execution of the plan starts again.
        assert_eq!(rates(500.0, &[Some(5), Some(0)]), [Some(10.0), Some(0.0)]);
        progress.keep_only(&[]);
        assert!(progress.0.is_empty());
    }

    #[test]
    fn nodes_that_have_not_started_are_shown_behind_the_others() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        let run_id = bundle.run_id().unwrap();
        let mut manifest = Manifest::of_start(run_id, "sales", run_id.created_at());
        manifest.nodes = ["waits", "orders", "lines"].map(NodeRecord::not_run).into();
        manifest.write(&bundle).unwrap();
        for (second, name) in [(1, "orders"), (2, "lines")] {
            let started_at = Some(run_id.created_at() + chrono::TimeDelta::milliseconds(second));
            let status = NodeStatus::Unfinished;
            let record = NodeRecord { status, started_at, ..NodeRecord::not_run(name) };
            RunProgress::append(&bundle, &[RunProgress::Node(record)]).unwrap();
        }
        let run = live_run(&bundle, &ReportOptions::default(), &mut Progress::default()).unwrap();
        let shown: Vec<&str> = run.shown_nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(shown, ["lines", "orders", "waits"]);
        assert_eq!((run.shown_nodes[0].status, run.shown_nodes[2].status), ("running", "not_run"));
    }

    #[test]
    fn what_stands_still_has_a_rate_of_nothing_at_the_first_look() {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        for query_id in ["7", "8"] {
            let mut plan = plan(query_id, 9_000.0, &[Some(90), None]);
            (plan.running, plan.plan_hash) = (vec![7], Some(format!("hash{query_id}")));
            plan.write(&bundle).unwrap();
        }
        let mut evidence = ProcessEvidence::for_self(DateTime::UNIX_EPOCH, 1.0);
        let stall = Stall { query_id: "7".into(), ..Stall::default() };
        evidence.stalls.episodes.push(StallEpisode { stall, ended: None });
        evidence.write(&bundle.heartbeat()).unwrap();
        let run = live_run(&bundle, &ReportOptions::default(), &mut Progress::default()).unwrap();
        let rates = run.queries.iter().map(|query| {
            let rates: Vec<_> = query.operators.iter().map(|operator| operator.rows_per_second).collect();
            (query.query_id.as_str(), rates)
        });
        assert_eq!(rates.collect::<Vec<_>>(), [("7", vec![Some(0.0), None]), ("8", vec![None, None])]);
    }
}
