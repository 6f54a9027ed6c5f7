//! What is known of a node while it runs, and of the queries that outlive its code.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use daglight_capture_policy::{Captured, Policy};
use daglight_data_summary::DataSummary;
use daglight_materializers::{MATERIALIZATION_TAG, SourceFacts};
use daglight_otel_bridge::{
    StageSpan, StageSpanBuilder,
    names::{self, Key, key},
};
use daglight_plan_diagnostics::{Lineage, Polls};
use daglight_run_bundle::{Artifact, Materialization};
use daglight_run_identity::{Node, NodeKind, RunId};
use daglight_settings::OnStall;
use datafusion::arrow::datatypes::SchemaRef;
use opentelemetry::Context;

use crate::{
    lineage_datasets::ReadTable, location::shown_location, node_checks::NodeChecks, node_end::NodeEnd,
    node_marks::NodeMarks, node_queries::NodeQueries, node_stop::NodeStop, plan_picture::PlanPicture,
    preview::Preview, query_owner::QueryOwner, query_write::QueryWrite, run_state::RunState,
    secret_columns::SecretColumns, session_tables::QueryResult,
};

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
    facts: Mutex<NodeFacts>,
    open: Mutex<OpenQueries>,
    /// Of its span, without this node in it, which would keep itself alive.
    span: Context,
}

/// The queries of a node that have not ended, and the node's own end where it waits for them.
#[derive(Default)]
struct OpenQueries {
    count: usize,
    ending: Option<NodeEnd>,
}

/// The frame that a node hands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum HandedOut {
    /// None.
    #[default]
    Nothing,
    /// One that nobody has executed.
    Frame,
    /// One that was executed.
    Executed,
    /// One that nobody has executed, and that is not kept any longer.
    Forgotten,
}

/// What a node has done so far.
#[derive(Clone, Default)]
pub(crate) struct NodeFacts {
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// The table that it reads or registers, as the session calls it.
    pub(crate) table: Option<String>,
    pub(crate) schema: Option<SchemaRef>,
    /// Where its columns come from.
    pub(crate) lineage: Option<Arc<Lineage>>,
    pub(crate) summary: Option<DataSummary>,
    /// The columns of the summary and of the schema whose values are made of secret ones.
    pub(crate) secrets: Option<Arc<SecretColumns>>,
    /// Those of its queries that have any, by their logical hash.
    pub(crate) secrets_by_query: HashMap<String, Arc<SecretColumns>>,
    /// Its first rows, where the policy shows some.
    pub(crate) preview: Option<Arc<Preview>>,
    /// The plan of its slowest query.
    pub(crate) picture: Option<PlanPicture>,
    pub(crate) source: Option<SourceFacts>,
    /// The tables that its queries have read, where the events of OpenLineage tell of them.
    pub(crate) tables: BTreeMap<String, ReadTable>,
    /// What it has written, as it may be shown.
    pub(crate) artifacts: Vec<Artifact>,
    /// What its queries have written, as far as no artifact says so.
    pub(crate) writes: Vec<QueryWrite>,
    /// What its queries have returned, as far as it may be in a table now.
    pub(crate) results: Vec<QueryResult>,
    /// Whether its rows are those of a frame that it hands out, and not those of its last query.
    pub(crate) handed_out: HandedOut,
    pub(crate) queries: NodeQueries,
    /// What is expected of its rows, and what became of that.
    pub(crate) checks: NodeChecks,
    /// Values that the node's own code has recorded, by name.
    pub(crate) recorded: Vec<(String, Captured)>,
}

impl NodeScope {
    /// Starts a node, with its span.
    pub(crate) fn start(
        run: Arc<RunState>,
        name: String,
        attempt: u64,
        began: SystemTime,
    ) -> (Arc<Self>, StageSpan) {
        let node = run.context.dag.node(&name);
        let external_name = node.and_then(|node| node.tags.get("materialized_name")).unwrap_or(&name);
        let dataset = run.context.policy.capture(external_name.as_str());
        let stage = node.map_or("execute", stage_of);
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
            .into_iter()
            .fold(builder, |span, node| described(span, node, &run.context.policy))
            .start_at(began)
            .start();
        let code = node.and_then(|node| node.code.as_ref()).filter(|code| is_sql(&code.path));
        let is_scripted = code.is_some();
        let scope = Self {
            stage,
            dataset,
            sql: code.and_then(|code| run.context.policy.capture_sql(&code.text)),
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

    /// The context of the node's span, with this node in it.
    pub(crate) fn context(self: &Arc<Self>) -> Context {
        QueryOwner::Node(Arc::clone(self)).in_context(&self.span)
    }

    /// The context in which the calling code runs. Where that is not one of the node, as in a task that was spawned, the
    /// node's own.
    pub(crate) fn here(self: &Arc<Self>) -> Context {
        match QueryOwner::current() {
            // That one may be a span of the user's own inside the node, which is the better parent.
            Some(QueryOwner::Node(current)) if Arc::ptr_eq(&current, self) => Context::current(),
            _ => self.context(),
        }
    }

    pub(crate) fn facts(&self) -> MutexGuard<'_, NodeFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its work is given up when it stands still.
    pub(crate) fn is_given_up_on_stall(&self) -> bool {
        self.run.context.telemetry.settings().heartbeat.on_stall == OnStall::Cancel
    }

    pub(crate) fn query_started(&self) {
        self.progress.mark();
        self.open().count += 1;
    }

    pub(crate) fn query_ended(&self) {
        self.progress.mark();
        self.open().count -= 1;
        self.complete_if_done();
    }

    /// Keeps the end of a node whose queries go on, or whose frame was not executed, until that is done. It comes back where
    /// there is nothing to wait for.
    pub(crate) fn defer(&self, ending: NodeEnd) -> Option<NodeEnd> {
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

    fn is_done(&self, open: &OpenQueries) -> bool {
        // The locks are always taken in this order, the queries first and then the facts.
        open.count == 0 && self.facts().handed_out != HandedOut::Frame
    }

    /// Completes the node when its code and all of its queries have ended.
    pub(crate) fn complete_if_done(&self) {
        let mut open = self.open();
        let ending = if self.is_done(&open) { open.ending.take() } else { None };
        // Completing writes spans and the outbox, and asks for this lock again.
        drop(open);
        if let Some(ending) = ending {
            ending.complete(self);
        }
    }

    /// The node's frame is not kept any longer: the node does not wait for somebody to execute it.
    pub(crate) fn forget_frame(&self) {
        let mut facts = self.facts();
        if facts.handed_out == HandedOut::Frame {
            facts.handed_out = HandedOut::Forgotten;
        }
        drop(facts);
        self.complete_if_done();
    }

    /// Completes the node with what is known: the run ends.
    pub(crate) fn give_up(&self) {
        let ending = self.open().ending.take();
        if let Some(ending) = ending {
            ending.complete(self);
        }
    }

    fn open(&self) -> MutexGuard<'_, OpenQueries> {
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
