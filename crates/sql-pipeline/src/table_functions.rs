//! The table functions that a statement calls.

use std::ops::ControlFlow;

use datafusion::sql::{
    parser::{CopyToSource, Statement as ParsedStatement},
    sqlparser::ast::{TableFactor, Visit, Visitor},
};

use crate::split::position;

/// A table function that a statement calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The name with which DataFusion looks it up: as written, including quotes.
    pub(crate) name: String,
    /// The line and column of its name.
    pub(crate) at: (usize, usize),
}

/// The calls of a statement, in the order of its text.
pub(crate) fn calls(parsed: &ParsedStatement) -> Vec<Call> {
    let mut found = Calls(Vec::new());
    let _: ControlFlow<()> = match parsed {
        ParsedStatement::Statement(statement) => statement.visit(&mut found),
        ParsedStatement::Explain(explain) => return calls(&explain.statement),
        ParsedStatement::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => query.visit(&mut found),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        ParsedStatement::CreateExternalTable(_) | ParsedStatement::Reset(_) => ControlFlow::Continue(()),
    };
    found.0
}

struct Calls(Vec<Call>);

impl Visitor for Calls {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } = table
            && let Some(ident) = name.0.first().and_then(|part| part.as_ident())
        {
            self.0.push(Call { name: ident.to_string(), at: position(ident.span.start) });
        }
        ControlFlow::Continue(())
    }
}
