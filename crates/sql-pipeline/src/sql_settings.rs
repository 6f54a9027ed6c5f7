//! The session settings that affect how SQL is parsed, as the statements of a script change them.

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

/// The settings that affect how the text of a statement is parsed. All others take effect in the session, when it is planned.
const FOLLOWED: [&str; 5] = [
    "datafusion.catalog.default_catalog",
    "datafusion.catalog.default_schema",
    "datafusion.sql_parser.dialect",
    "datafusion.sql_parser.enable_ident_normalization",
    "datafusion.sql_parser.recursion_limit",
];

/// The beginning of DataFusion's message for a kind of statement that its planner does not support.
const NO_PLAN: &str = "Unsupported SQL statement";

/// The settings before a statement: the dialect, the default catalog and schema, and whether names are normalised.
#[derive(Debug, Clone)]
pub(crate) struct SqlSettings {
    options: ConfigOptions,
    /// The default catalog and schema, shared by all unqualified names.
    catalog: Arc<str>,
    schema: Arc<str>,
    /// Plans `SET` and `RESET` like a session. Created for the first of them.
    planner: Option<SessionState>,
}

/// The settings with which a statement is parsed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ParserSettings {
    dialect: Dialect,
    /// The maximum nesting depth of a statement.
    pub(crate) recursion_limit: usize,
}

impl ParserSettings {
    /// The same settings for statements with slightly deeper nesting.
    pub(crate) const fn deeper(self) -> Self {
        Self { recursion_limit: self.recursion_limit + self.recursion_limit / 4 + 4, ..self }
    }

    pub(crate) fn dialect(self) -> Box<dyn ParserDialect> {
        dialect_from_str(self.dialect).unwrap_or_else(|| Box::new(GenericDialect))
    }

    /// The name of the dialect in messages; `None` for the default.
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

    /// Applies a `SET` or `RESET` like a session. Returns whether the dialect has changed.
    ///
    /// A statement that the session rejects changes nothing: the run ends there with the error.
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
        // Neither statement names a table, so its plan is ready at once.
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

    /// The dialect with which statements are parsed.
    pub(crate) fn dialect(&self) -> Box<dyn ParserDialect> {
        self.of_parser().dialect()
    }

    /// The settings that a parser needs.
    pub(crate) fn of_parser(&self) -> ParserSettings {
        ParserSettings {
            dialect: self.options.sql_parser.dialect,
            recursion_limit: self.options.sql_parser.recursion_limit.get(),
        }
    }

    /// Whether unquoted names are converted to lower case.
    pub(crate) fn normalizes_names(&self) -> bool {
        self.options.sql_parser.enable_ident_normalization
    }

    /// A name as written. `None` if DataFusion does not accept it as a table name; the planner then reports why.
    pub(crate) fn reference(&self, name: &ObjectName) -> Option<TableReference> {
        object_name_to_table_reference(name.clone(), self.normalizes_names()).ok()
    }

    /// The catalog of unqualified names.
    pub(crate) fn default_catalog(&self) -> &str {
        &self.options.catalog.default_catalog
    }

    /// The relation to which a name refers.
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
