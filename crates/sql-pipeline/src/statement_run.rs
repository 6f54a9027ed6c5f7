//! Running one statement.

use std::time::Instant;

use daglight_run_session::{Node, ParsedStatement};
use datafusion::{error::DataFusionError, execution::context::SessionContext, logical_expr::LogicalPlan};
use futures::TryStreamExt;

use crate::{
    Pipeline, ShownRows, StatementKind, Step,
    recorded::{Target, record},
    shown_rows::Cells,
};

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
        let parsing = Instant::now();
        let plan = self.plan(step, session).await?;
        let parsed = ParsedStatement(parsing.elapsed());
        let copied = match &plan {
            LogicalPlan::Copy(copy) => Some(copy.input.schema().inner().clone()),
            _ => None,
        };
        let target = match node {
            Some(node) => Target::of(node, statement, session).await,
            None => None,
        };
        let executed = async { session.execute_logical_plan(plan).await?.execute_stream().await };
        let mut stream = parsed.of(executed).await?;
        let cells = if statement.kind == StatementKind::Setup { Cells::Texts } else { Cells::Values };
        let mut shown = ShownRows { schema: stream.schema(), first: Vec::new(), total_rows: 0, cells };
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
            record(node, statement, step.output.as_ref(), session, target, copied, &shown).await;
        }
        Ok((has_rows && !shown.schema.fields().is_empty()).then_some(shown))
    }
}
