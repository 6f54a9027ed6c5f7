//! What is known of a node while it runs, and which node a query belongs to.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use daglight_bundle_report::Artifact;
use daglight_capture_policy::{Captured, Policy};
use daglight_materializers::{DataSummary, SourceFacts};
use daglight_otel_bridge::{
    StageSpan, StageSpanBuilder,
    names::{self, Key, key},
};
use daglight_run_identity::{Node, NodeKind};
use datafusion::arrow::datatypes::SchemaRef;
use opentelemetry::Context;
use tokio::sync::Notify;

use crate::{beside_runtime::within, location::shown_location, run_state::RunState};

/// A node that runs. Its OpenTelemetry context holds it, so that queries planned inside find it.
pub(crate) struct NodeScope {
    pub(crate) run: Arc<RunState>,
    pub(crate) name: String,
    /// What its work is to the run, such as `extract` or `write`.
    pub(crate) stage: &'static str,
    /// The stable external name of what it makes.
    pub(crate) dataset: Captured,
    /// The SQL of the node, where that is its code.
    pub(crate) sql: Option<Captured>,
    facts: Mutex<NodeFacts>,
    open_queries: AtomicUsize,
    query_ended: Notify,
    /// Of its span, without this node in it, which would keep itself alive.
    span: Context,
}

/// What a node has done so far.
#[derive(Default)]
pub(crate) struct NodeFacts {
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// The table that it reads or registers, as the session calls it.
    pub(crate) table: Option<String>,
    pub(crate) schema: Option<SchemaRef>,
    pub(crate) summary: Option<DataSummary>,
    pub(crate) source: Option<SourceFacts>,
    /// What it has written, as it may be shown.
    pub(crate) artifacts: Vec<Artifact>,
    pub(crate) queries: Vec<QueryFacts>,
    /// Values that the node's own code has recorded, by name.
    pub(crate) recorded: Vec<(String, Captured)>,
}

impl NodeFacts {
    /// The plan hashes of the queries that have ended, in the order in which they were planned.
    pub(crate) fn plan_hashes(&self) -> Vec<String> {
        let mut queries: Vec<&QueryFacts> = self.queries.iter().collect();
        queries.sort_by_key(|query| query.id);
        queries.into_iter().map(|query| query.plan_hash.clone()).collect()
    }
}

/// A query that has ended in a node.
#[derive(Clone)]
pub(crate) struct QueryFacts {
    pub(crate) id: u64,
    pub(crate) operation: String,
    pub(crate) outcome: &'static str,
    pub(crate) is_write: bool,
    pub(crate) rows: u64,
    pub(crate) bytes_written: Option<u64>,
    pub(crate) bytes_scanned: Option<u64>,
    pub(crate) planning: Duration,
    pub(crate) wall_time: Duration,
    pub(crate) plan_hash: String,
    pub(crate) source_tables: Vec<String>,
    pub(crate) busiest: Vec<(String, Duration)>,
    /// The plan bundle's file, relative to the bundle.
    pub(crate) plan_file: Option<String>,
}

/// Marks the node in an OpenTelemetry context.
struct CurrentNode(Arc<NodeScope>);

impl NodeScope {
    /// Starts a node, with its span.
    pub(crate) fn start(run: Arc<RunState>, name: String) -> (Arc<Self>, StageSpan) {
        let node = run.dag.node(&name);
        let external_name = node.and_then(|node| node.tags.get("materialized_name")).unwrap_or(&name);
        let dataset = run.policy.capture(external_name.as_str());
        let stage = node.map_or("execute", stage_of);
        let builder = run.signals.span(names::span::NODE).parent(&run.root.context).node(&name).stage(stage);
        let builder = builder.attribute(Key::Dataset, dataset.clone());
        let span = node.into_iter().fold(builder, |span, node| described(span, node, &run.policy)).start();
        let code = node.and_then(|node| node.code.as_ref()).filter(|code| is_sql(&code.path));
        let scope = Self {
            stage,
            dataset,
            sql: code.and_then(|code| run.policy.capture_sql(&code.text)),
            span: span.context(),
            run,
            name,
            facts: Mutex::default(),
            open_queries: AtomicUsize::new(0),
            query_ended: Notify::new(),
        };
        (Arc::new(scope), span)
    }

    /// The context of the node's span, with this node in it.
    pub(crate) fn context(self: &Arc<Self>) -> Context {
        self.span.with_value(CurrentNode(Arc::clone(self)))
    }

    /// The context in which the calling code runs. Where that is none of the node, as in a task that was spawned, the
    /// node's own.
    pub(crate) fn here(self: &Arc<Self>) -> Context {
        match Self::current() {
            Some(current) if Arc::ptr_eq(&current, self) => Context::current(),
            _ => self.context(),
        }
    }

    /// The node that the current task runs, if it runs one.
    pub(crate) fn current() -> Option<Arc<Self>> {
        Context::map_current(|context| context.get::<CurrentNode>().map(|current| Arc::clone(&current.0)))
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, NodeFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn query_started(&self) {
        self.open_queries.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn query_ended(&self) {
        self.open_queries.fetch_sub(1, Ordering::AcqRel);
        self.query_ended.notify_waiters();
    }

    /// Waits for queries that were dropped before their end: their partitions stop on threads of the runtime a moment
    /// later. Never longer than `limit`.
    pub(crate) async fn queries_to_end(&self, limit: Duration) {
        let all_ended = async {
            loop {
                let next = self.query_ended.notified();
                if self.open_queries.load(Ordering::Acquire) == 0 {
                    return;
                }
                next.await;
            }
        };
        // A query that takes longer is reported when it ends.
        let _ = within(limit, all_ended).await;
    }
}

/// The span with what the DAG says of the node.
fn described(span: StageSpanBuilder, node: &Node, policy: &Policy) -> StageSpanBuilder {
    let span = span.node_kind(node.kind);
    let Some(code) = &node.code else { return span };
    let span = span.attribute(key::CODE_LINE_NUMBER, code.first_line as u64);
    match shown_location(&code.path, policy) {
        Some(path) => span.attribute(key::CODE_FILE_PATH, policy.capture(path)),
        None => span,
    }
}

fn stage_of(node: &Node) -> &'static str {
    let materialization = node.tags.get("materialization").map(String::as_str);
    match (node.kind, materialization) {
        (NodeKind::DataLoader, _) => "extract",
        (NodeKind::DataSaver, _) => "write",
        (NodeKind::Input, _) | (_, Some("view")) => "register",
        (NodeKind::Transform, _) => "execute",
    }
}

fn is_sql(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql"))
}

/// The nodes of the queries that run, by query id. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct QueryOwners(Arc<Mutex<HashMap<u64, String>>>);

impl QueryOwners {
    pub(crate) fn insert(&self, query_id: u64, node: String) {
        self.lock().insert(query_id, node);
    }

    pub(crate) fn remove(&self, query_id: u64) {
        self.lock().remove(&query_id);
    }

    pub(crate) fn node_of(&self, query_id: u64) -> Option<String> {
        self.lock().get(&query_id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
