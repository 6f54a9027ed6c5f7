//! A run, from its start to its finish.

use std::{fmt, future::Future, path::Path, sync::Arc, time::Duration};

use daglight_bundle_report::{Bundle, NodeRecord};
use daglight_otel_bridge::names;
use daglight_run_identity::{Dag, RunId};
use opentelemetry::context::FutureExt as _;

use crate::{
    FinishReport, Node, RunOptions, Telemetry, beside_runtime::on_own_thread, finish::finish,
    node_run::NodeRun, run_state::RunState, stage::in_span, start::start,
};

/// How long a node waits for its dropped queries to say how they ended.
const DROPPED_QUERIES_LIMIT: Duration = Duration::from_millis(250);

/// One execution of a DAG.
///
/// Finish it with [`Run::finish`]. A run that is dropped without that ends as a failure, with what could be delivered
/// in the flush timeout.
pub struct Run {
    state: Arc<RunState>,
    finished: bool,
}

impl Run {
    pub(crate) fn start(telemetry: &Telemetry, dag: &Dag, options: RunOptions) -> Self {
        Self { state: start(telemetry, dag, options), finished: false }
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.state.run_id
    }

    /// The DAG that runs.
    pub fn dag(&self) -> &Dag {
        &self.state.dag
    }

    /// The run's folder, where one could be made.
    pub fn bundle_dir(&self) -> Option<&Path> {
        self.state.bundle.as_ref().map(Bundle::dir)
    }

    /// Runs the code of a node: with a span, a task on the tracker, an entry in the heartbeat, and every query seen
    /// that is planned inside. The result passes through as it is; an error marks node and run as failed.
    pub async fn node<T, E, F, W>(&self, name: &str, work: W) -> Result<T, E>
    where
        E: fmt::Display,
        F: Future<Output = Result<T, E>>,
        W: FnOnce(Node) -> F,
    {
        let running = NodeRun::start(&self.state, name);
        let scope = Arc::clone(running.scope());
        let context = running.context();
        let result = work(Node { scope: Arc::clone(&scope) }).with_context(context).await;
        scope.queries_to_end(DROPPED_QUERIES_LIMIT).await;
        match &result {
            Ok(_) => running.succeed(),
            Err(error) => running.fail(std::any::type_name::<E>(), &format!("{error:#}")),
        }
        result
    }

    /// Runs code that belongs to the run but to no node, such as the setup of a session: with a span, and with the run's
    /// ids in its logs. The result passes through as it is; an error marks stage and run as failed.
    pub async fn stage<T, E, F>(&self, stage: &str, work: F) -> Result<T, E>
    where
        E: fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        let _stage = self.state.beat_in_stage(stage);
        let span = self.state.signals.span(names::span::STAGE).parent(&self.state.root.context).stage(stage);
        let result = in_span(span.start(), &self.state.policy, work).await;
        result.inspect_err(|error| self.fail(error))
    }

    /// Marks the run as failed for a reason that is no node's.
    pub fn fail(&self, reason: impl fmt::Display) {
        let reason = self.state.policy.capture_error(&format!("{reason:#}"));
        self.state.root.fail("Error", &reason);
        self.state.fail(reason);
    }

    /// Brings the signal files of the bundle up to this moment, with the state of the metrics, while the run goes on. False
    /// when that took longer than `otel.shutdown_seconds`.
    pub async fn snapshot(&self) -> bool {
        let state = Arc::clone(&self.state);
        let write = move || {
            state.signals.snapshot_metrics();
            state.signals.flush_files(state.telemetry.settings().otel.shutdown_timeout())
        };
        on_own_thread("daglight-snapshot", write).await.unwrap_or(false)
    }

    /// Ends the run: final states, delivery and export as far as the timeouts allow, manifest and report. Needs no
    /// particular runtime, and blocks none.
    pub async fn finish(mut self) -> FinishReport {
        self.finished = true;
        let state = Arc::clone(&self.state);
        match on_own_thread("daglight-finish", move || finish(&state)).await {
            Some(report) => report,
            None => finish(&self.state),
        }
    }

    /// As [`Run::finish`], for code that is not async. Do not call it on a thread of an async runtime.
    pub fn finish_blocking(mut self) -> FinishReport {
        self.finished = true;
        finish(&self.state)
    }

    /// What is known of a node that has started.
    pub fn node_record(&self, name: &str) -> Option<NodeRecord> {
        self.state.records().nodes.get(name).cloned()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let reason =
            if std::thread::panicking() { "the program panicked" } else { "the run was dropped unfinished" };
        self.fail(reason);
        let state = Arc::clone(&self.state);
        // On a thread of its own: this one may belong to a runtime, which blocking clients do not bear.
        let ending = std::thread::Builder::new().name("daglight-finish".into()).spawn(move || finish(&state));
        if let Ok(ending) = ending {
            let _ = ending.join();
        }
    }
}
