//! Running one statement.

use std::{sync::Arc, time::Instant};

use daglight_materializers::Materialization;
use daglight_run_session::{Node, ParsedStatement};
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    execution::context::SessionContext,
    logical_expr::{DdlStatement, LogicalPlan},
    physical_plan::execute_stream,
};
use futures::{
    TryStreamExt,
    lock::{Mutex, MutexGuard},
};

use crate::{
    effect::{Effect, Existing},
    elsewhere::{summarise, unseen_rows},
    expectations::StepError,
    kind::StatementKind,
    pipeline::{Pipeline, Step},
    recorded::{Target, record},
    run_options::{PipelineEvent, RowsWanted, RunScriptOptions},
    shown_rows::{Cells, ShownRows},
    statement::Statement,
    stored_table::StoredTable,
    unwritten::with_answer_of_store,
};

/// The destination of the rows of a statement.
pub(crate) struct RowsOut<'a> {
    options: &'a RunScriptOptions<'a>,
    /// The holder writes its rows while the others wait, because rows of two queries must not be mixed.
    turn: Mutex<()>,
}

impl<'a> RowsOut<'a> {
    pub(crate) fn new(options: &'a RunScriptOptions<'a>) -> Self {
        Self { options, turn: Mutex::new(()) }
    }

    /// Begins streaming the rows of a query. `None` if streaming was not requested.
    async fn begin(&self, node: Option<&Node>, schema: &SchemaRef) -> Option<Streaming<'_>> {
        let RowsWanted::Streamed { most } = self.options.rows else { return None };
        let turn = self.turn.lock().await;
        (self.options.on_event)(PipelineEvent::RowsStarted { node: node.map(Node::name), schema });
        Some(Streaming { options: self.options, left: most.unwrap_or(usize::MAX), _turn: turn })
    }
}

struct Streaming<'a> {
    options: &'a RunScriptOptions<'a>,
    left: usize,
    _turn: MutexGuard<'a, ()>,
}

impl Streaming<'_> {
    fn batch(&mut self, batch: &RecordBatch) {
        let rows = batch.num_rows().min(self.left);
        if rows > 0 {
            self.left -= rows;
            (self.options.on_event)(PipelineEvent::RowsBatch { batch: &batch.slice(0, rows) });
        }
    }

    fn end(self) {
        (self.options.on_event)(PipelineEvent::RowsEnded);
    }
}

impl Pipeline {
    /// Plans and runs the statement of a step. The returned rows are those of a query, an `EXPLAIN` or a `SHOW`.
    pub(crate) async fn run_statement(
        &self,
        step: &Step,
        session: &SessionContext,
        node: Option<&Node>,
        rows_out: &RowsOut<'_>,
    ) -> Result<Option<ShownRows>, StepError> {
        let statement = self.statement(step);
        let parsing = Instant::now();
        let plan = rows_out.options.with_reset_value(self.plan(step, session).await?);
        let mut is_checked = statement.checks.is_empty() || self.check_columns(step, session, &plan)?;
        // Before anything of it is planned, so that the query finds them.
        if let Some(node) = node {
            self.expect_rows(step, node, session);
        }
        let parsed = ParsedStatement(parsing.elapsed());
        let is_kept = keeps_what_is_there(statement, session);
        let (plan, stored) = match rows_out.options.scratch {
            Some(folder) => match StoredTable::of(plan, folder, self.script(), statement, session).await? {
                Ok((copy, stored)) => (copy, Some(stored)),
                Err(plan) => (plan, None),
            },
            None => (plan, None),
        };
        let unseen = unseen_rows(&plan, session);
        let copied = match &plan {
            LogicalPlan::Copy(copy) if stored.is_none() => Some(copy.input.schema().inner().clone()),
            _ => None,
        };
        let view = match (&plan, node) {
            (LogicalPlan::Ddl(DdlStatement::CreateView(view)), Some(_)) => Some(Arc::clone(&view.input)),
            _ => None,
        };
        let planned = async {
            let frame = session.execute_logical_plan(plan).await?;
            // What `EXECUTE` runs is known only now; for statements that define something, the result is empty.
            is_checked |= statement.kind == StatementKind::ExternalTable;
            if !is_checked {
                self.check_columns(step, session, frame.logical_plan())?;
            }
            let task = Arc::new(frame.task_ctx());
            Ok::<_, StepError>((frame.create_physical_plan().await?, task))
        };
        let (plan, task) = parsed.of(planned).await?;
        // After planning, which creates the store for which a `COPY` has options. Nothing is written before the execution.
        let target = match node {
            Some(node) => Target::of(node, statement, session).await,
            None => None,
        };
        let mut stream = parsed.of(async { execute_stream(plan, task) }).await?;
        let cells = if statement.kind == StatementKind::Setup { Cells::Texts } else { Cells::Values };
        let format = session.state().config_options().format.clone();
        let mut shown =
            ShownRows { schema: stream.schema(), first: Vec::new(), total_rows: 0, cells, format };
        let is_query = matches!(statement.kind, StatementKind::Query | StatementKind::Setup);
        // An empty file has no columns, which must be reported, too.
        let has_columns = !shown.schema.fields().is_empty();
        // Everything else returns at most one row, with a count.
        let mut still_shown = match (statement.kind, rows_out.options.rows) {
            // All of the engine's output: users look for one entry in settings, columns or a plan.
            (StatementKind::Setup, RowsWanted::Shown { .. }) => usize::MAX,
            (StatementKind::Query, RowsWanted::Shown { most }) => most,
            _ => 1,
        };
        let has_rows = is_query && has_columns || statement.kind == StatementKind::Query;
        let mut streaming = if has_rows { rows_out.begin(node, &shown.schema).await } else { None };
        loop {
            let next = match (stream.try_next().await, &target) {
                (Err(error), Some(Target::Files { location, .. })) => {
                    return Err(with_answer_of_store(error, location, session).await.into());
                }
                (next, _) => next?,
            };
            let Some(batch) = next else { break };
            shown.total_rows += batch.num_rows() as u64;
            if let Some(streaming) = &mut streaming {
                streaming.batch(&batch);
                continue;
            }
            let taken = batch.num_rows().min(still_shown);
            if taken > 0 {
                shown.first.push(batch.slice(0, taken));
                still_shown -= taken;
            }
        }
        let is_streamed = streaming.map(Streaming::end).is_some();
        drop(stream);
        let is_stored = stored.is_some();
        if let Some(stored) = stored {
            stored.register(session, &shown.first).await?;
        }
        let Some(node) = node else { return Ok((has_rows && !is_streamed).then_some(shown)) };
        // Existing objects do not belong to this node.
        if !is_kept {
            if let Some(view) = view {
                node.view(&view);
            }
            let files = match (&target, &copied) {
                (Some(Target::Files { location, .. }), Some(schema)) if unseen.is_some() => {
                    Some((location.clone(), schema.clone()))
                }
                _ => None,
            };
            record(node, statement, step.output.as_ref(), session, target, copied, &shown).await;
            if let Some((location, schema)) = files.filter(|_| is_parquet(step)) {
                summarise(node, session, &location, schema).await;
            }
            if let (true, Effect::Define { written, .. }) = (is_stored, &statement.relations.effect) {
                node.written_files(session, &written.to_quoted_string()).await;
            }
        }
        let shown = (has_rows && !is_streamed).then_some(shown);
        match self.verify_rows(step, node, session, unseen).await {
            Ok(()) => Ok(shown),
            Err(error) => {
                // The rows exist, and show why one of their checks has failed.
                if let Some(rows) = &shown {
                    (rows_out.options.on_event)(PipelineEvent::Rows { node: Some(node.name()), rows });
                }
                Err(error)
            }
        }
    }
}

fn is_parquet(step: &Step) -> bool {
    step.output.as_ref().is_some_and(|output| output.materialization == Materialization::files("parquet"))
}

/// Whether a statement with IF NOT EXISTS defines something that already exists, and so changes nothing.
fn keeps_what_is_there(statement: &Statement, session: &SessionContext) -> bool {
    let Effect::Define { relation, policy: Existing::Keep, .. } = &statement.relations.effect else {
        return false;
    };
    let schema = session.catalog(&relation.catalog).and_then(|catalog| catalog.schema(&relation.schema));
    schema.is_some_and(|schema| schema.table_exist(&relation.table))
}
