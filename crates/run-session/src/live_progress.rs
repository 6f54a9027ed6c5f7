//! How far a run is, as the heartbeat asks for it.

use std::sync::Arc;

use daglight_capture_policy::SqlText;
use daglight_heartbeat::{Nodes, OperatorProgress, Progress, QueryProgress, Sample};
use daglight_plan_diagnostics::{LiveOperator, LiveQuery};

use crate::{active_polls::poll, run_plannings::RunPlanning, run_state::RunState};

/// Adapts what is known of one run to the heartbeat.
pub(crate) struct LiveProgress {
    pub(crate) run: Arc<RunState>,
}

impl Progress for LiveProgress {
    fn sample(&self) -> Sample {
        let shared = &self.run.context.shared;
        // Each with its node. The list is of the process, and other runs have queries in it too.
        let own = |query: LiveQuery| Some((self.run.core.queries.owners.node_of(query.id)?, query));
        let live: Vec<_> = shared.live.sample().into_iter().filter_map(own).collect();
        let moved = self.run.core.queries.moved.with(live.iter().map(|(_, query)| query));
        // Tasks of a query that belongs to no node are known as those of the run.
        // Any of them may be polled for the query: that a thread is busy at all distinguishes work from a stall.
        let of_run = || self.run.core.queries.polls.active();
        let queries = live.into_iter().map(|(node, query)| QueryProgress {
            query_id: query.id.to_string(),
            node,
            started: query.started_at.into(),
            rows_output: query.rows,
            is_asked: query.is_asked,
            polls: query.polls.into_iter().chain(of_run()).map(poll).collect(),
            busy: query.busy,
            waits_for_worker: query.waits_for_worker,
            operators: self.operators(query.operators),
        });
        let mut running: Vec<_> = self.run.nodes.list().iter().map(|node| node.progress()).collect();
        let mut statements = self.run.statements.in_progress(&self.run.core);
        for planning in RunPlanning::of_run(&self.run.context) {
            let of_node = running.iter_mut().find(|node| Some(node.name.as_str()) == planning.node());
            match (planning.node(), of_node, statements.as_mut_slice()) {
                (Some(_), Some(node), _) => node.planning = Some(planning.describe()),
                // Of several any could have asked.
                (None, _, [only]) => only.planning = Some(planning.describe()),
                _ => {}
            }
        }
        Sample {
            queries: queries.collect(),
            nodes: self.run.nodes_by_state(),
            moved,
            memory: shared.pools.used(),
            runtime: self.run.beats.runtime.used(),
            running,
            statements,
            memory_waits: shared.pools.waits(),
        }
    }
}

impl LiveProgress {
    fn operators(&self, live: Vec<LiveOperator>) -> Vec<OperatorProgress> {
        let policy = &self.run.context.policy;
        let shown = |detail: String| match policy.sql_text() {
            // It holds literals.
            SqlText::Whole => policy.redactor().plan_text(&detail),
            _ => String::new(),
        };
        live.into_iter()
            .map(|operator| OperatorProgress {
                name: operator.name,
                detail: shown(operator.detail),
                parent: operator.parent,
                // Those of a scan that does not count itself are counted for it, and it is seen whether it waits.
                rows: (operator.finished.is_some() || operator.is_waiting.is_some()).then_some(operator.rows),
                bytes: operator.bytes,
                elapsed_compute: operator.elapsed_compute,
                finished: operator.finished,
                is_waiting: operator.is_waiting,
            })
            .collect()
    }
}

impl RunState {
    /// The nodes that wait for their turn, and those that are done, each in the order of the DAG.
    pub(crate) fn nodes_by_state(&self) -> Nodes {
        // Listed before the records are locked, so that no two locks are held at once.
        let open: Vec<String> = self.nodes.list().iter().map(|node| node.name().to_owned()).collect();
        let records = self.log.records();
        let mut nodes = Nodes::default();
        let dag = self.context.dag.get();
        for node in dag.nodes().iter().filter(|node| !open.contains(&node.name)) {
            // A node that has a record has begun, and one that is not open has ended.
            match records.nodes.contains_key(&node.name) {
                true => nodes.completed.add(&node.name),
                false => nodes.pending.add(&node.name),
            }
        }
        nodes
    }
}
