//! The telemetry around the code of one node.

use std::{sync::Arc, time::Instant};

use chrono::Utc;
use daglight_bundle_report::{NodeRecord, NodeStatus};
use daglight_heartbeat::TaskGuard;
use daglight_otel_bridge::{StageSpan, names::Key};
use daglight_tracker_client::{Attribute, AttributeKind, AttributeRole, Event, Outcome};
use opentelemetry::Context;

use crate::{
    attributes::attributes,
    log::{field, known, log},
    node_scope::NodeScope,
    run_error::RecordedError,
    run_state::RunState,
    trace_link::trace_link,
};

/// A node between its start and its end. Dropped before its end, by a panic or because the caller gave up, it ends as
/// a failure that says so.
pub(crate) struct NodeRun {
    scope: Arc<NodeScope>,
    span: Option<StageSpan>,
    started: Instant,
    /// Whether the tracker knows the node, and this is the first time it runs.
    tracked: bool,
    _task: Option<TaskGuard>,
}

impl NodeRun {
    pub(crate) fn start(state: &Arc<RunState>, name: &str) -> Self {
        let kind = state.dag.node(name).map(|node| node.kind);
        let first = !state.records().nodes.contains_key(name);
        if kind.is_none() {
            state.warn(format!(
                "node {name:?} is none of the DAG {}: the tracker cannot show it",
                state.dag.name()
            ));
        } else if !first {
            state.warn(format!("node {name:?} runs more than once: the tracker shows the first time"));
        }
        let tracked = kind.is_some() && first;
        let (scope, span) = NodeScope::start(Arc::clone(state), name.to_owned());
        if tracked {
            state.records().nodes.insert(name.to_owned(), record_of(state, name));
            if let Some(tracker) = &state.tracker {
                tracker.record(&Event::TaskStarted { node: name.to_owned(), time: Utc::now() });
            }
        }
        Self {
            scope,
            span: Some(span),
            started: Instant::now(),
            tracked,
            _task: state.beat_while_active(name),
        }
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

    fn end(&mut self, error: Option<&RecordedError>) {
        let Some(span) = self.span.take() else { return };
        let state = &self.scope.run;
        let elapsed = self.started.elapsed();
        let facts = self.scope.facts();
        if let Some(rows) = facts.rows {
            span.row_count(rows);
        }
        if let Some(schema) = &facts.schema {
            span.column_count(schema.fields().len() as u64);
        }
        if let Some(bytes) = facts.bytes {
            span.bytes(bytes);
        }
        if let Some(query) = facts.queries.last() {
            span.set(Key::PlanHash, state.policy.capture(query.plan_hash.as_str()));
            span.set(Key::SourceTables, state.policy.capture(query.source_tables.clone()));
            span.set(Key::QueryId, query.id);
        }
        if let Some(table) = &facts.table {
            span.set(Key::Table, state.policy.capture(table.as_str()));
        }
        let message = error.map(|error| state.policy.capture_error(&error.text()));
        {
            let _guard = span.context().attach();
            let node = state.policy.capture(self.scope.name.as_str());
            match (&message, error) {
                (Some(message), Some(error)) => {
                    span.fail(error.error_type, message);
                    log!(ERROR, "node failed", node = field(node), error = field(message));
                    let reason = format!("node {}: {}", self.scope.name, message.to_text());
                    state.fail(state.policy.capture(reason));
                }
                _ => log!(
                    INFO,
                    "node finished",
                    node = field(node),
                    rows = known(facts.rows),
                    elapsed_ms = field(elapsed.as_secs_f64() * 1e3),
                ),
            }
        }
        if self.tracked {
            let lines = error.map(RecordedError::lines);
            if let Some(tracker) = &state.tracker {
                let mut attributes =
                    attributes(&facts, lines.as_deref(), &state.policy, state.telemetry.registry());
                let link = trace_link(state.telemetry.settings(), &span, &state.policy);
                attributes.extend(link.map(|link| {
                    Attribute::new("trace", AttributeKind::Html, AttributeRole::ArtifactLink, link)
                }));
                tracker.record(&Event::TaskFinished {
                    node: self.scope.name.clone(),
                    time: Utc::now(),
                    status: if error.is_none() { Outcome::Success } else { Outcome::Failure },
                    attributes,
                });
            }
            let mut records = state.records();
            records.plans.insert(self.scope.name.clone(), facts.plan_hashes());
            if let Some(record) = records.nodes.get_mut(&self.scope.name) {
                record.status = if error.is_none() { NodeStatus::Success } else { NodeStatus::Failure };
                record.duration_ms = Some(elapsed.as_secs_f64() * 1e3);
                record.rows = facts.rows;
                record.bytes = facts.bytes;
                record.error = message.as_ref().map(|message| message.to_text());
            }
        }
        state.refresh_execution_run_id();
        span.end();
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

/// The record of a node that starts now.
fn record_of(state: &RunState, name: &str) -> NodeRecord {
    let node = state.dag.node(name);
    NodeRecord {
        name: name.to_owned(),
        kind: node.map_or("transform", |node| node.kind.name()).to_owned(),
        dependencies: node.map(|node| node.dependencies.clone()).unwrap_or_default(),
        status: NodeStatus::Unfinished,
        started_at: Some(Utc::now()),
        duration_ms: None,
        rows: None,
        bytes: None,
        error: None,
    }
}
