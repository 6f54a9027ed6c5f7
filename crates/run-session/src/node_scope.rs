//! What is known of a node while it runs, and of the queries that outlive its code.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use daglight_capture_policy::{Captured, Policy};
use daglight_materializers::MATERIALIZATION_TAG;
use daglight_otel_bridge::{
    StageSpan, StageSpanBuilder,
    names::{self, Key, key},
};
use daglight_plan_diagnostics::Polls;
use daglight_run_bundle::Materialization;
use daglight_run_identity::{Node, NodeKind, RunId};
use daglight_settings::OnStall;
use opentelemetry::Context;

use crate::{
    location::shown_location,
    node_facts::{GatheredFacts, HandedOut},
    node_marks::NodeMarks,
    node_outcome::NodeOutcome,
    node_stop::NodeStop,
    run_core::RunCore,
};

/// A node that runs. Its OpenTelemetry context holds it, so that queries planned inside find it.
pub(crate) struct NodeScope {
    pub(crate) run: Arc<RunCore>,
    pub(crate) name: String,
    /// What its work is to the run, such as `extract` or `write`.
    pub(crate) stage: &'static str,
    /// The stable external name of what it makes.
    pub(crate) dataset: Captured,
    /// The SQL of the node, where that is its code.
    pub(crate) sql: Option<Arc<Captured>>,
    /// Whether its code is a script, whose front-end says itself what it writes.
    pub(crate) is_scripted: bool,
    /// Those of its code, and of the tasks that its queries spawn.
    pub(crate) polls: Polls,
    /// What its code says of its progress.
    pub(crate) progress: NodeMarks,
    /// Ends its code where it makes none.
    pub(crate) stop: NodeStop,
    /// What this execution of it is called in the events of OpenLineage.
    pub(crate) lineage_id: RunId,
    facts: Mutex<GatheredFacts>,
    open: Mutex<PendingQueries>,
    /// The context of its span, without this node in it, which would keep itself alive.
    pub(crate) span: Context,
}

/// The queries of a node that have not ended, and the node's own end where it waits for them.
#[derive(Default)]
struct PendingQueries {
    count: usize,
    ending: Option<NodeOutcome>,
}

impl NodeScope {
    /// Starts a node, with its span.
    pub(crate) fn start(
        run: Arc<RunCore>,
        name: String,
        attempt: u64,
        began: SystemTime,
    ) -> (Arc<Self>, StageSpan) {
        let node = run.context.dag.node(&name);
        let external_name =
            node.as_ref().and_then(|node| node.tags.get("materialized_name")).unwrap_or(&name);
        let dataset = run.context.policy.capture(external_name.as_str());
        let stage = node.as_ref().map_or("execute", stage_of);
        let builder = run
            .context
            .signals
            .span(names::span::NODE)
            .parent(&run.context.root.context)
            .node(&name)
            .stage(stage);
        let mut builder = builder.attribute(Key::Dataset, dataset.clone());
        if attempt > 1 {
            builder = builder.attribute(Key::Attempt, attempt);
        }
        let span = node
            .iter()
            .fold(builder, |span, node| described(span, node, &run.context.policy))
            .start_at(began)
            .start();
        let code = node.as_ref().and_then(|node| node.code.as_ref()).filter(|code| is_sql(&code.path));
        let is_scripted = code.is_some();
        let scope = Self {
            stage,
            dataset,
            sql: code.and_then(|code| run.context.policy.capture_sql(&code.text)).map(Arc::new),
            // Taken before the node is in any context: a context that holds this scope, and is held by it, would
            // keep both for ever.
            span: span.context(),
            run,
            name,
            is_scripted,
            polls: Polls::default(),
            progress: NodeMarks::default(),
            lineage_id: RunId::new(),
            stop: NodeStop::default(),
            facts: Mutex::default(),
            open: Mutex::default(),
        };
        (Arc::new(scope), span)
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, GatheredFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its work is given up when it stands still.
    pub(crate) fn is_given_up_on_stall(&self) -> bool {
        self.run.context.settings().heartbeat.on_stall == OnStall::Cancel
    }

    pub(crate) fn query_started(&self) {
        self.progress.mark();
        self.open().count += 1;
    }

    /// One of its queries has ended. The end of the node, where that was the last thing it waited for.
    pub(crate) fn query_over(&self) -> Option<NodeOutcome> {
        self.progress.mark();
        self.open().count -= 1;
        self.take_if_done()
    }

    /// The end of the node, where its code and all of its queries have ended.
    pub(crate) fn take_if_done(&self) -> Option<NodeOutcome> {
        let mut open = self.open();
        if self.is_done(&open) { open.ending.take() } else { None }
    }

    /// The end of the node, whatever it waits for.
    pub(crate) fn take_ending(&self) -> Option<NodeOutcome> {
        self.open().ending.take()
    }

    /// Keeps the end of a node whose queries go on, or whose frame was not executed, until that is done. It comes back where
    /// there is nothing to wait for.
    pub(crate) fn defer(&self, ending: NodeOutcome) -> Option<NodeOutcome> {
        let mut open = self.open();
        // Decided and kept under one lock: a query that ends in between would look for an end that is not there yet,
        // and the node would wait until the run ends.
        if self.is_done(&open) {
            return Some(ending);
        }
        open.ending = Some(ending);
        None
    }

    /// Whether something is to be expected of the node after the end of its code.
    pub(crate) fn goes_on(&self) -> bool {
        !self.is_done(&self.open())
    }

    fn is_done(&self, open: &PendingQueries) -> bool {
        // The locks are always taken in this order, the queries first and then the facts.
        open.count == 0 && self.facts().handed_out != HandedOut::Frame
    }

    fn open(&self) -> MutexGuard<'_, PendingQueries> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
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
    let materialization = node.tags.get(MATERIALIZATION_TAG).map(|name| Materialization::from_name(name));
    match (node.kind, materialization) {
        (NodeKind::DataLoader, _) => "extract",
        (NodeKind::DataSaver, _) => "write",
        (NodeKind::Input, _) | (_, Some(Materialization::View)) => "register",
        (NodeKind::Transform, _) => "execute",
    }
}

fn is_sql(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql"))
}
