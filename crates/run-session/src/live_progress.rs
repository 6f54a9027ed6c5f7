//! How far a run is, as the heartbeat asks for it.

use std::sync::Arc;

use daglight_capture_policy::SqlText;
use daglight_heartbeat::{OperatorProgress, Poll, Progress, QueryProgress, Sample};
use daglight_plan_diagnostics::{ActivePoll, LiveOperator, LiveQuery};

use crate::run_state::RunState;

/// Adapts what is known of one run to the heartbeat.
pub(crate) struct LiveProgress {
    pub(crate) run: Arc<RunState>,
}

impl Progress for LiveProgress {
    fn sample(&self) -> Sample {
        let shared = &self.run.context.telemetry.shared;
        // Each with its node. The list is of the process, and other runs have queries in it too.
        let own = |query: LiveQuery| Some((self.run.owners.node_of(query.id)?, query));
        let live: Vec<_> = shared.live.sample().into_iter().filter_map(own).collect();
        let moved = self.run.moved.with(live.iter().map(|(_, query)| query));
        // Tasks of a query that belongs to no node are known as those of the run.
        // Any of them may be polled for the query: that a thread is busy at all distinguishes work from a stall.
        let of_run = || self.run.polls.active();
        let queries = live.into_iter().map(|(node, query)| QueryProgress {
            query_id: query.id.to_string(),
            node,
            started: query.started_at.into(),
            rows_output: query.rows,
            is_asked: query.is_asked,
            polls: query.polls.into_iter().chain(of_run()).map(poll).collect(),
            busy: query.busy,
            operators: self.operators(query.operators),
        });
        Sample {
            queries: queries.collect(),
            nodes: self.run.nodes_by_state(),
            moved,
            memory: shared.pools.used(),
            runtime: self.run.runtime.used(),
            running: self.run.open_nodes().iter().map(|node| node.progress()).collect(),
            statements: self.run.statements_in_progress(),
            memory_waits: shared.pools.waits(),
        }
    }
}

/// A poll as the heartbeat knows it. Both types are of other crates.
pub(crate) fn poll(poll: ActivePoll) -> Poll {
    Poll { thread: poll.thread, lasts: poll.lasts, may_block: poll.may_block }
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
