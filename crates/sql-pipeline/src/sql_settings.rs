//! The settings of the session that decide how SQL is read, as the statements of a script change them.

use std::sync::Arc;

use datafusion::{
    common::{
        ResolvedTableReference, TableReference,
        config::{ConfigField, Dialect},
    },
    config::ConfigOptions,
    error::DataFusionError,
    execution::{SessionState, SessionStateBuilder},
    logical_expr::{LogicalPlan, Statement as PlannedStatement},
    prelude::SessionConfig,
    sql::{
        parser::Statement as ParsedStatement,
        planner::object_name_to_table_reference,
        sqlparser::{
            ast::{ObjectName, Statement as SqlStatement},
            dialect::{Dialect as ParserDialect, GenericDialect, dialect_from_str},
        },
    },
};
use futures::FutureExt;

/// The settings that decide how the text of a statement is read. All others act when it is planned, by the session.
const FOLLOWED: [&str; 5] = [
    "datafusion.catalog.default_catalog",
    "datafusion.catalog.default_schema",
    "datafusion.sql_parser.dialect",
    "datafusion.sql_parser.enable_ident_normalization",
    "datafusion.sql_parser.recursion_limit",
];

/// How DataFusion's message starts for a kind of statement that its planner does not know.
const NO_PLAN: &str = "Unsupported SQL statement";

/// What is in force in front of a statement: the dialect, the default catalog and schema, and whether names are
/// normalized.
#[derive(Debug, Clone)]
pub(crate) struct SqlSettings {
    options: ConfigOptions,
    /// The default catalog and schema, shared by all names that do not say one.
    catalog: Arc<str>,
    schema: Arc<str>,
    /// Plans `SET` and `RESET` in the way of a session. Made for the first of them.
    planner: Option<SessionState>,
}

/// The settings that a statement is parsed by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ParserSettings {
    dialect: Dialect,
    /// How deep a statement may be nested.
    pub(crate) recursion_limit: usize,
}

impl ParserSettings {
    /// The same for statements that are nested a little deeper.
    pub(crate) const fn deeper(self) -> Self {
        Self { recursion_limit: self.recursion_limit + self.recursion_limit / 4 + 4, ..self }
    }

    pub(crate) fn dialect(self) -> Box<dyn ParserDialect> {
        dialect_from_str(self.dialect).unwrap_or_else(|| Box::new(GenericDialect))
    }

    /// The dialect, as a message names it; `None` for the one that is the default.
    pub(crate) fn unusual_dialect(self) -> Option<Dialect> {
        Some(self.dialect).filter(|dialect| *dialect != Dialect::default())
    }
}

impl SqlSettings {
    /// The settings that the session starts with.
    pub(crate) fn new(options: &ConfigOptions) -> Self {
        let (catalog, schema) = defaults(options);
        Self { options: options.clone(), catalog, schema, planner: None }
    }

    /// Follows a `SET` or `RESET` as a session executes it. Returns whether the dialect is another from here on.
    ///
    /// What the session refuses changes nothing: the run ends at that statement, and says why.
    pub(crate) fn follow(&mut self, parsed: &ParsedStatement) -> bool {
        let before = self.options.sql_parser.dialect;
        match self.planned(parsed) {
            Some(LogicalPlan::Statement(PlannedStatement::SetVariable(set)))
                if FOLLOWED.contains(&set.variable.as_str()) =>
            {
                let _refused = self.options.set(&set.variable, &set.value);
            }
            Some(LogicalPlan::Statement(PlannedStatement::ResetVariable(reset))) => {
                let _refused = self.options.reset(&reset.variable);
            }
            _ => return false,
        }
        (self.catalog, self.schema) = defaults(&self.options);
        self.options.sql_parser.dialect != before
    }

    fn planned(&mut self, parsed: &ParsedStatement) -> Option<LogicalPlan> {
        match parsed {
            ParsedStatement::Reset(_) => {}
            ParsedStatement::Statement(statement) if matches!(**statement, SqlStatement::Set(_)) => {}
            _ => return None,
        }
        // Neither statement names a table, so that its plan is ready at once.
        self.planner().statement_to_plan(parsed.clone()).now_or_never()?.ok()
    }

    /// Whether DataFusion has a plan for statements of this kind.
    pub(crate) fn has_plan_for(&mut self, parsed: &ParsedStatement) -> bool {
        match self.planner().statement_to_plan(parsed.clone()).now_or_never() {
            Some(Err(error)) => match error.find_root() {
                DataFusionError::NotImplemented(message) => !message.starts_with(NO_PLAN),
                _ => true,
            },
            _ => true,
        }
    }

    fn planner(&mut self) -> &SessionState {
        self.planner.get_or_insert_with(|| {
            SessionStateBuilder::new().with_config(SessionConfig::from(self.options.clone())).build()
        })
    }

    /// The dialect that statements are read in.
    pub(crate) fn dialect(&self) -> Box<dyn ParserDialect> {
        self.of_parser().dialect()
    }

    /// What a parser needs of them.
    pub(crate) fn of_parser(&self) -> ParserSettings {
        ParserSettings {
            dialect: self.options.sql_parser.dialect,
            recursion_limit: self.options.sql_parser.recursion_limit.get(),
        }
    }

    /// Whether names without quotes are turned into lower case.
    pub(crate) fn normalizes_names(&self) -> bool {
        self.options.sql_parser.enable_ident_normalization
    }

    /// A name as it is written. `None` for one that DataFusion does not read as a table; the planner then says why.
    pub(crate) fn reference(&self, name: &ObjectName) -> Option<TableReference> {
        object_name_to_table_reference(name.clone(), self.normalizes_names()).ok()
    }

    /// The catalog of names that do not say one.
    pub(crate) fn default_catalog(&self) -> &str {
        &self.options.catalog.default_catalog
    }

    /// The relation that a name stands for.
    pub(crate) fn resolve(&self, name: TableReference) -> ResolvedTableReference {
        let (catalog, schema, table) = match name {
            TableReference::Bare { table } => (self.catalog.clone(), self.schema.clone(), table),
            TableReference::Partial { schema, table } => (self.catalog.clone(), schema, table),
            TableReference::Full { catalog, schema, table } => (catalog, schema, table),
        };
        ResolvedTableReference { catalog, schema, table }
    }
}

fn defaults(options: &ConfigOptions) -> (Arc<str>, Arc<str>) {
    let catalog = &options.catalog;
    (catalog.default_catalog.as_str().into(), catalog.default_schema.as_str().into())
}
