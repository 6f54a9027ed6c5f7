//! A run that goes on: its core, what of it is open, its heart, and how far its end has come.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use opentelemetry::Context;

use crate::{
    frames::Frames, open_node::OpenNodes, open_runs::OpenRuns, open_statements::OpenStatements,
    own_time::OwnClock, query_owner::QueryOwner, run_beats::RunBeats, run_context::RunContext,
    run_core::RunCore, run_ending::RunEnding, run_log::RunLog,
};

/// A run that goes on.
pub(crate) struct RunState {
    /// The three of the core that everybody needs.
    pub(crate) context: Arc<RunContext>,
    pub(crate) log: Arc<RunLog>,
    pub(crate) own_time: Arc<OwnClock>,
    pub(crate) core: Arc<RunCore>,
    pub(crate) nodes: OpenNodes,
    pub(crate) frames: Frames,
    pub(crate) statements: OpenStatements,
    pub(crate) beats: RunBeats,
    pub(crate) ending: RunEnding,
    /// The runs of the process, this one among them.
    pub(crate) open_runs: Arc<OpenRuns<Self>>,
}

impl RunState {
    pub(crate) fn new(
        context: RunContext,
        open_runs: Arc<OpenRuns<Self>>,
        bundle_has_failed: Arc<AtomicBool>,
    ) -> Self {
        let core = Arc::new(RunCore::new(context, bundle_has_failed));
        Self {
            context: Arc::clone(&core.context),
            log: Arc::clone(&core.log),
            own_time: Arc::clone(&core.own_time),
            core,
            nodes: OpenNodes::default(),
            frames: Frames::default(),
            statements: OpenStatements::default(),
            beats: RunBeats::default(),
            ending: RunEnding::default(),
            open_runs,
        }
    }

    /// The run's tags, as far as they are known by now.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = self.context.tags.clone();
        tags.extend(self.log.records().late_tags.clone());
        tags
    }

    /// Before more work of the run begins: returns to the runtime once if the process was asked to end, so that
    /// [`Run::until_interrupted`](crate::Run::until_interrupted) can drop the work. Nodes that compute without an `await` would
    /// otherwise start one after the other.
    pub(crate) async fn give_way(&self) {
        if self.core.interruption.get().is_some() {
            tokio::task::yield_now().await;
        }
    }

    /// The OpenTelemetry context of the run, for code that is in none of its nodes.
    pub(crate) fn otel_context(&self) -> Context {
        QueryOwner::Run(Arc::clone(&self.core)).context()
    }

    /// Completes nodes whose queries go on, after a wait for those that were dropped: their partitions stop on threads of
    /// the runtime a moment later. Nothing is recorded of the run from now on.
    pub(crate) fn complete_open_nodes(&self, limit: Duration) {
        let queries = &self.core.queries;
        queries.open.wait_for_none(limit);
        if self.core.interruption.get().is_some() {
            // What computes without giving way is known by what it has measured so far.
            self.context.shared.live.end(|query| queries.owners.node_of(query).is_some());
        }
        // In this order: what comes later sees the mark, and what came before is in the list.
        self.core.close();
        self.nodes.take_awaited().iter().for_each(|node| node.give_up());
        self.frames.close();
        self.open_runs.remove(self.context.run_id);
    }

    /// What is still held for the run: queries, frames and nodes that are waited for.
    pub(crate) fn held(&self) -> usize {
        self.nodes.held() + self.frames.len() + self.core.queries.owners.len()
    }
}
