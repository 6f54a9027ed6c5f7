//! Data checks of a script: `-- expect: rows > 0` above a statement.

use std::sync::Arc;

use daglight_capture_policy::in_one_line;
use daglight_materializers::{CheckPlanError, ChecksFailed};
use daglight_run_session::Node;
use datafusion::{
    arrow::datatypes::Schema,
    common::TableReference,
    error::DataFusionError,
    execution::context::SessionContext,
    logical_expr::{DdlStatement, LogicalPlan},
};

use crate::{
    effect::Effect,
    elsewhere::view,
    expectation::Expectation,
    kind::StatementKind,
    locate::SourceError,
    pipeline::{Pipeline, Step},
    statement::Statement,
};

/// Why a statement failed.
pub(crate) enum StepError {
    Engine(DataFusionError),
    Check(Box<SourceError>),
}

impl From<DataFusionError> for StepError {
    fn from(error: DataFusionError) -> Self {
        Self::Engine(error)
    }
}

impl Pipeline {
    /// The data checks of each node that has any, in the order of the script.
    pub fn checks(&self) -> impl Iterator<Item = (&str, &[Expectation])> {
        self.steps().iter().filter_map(|step| {
            let checks = self.statement(step).checks.as_slice();
            step.node.as_deref().filter(|_| !checks.is_empty()).map(|node| (node, checks))
        })
    }

    /// Determines whether the checks of a step match the columns of its plan. Returns `false` if the plan does not specify these
    /// columns.
    pub(crate) fn check_columns(
        &self,
        step: &Step,
        session: &SessionContext,
        plan: &LogicalPlan,
    ) -> Result<bool, StepError> {
        match rows_of(plan) {
            Some(plan) => self.check_schema(step, session, plan.schema().as_arrow()).map(|()| true),
            None => Ok(false),
        }
    }

    fn check_schema(&self, step: &Step, session: &SessionContext, schema: &Schema) -> Result<(), StepError> {
        let statement = self.statement(step);
        if statement.checks.is_empty() {
            return Ok(());
        }
        let state = session.state();
        for expectation in &statement.checks {
            if let Err(error) = expectation.check.fits(&state, schema) {
                return Err(StepError::Check(Box::new(self.misfit(step, expectation, error))));
            }
        }
        Ok(())
    }

    /// Sets the expectations for the rows of a step's node.
    pub(crate) fn expect_rows(&self, step: &Step, node: &Node, session: &SessionContext) {
        for expectation in &self.statement(step).checks {
            node.expect(session, expectation.check.clone());
        }
    }

    /// Evaluates the checks of a step whose statement has run; `unseen` is the query for rows that other machines may have written.
    pub(crate) async fn verify_rows(
        &self,
        step: &Step,
        node: &Node,
        session: &SessionContext,
        unseen: Option<LogicalPlan>,
    ) -> Result<(), StepError> {
        let statement = self.statement(step);
        if statement.checks.is_empty() {
            return Ok(());
        }
        let output = output_of(statement);
        // A table of files is read; for other rows that were written on other machines, the query is run again.
        let view = unseen.filter(|_| output.is_none()).map(|query| view(session, query)).transpose()?;
        let output = output.or_else(|| view.as_ref().map(|view| view.name.clone()));
        if let (StatementKind::ExternalTable, Some(table)) = (statement.kind, &output) {
            // Its columns are known only now: they are those of its files.
            let table = session.table(table.clone()).await?;
            self.check_schema(step, session, table.schema().as_arrow())?;
        }
        node.verify(session, output)
            .await
            .map_err(|failed| StepError::Check(Box::new(self.failed_check(step, failed))))
    }

    fn misfit(&self, step: &Step, expectation: &Expectation, error: CheckPlanError) -> SourceError {
        let message = in_one_line(&error);
        // An error without a cause has our own message, which contains only names.
        let is_of_engine = std::error::Error::source(&error).is_some();
        self.at_expectation(step, expectation, message, is_of_engine.then(|| Arc::new(error) as _))
    }

    fn failed_check(&self, step: &Step, failed: ChecksFailed) -> SourceError {
        let statement = self.statement(step);
        let expectation = statement.checks.iter().find(|expectation| expectation.check == failed.first.check);
        let message = failed.to_string();
        match expectation {
            Some(expectation) => self.at_expectation(step, expectation, message, Some(Arc::new(failed))),
            None => self.failed_by(step, message, None),
        }
    }

    fn at_expectation(
        &self,
        step: &Step,
        expectation: &Expectation,
        message: String,
        cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
    ) -> SourceError {
        let place = self.script().place_in(self.statement(step), expectation.line, expectation.column);
        SourceError { place: Box::new(place), node: step.node.clone(), message, cause }
    }
}

/// The plan whose rows are those of the statement.
fn rows_of(plan: &LogicalPlan) -> Option<&LogicalPlan> {
    match plan {
        LogicalPlan::Copy(copy) => Some(&copy.input),
        LogicalPlan::Dml(dml) => Some(&dml.input),
        LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(table)) => Some(&table.input),
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => Some(&view.input),
        // An `EXECUTE` gets the plan of its prepared statement only later, and an external table has only its files.
        LogicalPlan::Ddl(_) | LogicalPlan::Statement(_) => None,
        plan => Some(plan),
    }
}

/// The table or view that the statement has created, from which its rows can be read again.
fn output_of(statement: &Statement) -> Option<TableReference> {
    match (statement.kind, &statement.relations.effect) {
        (StatementKind::Table | StatementKind::View | StatementKind::ExternalTable, effect) => match effect {
            Effect::Define { relation, .. } => Some(relation.clone().into()),
            _ => None,
        },
        _ => None,
    }
}
