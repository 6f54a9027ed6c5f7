//! The spans of what this machine executes for the queries of others.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use daglight_capture_policy::Policy;
use daglight_otel_bridge::{
    Bridge, RunScope, RunSignals, SpanStatus,
    names::{self, Key},
};
use daglight_plan_diagnostics::{QueryOutcome, RemoteTask, RemoteTaskListener};

use crate::{
    operator_spans::{OperatorsOf, show_measured_operators},
    telemetry::Telemetry,
    travelling::decoded,
};

/// Runs of other machines whose signals are kept ready. Those of earlier ones are made anew.
const MAX_RUNS: usize = 16;

/// Makes spans of tasks that this machine executes for runs of others, in their traces: a span of the task, and below it one of
/// each operator. They go where the `OTEL_*` variables of this process say; nothing is written to files.
pub struct WorkerTelemetry {
    bridge: Bridge,
    policy: Policy,
    operator_spans: bool,
    runs: Mutex<VecDeque<(String, RunSignals)>>,
}

impl std::fmt::Debug for WorkerTelemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerTelemetry").finish_non_exhaustive()
    }
}

impl WorkerTelemetry {
    /// With the providers and the policy of `telemetry`, whose shutdown ends the exports.
    pub fn new(telemetry: &Telemetry) -> Self {
        Self {
            bridge: telemetry.bridge().clone(),
            policy: telemetry.policy().clone(),
            operator_spans: telemetry.settings().otel.operator_spans,
            runs: Mutex::default(),
        }
    }

    /// The signals of a run of another machine; `None` where the task does not say of which.
    fn signals(&self, run_id: &str, dag_name: &str) -> Option<RunSignals> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, signals)) = runs.iter().find(|(known, _)| known == run_id) {
            return Some(signals.clone());
        }
        let scope =
            RunScope::new(run_id.parse().ok()?, decoded(dag_name).parse().ok()?, None, PathBuf::new());
        let signals = self.bridge.open_run(scope);
        runs.push_back((run_id.to_owned(), signals.clone()));
        let over = if runs.len() > MAX_RUNS { runs.pop_front() } else { None };
        drop(runs);
        if let Some((_, signals)) = over {
            signals.finish(Duration::ZERO);
        }
        Some(signals)
    }
}

impl RemoteTaskListener for WorkerTelemetry {
    fn executed(&self, task: RemoteTask) {
        let header = |wanted: &str| {
            task.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
        };
        let Some(run_id) = header("x-daglight-run") else { return };
        let Some(signals) = self.signals(run_id, header("x-daglight-dag").unwrap_or_default()) else {
            return;
        };
        let headers = task.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let parent = self.bridge.parent_of(headers).unwrap_or_default();
        let node = header("x-daglight-node").map(decoded);
        let query_id = header("x-daglight-query").and_then(|id| id.parse::<u64>().ok());
        let measured = &task.measured;
        let mut span = signals
            .span(names::span::CLUSTER_TASK)
            .parent(&parent)
            .stage("execute")
            .attribute(Key::ClusterTask, task.task)
            .start_at(measured.started_at);
        if let Some(stage) = task.stage {
            span = span.attribute(Key::ClusterStage, stage);
        }
        if let Some(query_id) = query_id {
            span = span.attribute(Key::QueryId, query_id);
        }
        if let Some(node) = &node {
            span = span.node(node.as_str());
        }
        let span = span.start();
        span.set(Key::RowCount, measured.rows);
        match &measured.outcome {
            QueryOutcome::Failed { message } => {
                span.fail("DataFusionError", &self.policy.capture_error(message));
            }
            QueryOutcome::Panicked => {
                span.fail("panic", &self.policy.capture("a thread of the task panicked"))
            }
            QueryOutcome::Cancelled => span.finish_as(SpanStatus::Cancelled),
            _ => {}
        }
        if self.operator_spans {
            let of = OperatorsOf { signals: &signals, policy: &self.policy, node: node.as_deref(), query_id };
            show_measured_operators(&of, &span.context(), &measured.operators);
        }
        span.end_at(measured.ended_at);
    }
}
