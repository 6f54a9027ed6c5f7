//! Running one statement.

use std::fmt;

use daglight_run_session::Node;
use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef, util::pretty::pretty_format_batches},
    error::DataFusionError,
    execution::context::SessionContext,
    logical_expr::LogicalPlan,
};
use futures::TryStreamExt;

use crate::{
    Pipeline, StatementKind, Step,
    tell::{Target, tell},
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
        let copied = match &plan {
            LogicalPlan::Copy(copy) => Some(copy.input.schema().inner().clone()),
            _ => None,
        };
        let target = match node {
            Some(node) => Target::of(node, statement, session).await,
            None => None,
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
            tell(node, statement, self.output(step), session, target, copied, &shown).await;
        }
        Ok((has_rows && !shown.schema.fields().is_empty()).then_some(shown))
    }
}
