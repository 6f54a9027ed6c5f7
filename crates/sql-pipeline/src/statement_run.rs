//! Running one statement, and telling its node what came of it.

use std::fmt;

use chrono::Utc;
use daglight_materializers::{Materialization, Written, files_at};
use daglight_run_session::Node;
use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::{SchemaRef, UInt64Type},
        util::pretty::pretty_format_batches,
    },
    datasource::MemTable,
    error::DataFusionError,
    execution::context::SessionContext,
    logical_expr::LogicalPlan,
};
use futures::TryStreamExt;

use crate::{
    Pipeline, Statement, StatementKind, Step,
    describe::output_type,
    names::name_of_file,
    relations::{Effect, effect},
};

/// The first rows of a query, of all that it gave. `Display` draws a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ShownRows {
    /// The columns.
    pub schema: SchemaRef,
    /// The first rows.
    pub first: Vec<RecordBatch>,
    /// How many rows there were in all.
    pub total_rows: u64,
}

impl fmt::Display for ShownRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = match self.first.is_empty() {
            true => pretty_format_batches(&[RecordBatch::new_empty(self.schema.clone())]),
            false => pretty_format_batches(&self.first),
        };
        write!(f, "{}", table.map_err(|_| fmt::Error)?)?;
        let shown: u64 = self.first.iter().map(|batch| batch.num_rows() as u64).sum();
        match self.total_rows {
            total if total == shown => Ok(()),
            total => write!(f, "\nthe first {shown} of {total} rows"),
        }
    }
}

impl Pipeline {
    /// Plans and runs the statement of a step to its end. The rows are those of a query, an `EXPLAIN` or a `SHOW`.
    pub(crate) async fn run_statement(
        &self,
        step: &Step,
        session: &SessionContext,
        node: Option<&Node>,
        rows_shown: usize,
    ) -> Result<Option<ShownRows>, DataFusionError> {
        let statement = self.statement(step);
        let plan = session.state().statement_to_plan(statement.parsed.clone()).await?;
        let plan = self.bind(step, plan)?;
        let source_schema = match &plan {
            LogicalPlan::Copy(copy) => Some(copy.input.schema().inner().clone()),
            _ => None,
        };
        let mut stream = session.execute_logical_plan(plan).await?.execute_stream().await?;
        let mut shown = ShownRows { schema: stream.schema(), first: Vec::new(), total_rows: 0 };
        let has_rows = matches!(statement.kind, StatementKind::Query | StatementKind::Setup);
        // Everything else gives at most one row, with a count.
        let mut still_shown = if has_rows { rows_shown } else { 1 };
        while let Some(batch) = stream.try_next().await? {
            shown.total_rows += batch.num_rows() as u64;
            let taken = batch.num_rows().min(still_shown);
            if taken > 0 {
                shown.first.push(batch.slice(0, taken));
                still_shown -= taken;
            }
        }
        drop(stream);
        if let Some(node) = node {
            tell(node, statement, session, source_schema, &shown).await;
        }
        Ok((has_rows && !shown.schema.fields().is_empty()).then_some(shown))
    }
}

/// Tells a node what its statement has made. What cannot be found out is left out.
async fn tell(
    node: &Node,
    statement: &Statement,
    session: &SessionContext,
    source_schema: Option<SchemaRef>,
    result: &ShownRows,
) {
    let written = |name: &str, materialization, schema, rows| Written {
        name: name.to_owned(),
        materialization,
        location: None,
        files: None,
        rows,
        schema,
        written_at: Utc::now(),
    };
    match (statement.kind, effect(&statement.parsed)) {
        (StatementKind::ExternalTable, Effect::Define { relation, .. }) => {
            node.source(session, &relation.to_quoted_string()).await;
        }
        (StatementKind::View, Effect::Define { relation, .. }) => {
            let Ok(view) = session.table_provider(relation).await else { return };
            node.written(written(node.name(), Materialization::View, view.schema(), None));
        }
        (StatementKind::Table, Effect::Define { relation, .. }) => {
            let Ok(table) = session.table_provider(relation).await else { return };
            let rows = match table.downcast_ref::<MemTable>() {
                Some(table) => Some(rows_of(table).await),
                None => None,
            };
            node.written(written(node.name(), Materialization::Table, table.schema(), rows));
        }
        (StatementKind::Copy, Effect::CopyTo { target, .. }) => {
            let Some(schema) = source_schema else { return };
            let format = output_type(statement);
            let files =
                written(&name_of_file(&target), Materialization::Files { format }, schema, count(result));
            node.written(Written { files: files_at(&target), location: Some(target), ..files });
        }
        (StatementKind::Insert, Effect::Change { relation }) => {
            let Ok(table) = session.table_provider(relation.clone()).await else { return };
            node.written(written(relation.table(), Materialization::Table, table.schema(), count(result)));
        }
        _ => {
            if let (Some(_), Some(rows)) = (statement.kind.change(), count(result)) {
                node.row_count(rows);
            }
        }
    }
}

/// The count that statements which write return as their only value.
fn count(result: &ShownRows) -> Option<u64> {
    let column = result.first.first()?.columns().first()?;
    column.as_primitive_opt::<UInt64Type>().filter(|counts| !counts.is_empty()).map(|counts| counts.value(0))
}

async fn rows_of(table: &MemTable) -> u64 {
    let mut rows = 0;
    for partition in &table.batches {
        rows += partition.read().await.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
    }
    rows
}
