//! The spans of what this machine executes for the queries of others.

use std::{
    collections::VecDeque,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use daglight_capture_policy::Policy;
use daglight_otel_bridge::{
    Bridge, RunScope, RunSignals, SpanStatus,
    names::{self, Key},
};
use daglight_plan_diagnostics::{
    MeasuredTask, QueryOutcome, RemoteTask, RemoteTaskListener, StoreObserver, TaskListener,
};
use daglight_run_identity::RunId;

use crate::{
    operator_spans::{OperatorsOf, show_measured_operators},
    storage::QueryStorage,
    telemetry::Telemetry,
    travelling::decoded,
};

/// Runs of other machines whose signals are kept ready. Those of earlier ones are made anew.
const MAX_RUNS: usize = 16;

/// Makes spans of tasks that this machine executes for runs of others, in their traces: a span of the task, with its requests to object
/// stores, and below it one of each operator. They go where the `OTEL_*` variables of this process say; nothing is written to files.
pub struct WorkerTelemetry(Arc<Shared>);

struct Shared {
    bridge: Bridge,
    policy: Policy,
    operator_spans: bool,
    runs: Mutex<VecDeque<(RunId, RunSignals)>>,
}

impl fmt::Debug for WorkerTelemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerTelemetry").finish_non_exhaustive()
    }
}

impl WorkerTelemetry {
    /// With the providers and the policy of `telemetry`, whose shutdown ends the exports.
    pub fn new(telemetry: &Telemetry) -> Self {
        Self(Arc::new(Shared {
            bridge: telemetry.bridge().clone(),
            policy: telemetry.policy().clone(),
            operator_spans: telemetry.settings().otel.operator_spans,
            runs: Mutex::default(),
        }))
    }
}

impl RemoteTaskListener for WorkerTelemetry {
    fn listen(&self, task: RemoteTask) -> Option<Arc<dyn TaskListener>> {
        let header = |wanted: &str| header(&task, wanted);
        let run_id = header("x-daglight-run")?.parse().ok()?;
        let dag_name = decoded(header("x-daglight-dag")?).parse().ok()?;
        let scope = RunScope::new(run_id, dag_name, None, PathBuf::new());
        Some(Arc::new(WatchedTask { of: Arc::clone(&self.0), scope, task, storage: Arc::default() }))
    }
}

fn header<'t>(task: &'t RemoteTask, wanted: &str) -> Option<&'t str> {
    task.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
}

impl Shared {
    /// The signals of a run of another machine.
    fn signals(&self, scope: &RunScope) -> RunSignals {
        let run_id = scope.run_id;
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, signals)) = runs.iter().find(|(known, _)| *known == run_id) {
            return signals.clone();
        }
        let signals = self.bridge.open_run(scope.clone());
        runs.push_back((run_id, signals.clone()));
        let over = if runs.len() > MAX_RUNS { runs.pop_front() } else { None };
        drop(runs);
        if let Some((_, signals)) = over {
            signals.finish(Duration::ZERO);
        }
        signals
    }
}

/// A task of a run of another machine.
struct WatchedTask {
    of: Arc<Shared>,
    scope: RunScope,
    task: RemoteTask,
    storage: Arc<QueryStorage>,
}

impl TaskListener for WatchedTask {
    fn stores(&self) -> Option<Arc<dyn StoreObserver>> {
        Some(self.storage.observer())
    }

    fn ended(&self, measured: MeasuredTask) {
        let Self { of, scope, task, storage } = self;
        let signals = of.signals(scope);
        let headers = task.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let parent = of.bridge.parent_of(headers).unwrap_or_default();
        let node = header(task, "x-daglight-node").map(decoded);
        let query_id = header(task, "x-daglight-query").and_then(|id| id.parse::<u64>().ok());
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
        let storage = storage.take();
        storage.count(signals.metrics());
        storage.show(&span);
        match &measured.outcome {
            QueryOutcome::Failed { message } => {
                span.fail("DataFusionError", &of.policy.capture_error(message));
            }
            QueryOutcome::Panicked => span.fail("panic", &of.policy.capture("a thread of the task panicked")),
            QueryOutcome::Cancelled => span.finish_as(SpanStatus::Cancelled),
            _ => {}
        }
        if of.operator_spans {
            let operators =
                OperatorsOf { signals: &signals, policy: &of.policy, node: node.as_deref(), query_id };
            show_measured_operators(&operators, &span.context(), &measured.operators);
        }
        span.end_at(measured.ended_at);
    }
}
