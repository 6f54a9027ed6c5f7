//! A node from the inside: what its own code can say and do.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use daglight_bundle_report::display::{bytes, exact_plural};
#[cfg(doc)]
use daglight_materializers::ChecksFailed;
use daglight_materializers::{Output, ParamTable, ParamTableError, StoredFiles, Written, source_facts};
use daglight_otel_bridge::{
    StageSpanBuilder,
    names::{self, Key},
};
use daglight_plan_diagnostics::{Lineage, SourceTable};
use daglight_run_bundle::WarningCode;
use datafusion::{
    arrow::datatypes::SchemaRef, common::TableReference, dataframe::DataFrame, error::DataFusionError,
    logical_expr::LogicalPlan, prelude::SessionContext,
};
use opentelemetry::{Context, context::FutureExt as _};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    beside_runtime::within, location::shown_location, node_facts::HandedOut, node_scope::NodeScope,
    own_time::Own, query_owner::QueryOwner, query_write::OutputWrites, run_error::RunError,
    run_state::RunState, stage::in_span,
};

/// How long it may take to ask a store for metadata, so that a slow one does not hold up the pipeline.
const METADATA_LIMIT: Duration = Duration::from_secs(2);

/// What could not be found out about a node in time, and why, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut(String);

/// A running node. Clones are the same node; it may be sent to other tasks.
#[derive(Clone)]
pub struct Node {
    pub(crate) scope: Arc<NodeScope>,
    pub(crate) run: Arc<RunState>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", &self.scope.name).finish_non_exhaustive()
    }
}

impl Node {
    /// The node's name.
    pub fn name(&self) -> &str {
        &self.scope.name
    }

    /// Runs a part of the node's work as a separate stage, such as `normalize`: with a span below that of the node. The
    /// result passes through as it is; an error marks the span as failed.
    pub async fn stage<T, E, F, Kind>(&self, stage: &str, work: F) -> Result<T, E>
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
    {
        // Until the work ends, however it ends.
        let _stage = self.run.beats.in_stage(stage);
        self.inside(self.span(names::span::STAGE).stage(stage), work).await
    }

    /// Runs one unit of the node's work, such as a file of many, as [`Node::stage`] does a stage.
    pub async fn task<T, E, F, Kind>(&self, task: &str, work: F) -> Result<T, E>
    where
        E: RunError<Kind>,
        F: Future<Output = Result<T, E>>,
    {
        // Names of tasks come from the program, and often carry what the task is about: a file, a customer.
        let task = self.scope.run.context.policy.capture(task);
        self.inside(self.span(names::span::TASK).stage(self.scope.stage).attribute(Key::Task, task), work)
            .await
    }

    fn span(&self, name: &'static str) -> StageSpanBuilder {
        self.scope.run.context.signals.span(name).parent(&self.scope.here()).node(self.name())
    }

    async fn inside<T, E: RunError<Kind>, Kind>(
        &self,
        span: StageSpanBuilder,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        in_span(span.start(), &self.scope.run.context.policy, |_| None, work).await
    }

    /// The OpenTelemetry context of the node, or of the stage of it that calls. What runs in it belongs to the node, as a
    /// thread does that has attached it: `let _guard = node.context().attach();`.
    pub fn context(&self) -> Context {
        self.scope.here()
    }

    /// Work that belongs to the node wherever it is polled, such as one that is given to a `JoinSet`.
    pub fn in_context<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        self.as_task(work)
    }

    /// Has work seen wherever it is polled. A spawned task has neither the span nor the owner of what spawned it: both are given
    /// along.
    fn as_task<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let task = self.scope.progress.task();
        let work = async move {
            let _task = task;
            work.await
        };
        QueryOwner::Node(Arc::clone(&self.scope)).follow(work).with_context(self.context())
    }

    /// As `tokio::spawn`, for work of the node.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::spawn` does.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let task = tokio::spawn(self.as_task(work));
        if self.scope.is_given_up_on_stall() {
            // Kept only where a stall is answered: the handles of a node that spawns a million tasks would be held
            // until its end.
            self.scope.stop.spawned(task.abort_handle());
        }
        task
    }

    /// As `tokio::task::spawn_blocking`, for work of the node.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as `tokio::task::spawn_blocking` does.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let context = self.context();
        let scope = Arc::clone(&self.scope);
        tokio::task::spawn_blocking(move || {
            let _guard = context.attach();
            // Blocking work is one long poll. It counts as work of the node, which a stall must not be seen in.
            let _polling = scope.polls.begin_blocking();
            work()
        })
    }

    /// Says that the node moves, where no query shows it: a file of many was fetched, or a message was handled. Without this a
    /// node that waits for something outside of its queries counts as stalled after `heartbeat.stall_seconds`.
    ///
    /// ```
    /// # use daglight_run_session::Node;
    /// # async fn fetch(_: &str) -> Result<(), std::io::Error> { Ok(()) }
    /// async fn files(node: Node) -> Result<(), std::io::Error> {
    ///     for file in ["orders.csv", "lines.csv"] {
    ///         fetch(file).await?;
    ///         node.mark_progress();
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn mark_progress(&self) {
        self.scope.progress.mark();
    }

    /// Says after which time without progress this node counts as stalled, in place of `heartbeat.stall_seconds`.
    pub fn stall_after(&self, time: Duration) {
        self.scope.progress.set_stall_after(time);
    }

    /// Says that the node stands for a frame, which it hands out: the frame's columns are the node's, and its rows and data
    /// summary when somebody executes it as it is, by collecting or writing it, also after the end of the node. Queries that
    /// the node makes in passing, such as a `count()`, are not taken for its result.
    ///
    /// ```
    /// # use daglight_run_session::Node;
    /// # use datafusion::{error::Result, prelude::{DataFrame, SessionContext}};
    /// async fn late(node: Node, ctx: &SessionContext) -> Result<DataFrame> {
    ///     let late = ctx.sql("SELECT * FROM orders WHERE slack < 2").await?;
    ///     node.frame(&late);
    ///     Ok(late)
    /// }
    /// ```
    pub fn frame(&self, frame: &DataFrame) {
        let plan = frame.logical_plan();
        let mut facts = self.scope.facts();
        facts.schema = Some(Arc::clone(plan.schema().inner()));
        facts.handed_out = HandedOut::Frame;
        // They are those of an earlier result, which this frame replaces.
        (facts.rows, facts.bytes, facts.summary) = (None, None, None);
        drop(facts);
        // No matter who executes it, and when: the query belongs to this node.
        self.run.frames.add(plan.clone(), &self.scope);
    }

    /// Says that the node has defined a view by this plan: where its columns come from, which no query shows until somebody
    /// reads it.
    pub fn view(&self, plan: &LogicalPlan) {
        let mut facts = self.scope.facts();
        facts.lineage = Some(Arc::new(Lineage::of(plan)));
        if self.scope.run.context.lineage.is_some() {
            facts.note_tables(&SourceTable::read_by(plan));
        }
    }

    /// Records a custom value; the page shows it with the node's results. It passes the capture policy.
    pub fn record(&self, name: impl Into<String>, value: impl Into<Value>) {
        let name = name.into();
        let captured = self.scope.run.context.policy.capture_named(&name, value);
        self.scope.facts().recorded.push((name, captured));
    }

    /// Records the value that the node stands for, an input or a parameter, where the policy shows those.
    pub fn input(&self, value: impl Into<Value>) {
        let captured = self.scope.run.context.policy.capture_input(self.name(), value);
        self.scope.facts().recorded.push(("value".to_owned(), captured));
    }

    /// Says which columns the node returns, where no query shows it.
    pub fn schema(&self, schema: SchemaRef) {
        self.scope.facts().schema = Some(schema);
    }

    /// Says how many rows the node returns, where no query shows it.
    pub fn row_count(&self, rows: u64) {
        self.scope.facts().rows = Some(rows);
    }

    /// Writes a frame to an output, summarises its rows in the same pass, and records the artifact.
    ///
    /// # Errors
    /// Those of the query and of the output, and [`ChecksFailed`] where one of the node's checks does not hold for what was
    /// written, which stays.
    pub async fn materialize(
        &self,
        session: &SessionContext,
        frame: DataFrame,
        output: impl Output,
    ) -> Result<Written, DataFusionError> {
        // The output says what it has written; the queries by which it does need not.
        let here = self.context().with_value(OutputWrites);
        let written = output.write(session, frame).with_context(here).await?;
        self.written(written.clone());
        // What is in files has passed, and would have to be read again.
        let output = written.location.is_none().then(|| TableReference::parse_str(&written.name));
        self.verify(session, output).await.map_err(|failed| DataFusionError::External(Box::new(failed)))?;
        Ok(written)
    }

    /// Registers a set of parameters as a table, and records it as an artifact.
    ///
    /// # Errors
    /// When its file cannot be read, or the session takes no such table.
    pub async fn register_params(
        &self,
        session: &SessionContext,
        params: &ParamTable,
    ) -> Result<Written, ParamTableError> {
        let written = params.register(session).await?;
        self.written(written.clone());
        Ok(written)
    }

    /// Records an artifact that was written by other means.
    pub fn written(&self, written: Written) {
        let plan_signature = self.scope.facts().queries.plan_signature();
        self.scope.remember_secrets(&written, plan_signature.as_deref());
        let artifact = self.scope.run.add_output(&self.scope.name, written.clone(), plan_signature);
        let mut facts = self.scope.facts();
        // It was noticed as a query that writes; what the program says of it is the better of the two.
        facts.writes.retain(|write| !write.is(&written));
        facts.schema = Some(Arc::clone(&written.schema));
        if written.location.is_none() {
            facts.table = Some(written.name.clone());
        }
        // An output that does not count leaves what is known from the queries.
        facts.rows = written.rows.or(facts.rows);
        facts.bytes = written.bytes.or(facts.bytes);
        facts.artifacts.push(artifact);
    }

    /// Records what the metadata of a registered table's files say. Reads no rows; what takes longer than two seconds
    /// or fails is left out with a warning.
    pub async fn source(&self, session: &SessionContext, table: &str) {
        let found = source_facts(session, table);
        let source = match self.in_time(&format!("the metadata of {table}"), found).await {
            Ok(source) => source,
            Err(left_out) => return self.left_out(&left_out),
        };
        let mut facts = self.scope.facts();
        facts.table = Some(table.to_owned());
        facts.schema = Some(Arc::clone(&source.schema));
        facts.rows = source.rows;
        facts.bytes = source.files.as_ref().map(|files| files.bytes());
        facts.source = Some(source);
    }

    /// As [`Node::source`], of a table that stands for files that the node has written, where no query has seen the rows.
    pub async fn written_files(&self, session: &SessionContext, table: &str) {
        match self.in_time("the metadata of the written files", source_facts(session, table)).await {
            Ok(source) => self.scope.facts().source = Some(source),
            Err(left_out) => self.left_out(&left_out),
        }
    }

    /// The files at a location, to be compared with what lies there later.
    ///
    /// # Errors
    /// When that takes longer than two seconds or fails. It is for [`Node::left_out`], unless the node fails for the same reason.
    pub async fn files_at(&self, session: &SessionContext, location: &str) -> Result<StoredFiles, LeftOut> {
        let shown = shown_location(location, &self.scope.run.context.policy);
        let what = shown.map_or_else(|| "the files".to_owned(), |shown| format!("the files of {shown}"));
        self.in_time(&what, StoredFiles::at(session, location)).await
    }

    async fn in_time<T>(
        &self,
        what: &str,
        found: impl Future<Output = Result<T, DataFusionError>>,
    ) -> Result<T, LeftOut> {
        // The time that a catalog or a store takes to answer is spent for us, and not by the node.
        let asking = self.scope.run.own_time.measure(Own::Metadata);
        let found = within(METADATA_LIMIT, found).await;
        drop(asking);
        let why = match found {
            Some(Ok(found)) => return Ok(found),
            Some(Err(error)) => {
                self.scope.run.context.policy.capture_error(&error.strip_backtrace()).to_text()
            }
            None => format!("not known within {METADATA_LIMIT:?}"),
        };
        Err(LeftOut(format!("{what} are left out: {why}")))
    }

    /// Warns of files that were at `location` before the node wrote there, and that every reader of the folder reads, too.
    pub fn stayed_beside(&self, location: &str, files: &StoredFiles) {
        let shown = shown_location(location, &self.scope.run.context.policy);
        let place = shown.as_deref().unwrap_or("its folder");
        let warning = format!(
            "node {}: {place} held {} ({}) before, which COPY keeps: whoever reads the folder reads old and new rows; to replace \
             the old ones, delete them first, or write to another folder",
            self.name(),
            exact_plural(files.count(), "file"),
            bytes(files.bytes())
        );
        self.scope.run.log.warn(WarningCode::FilesBefore, warning);
    }

    /// Warns of what is not recorded of the node.
    pub fn left_out(&self, what: &LeftOut) {
        let warning = format!("node {}: {}", self.name(), what.0);
        self.scope.run.log.warn(WarningCode::FactsLeftOut, warning);
    }
}
