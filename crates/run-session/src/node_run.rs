//! The telemetry around the code of one node.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use chrono::{DateTime, Utc};
use daglight_bundle_report::{AttemptRecord, NodeRecord, NodeStatus};
use daglight_heartbeat::TaskGuard;
use daglight_otel_bridge::StageSpan;
use daglight_tracker_client::{Event, Outcome};
use opentelemetry::Context;

use crate::{
    log::{field, known, log},
    node_end::NodeEnd,
    node_scope::NodeScope,
    own_time::Own,
    run_error::RecordedError,
    run_state::{FailedPart, RunState},
};

/// Earlier attempts that are kept of a node, the last ones.
const MAX_ATTEMPTS: usize = 20;

/// A node between its start and its end. Dropped before its end, by a panic or because the caller gave up, it ends as
/// a failure that says so.
pub(crate) struct NodeRun {
    scope: Arc<NodeScope>,
    span: Option<StageSpan>,
    started: Instant,
    /// Whether the tracker knows the node.
    tracked: bool,
    attempt: u64,
    _task: Option<TaskGuard>,
}

impl NodeRun {
    pub(crate) fn start(state: &Arc<RunState>, name: &str) -> Self {
        let tracked = state.dag.node(name).is_some() && !state.has_ended();
        if state.has_ended() {
            state.warn(format!("node {name:?} runs after the end of its run: nothing of it is recorded"));
        } else if !tracked {
            state.warn(format!(
                "node {name:?} is not a node of the DAG {}: it stands in the trace, but the tracker cannot show it",
                state.dag.name()
            ));
        }
        let _own = state.own_time.measure(Own::Nodes);
        let (began, started) = (SystemTime::now(), Instant::now());
        let attempt = if tracked { begin_attempt(state, name, began.into()) } else { 1 };
        let (scope, span) = NodeScope::start(Arc::clone(state), name.to_owned(), attempt, began);
        if tracked && let Some(tracker) = &state.tracker {
            tracker.record(&Event::TaskStarted { node: name.to_owned(), time: began.into() });
        }
        Self { scope, span: Some(span), started, tracked, attempt, _task: state.beat_while_active(name) }
    }

    pub(crate) fn scope(&self) -> &Arc<NodeScope> {
        &self.scope
    }

    /// The context in which the node's code runs.
    pub(crate) fn context(&self) -> Context {
        self.scope.context()
    }

    pub(crate) fn succeed(mut self) {
        self.end(None);
    }

    pub(crate) fn fail(mut self, error: &RecordedError) {
        self.end(Some(error));
    }

    /// Ends the node. What its queries say of it follows when the last of them has ended, which mostly is now.
    fn end(&mut self, error: Option<&RecordedError>) {
        let Some(span) = self.span.take() else { return };
        let state = &self.scope.run;
        // What the node's code took is what the node took, in every place.
        let elapsed = self.started.elapsed();
        let _own = state.own_time.measure(Own::Nodes);
        let ended_at = span.started_at() + elapsed;
        let time = ended_at.into();
        let message = error.map(|error| state.policy.capture_error(&error.text()));
        {
            let _guard = span.context().attach();
            let node = state.policy.capture(self.scope.name.as_str());
            match (&message, error) {
                (Some(message), Some(error)) => {
                    let stack = state.policy.capture_stack(error.lines());
                    span.fail_with_stack(error.error_type, message, Some(&stack));
                    log!(ERROR, "node failed", node = field(node), error = field(message));
                    let reason = format!("node {}: {}", self.scope.name, message.to_text());
                    let part = FailedPart::Node(self.scope.name.clone());
                    if !self.is_overtaken() {
                        state.fail(part, state.policy.capture(reason));
                    }
                }
                _ => log!(
                    INFO,
                    "node finished",
                    node = field(node),
                    rows = known(self.scope.facts().rows),
                    elapsed_ms = field(elapsed.as_secs_f64() * 1e3),
                ),
            }
        }
        if self.tracked {
            let mut records = state.records();
            if let Some(record) = records.nodes.get_mut(&self.scope.name)
                && record.attempts == self.attempt
            {
                record.status = if error.is_none() { NodeStatus::Success } else { NodeStatus::Failure };
                record.duration_ms = Some(elapsed.as_secs_f64() * 1e3);
                record.error = message.as_ref().map(|message| message.to_text());
            }
        }
        let mut ending = NodeEnd {
            span,
            ended_at,
            time,
            outcome: if error.is_none() { Outcome::Success } else { Outcome::Failure },
            error: error.map(RecordedError::lines),
            tracked: self.tracked,
            attempt: self.attempt,
            sent: Vec::new(),
        };
        if self.scope.goes_on() {
            ending.announce(&self.scope);
        }
        match self.scope.defer(ending) {
            Some(ending) => ending.complete(&self.scope),
            // Nobody would end it later.
            None if state.has_ended() => self.scope.give_up(),
            None => state.await_node(&self.scope),
        }
    }

    /// Whether the node was started again before this attempt ended.
    fn is_overtaken(&self) -> bool {
        let records = self.scope.run.records();
        self.tracked && records.nodes.get(&self.scope.name).is_some_and(|node| node.attempts != self.attempt)
    }
}

impl Drop for NodeRun {
    fn drop(&mut self) {
        let error = match std::thread::panicking() {
            true => RecordedError::new("panic", "the node's code panicked"),
            false => RecordedError::new("cancelled", "the node was dropped before its end"),
        };
        self.end(Some(&error));
    }
}

/// Notes that a node starts; which time this is. The last attempt decides over node and run, what the earlier ones came to
/// is kept.
fn begin_attempt(state: &RunState, name: &str, started_at: DateTime<Utc>) -> u64 {
    let mut records = state.records();
    let Some(record) = records.nodes.get_mut(name) else {
        records.nodes.insert(name.to_owned(), record_of(state, name, started_at));
        return 1;
    };
    let earlier = AttemptRecord {
        attempt: record.attempts,
        status: record.status,
        started_at: record.started_at,
        duration_ms: record.duration_ms.take(),
        error: record.error.take(),
    };
    if record.earlier_attempts.len() == MAX_ATTEMPTS {
        record.earlier_attempts.remove(0);
    }
    let before = earlier.status;
    record.earlier_attempts.push(earlier);
    record.attempts += 1;
    record.status = NodeStatus::Unfinished;
    record.started_at = Some(started_at);
    (record.rows, record.bytes, record.recovered) = (None, None, false);
    let attempt = record.attempts;
    records.recover(name);
    drop(records);
    match before {
        NodeStatus::Success => {
            state.warn(format!("node {name:?} runs again after it has succeeded: the last time counts"));
        }
        NodeStatus::Unfinished => {
            state
                .warn(format!("node {name:?} runs twice at the same time: the one that started last counts"));
        }
        _ => {}
    }
    attempt
}

/// The record of a node that starts now.
fn record_of(state: &RunState, name: &str, started_at: DateTime<Utc>) -> NodeRecord {
    let node = state.dag.node(name);
    NodeRecord {
        name: name.to_owned(),
        kind: node.map_or("transform", |node| node.kind.name()).to_owned(),
        dependencies: node.map(|node| node.dependencies.clone()).unwrap_or_default(),
        status: NodeStatus::Unfinished,
        started_at: Some(started_at),
        duration_ms: None,
        rows: None,
        bytes: None,
        queries_summed: 0,
        error: None,
        attempts: 1,
        earlier_attempts: Vec::new(),
        recovered: false,
    }
}
