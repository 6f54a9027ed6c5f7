//! Statements that DataFusion parses, but that no session, or not this one, can run.

use std::fmt;

use datafusion::sql::{
    parser::Statement as ParsedStatement,
    sqlparser::ast::{ObjectType, Statement as SqlStatement, Use},
};

use crate::{kind::StatementKind, sql_settings::SqlSettings};

/// A statement that cannot run. `Display` explains why, and what to write instead, if possible.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsupportedStatement {
    /// `USE`, which sets a default schema or catalog in other systems.
    Use {
        /// The name.
        name: String,
    },
    /// `CREATE FUNCTION`, if the session has no function factory.
    CreateFunction,
    /// A part of a statement that DataFusion parses, but does not support there.
    Part {
        /// The statement's first words.
        statement: &'static str,
        /// The part.
        part: &'static str,
        /// What to write instead.
        instead: &'static str,
    },
    /// A file format that the session does not know.
    Format {
        /// The statement's first words.
        statement: &'static str,
        /// The format, or the file extension that implies it; `None` if there is neither.
        format: Option<String>,
        /// The formats that it knows, in upper case.
        known: Vec<String>,
    },
    /// Any other statement that DataFusion cannot plan.
    Other {
        /// The first words.
        word: String,
    },
}

impl fmt::Display for UnsupportedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Use { name } => write!(
                f,
                "DataFusion does not support USE: write `SET datafusion.catalog.default_schema = '{name}'`, or \
                 `SET datafusion.catalog.default_catalog = '{name}'`"
            ),
            Self::CreateFunction => {
                write!(f, "this session does not support CREATE FUNCTION: it has no function factory")
            }
            Self::Part { statement, part, instead } => {
                write!(f, "DataFusion does not support {part} in {statement}: write {instead}")
            }
            Self::Format { statement, format: Some(format), known } => write!(
                f,
                "{format:?} is not a format of {statement} in this session: write STORED AS and one of {}",
                known.join(", ")
            ),
            Self::Format { statement, format: None, known } => write!(
                f,
                "nothing says the format of {statement}: write STORED AS and one of {}, or an ending such as .csv",
                known.join(", ")
            ),
            Self::Other { word } => write!(f, "DataFusion does not support the statement {word}"),
        }
    }
}

impl UnsupportedStatement {
    /// Checks whether a statement is unsupported. Whether a session can create functions is not known until there is one.
    pub(crate) fn of(parsed: &ParsedStatement, settings: &mut SqlSettings) -> Option<Self> {
        let statement = match parsed {
            ParsedStatement::CreateExternalTable(table) if table.temporary => {
                return Some(Self::part("CREATE EXTERNAL TABLE", "TEMPORARY", "CREATE EXTERNAL TABLE"));
            }
            ParsedStatement::Statement(statement) => statement,
            _ => return None,
        };
        match &**statement {
            SqlStatement::Use(used) => Some(Self::Use { name: used_name(used) }),
            // These have plans, which nothing executes.
            SqlStatement::StartTransaction { .. }
            | SqlStatement::Commit { .. }
            | SqlStatement::Rollback { .. } => Some(Self::other(statement)),
            SqlStatement::CreateIndex(_) => Some(Self::Other { word: "CREATE INDEX".to_owned() }),
            SqlStatement::CreateTable(table) if table.temporary => {
                Some(Self::part("CREATE TABLE", "TEMPORARY", "CREATE TABLE"))
            }
            SqlStatement::CreateView(view) if view.temporary => {
                Some(Self::part("CREATE VIEW", "TEMPORARY", "CREATE VIEW"))
            }
            SqlStatement::CreateView(view) if view.materialized => {
                Some(Self::part("CREATE VIEW", "MATERIALIZED", "CREATE TABLE ... AS"))
            }
            SqlStatement::CreateView(view) if view.if_not_exists => {
                Some(Self::part("CREATE VIEW", "IF NOT EXISTS", "CREATE OR REPLACE VIEW"))
            }
            SqlStatement::Drop {
                object_type: ObjectType::Table | ObjectType::View | ObjectType::Schema,
                names,
                ..
            } if names.len() > 1 => Some(Self::part("DROP", "several names", "one statement for each")),
            SqlStatement::Set(_)
            | SqlStatement::Explain { .. }
            | SqlStatement::ExplainTable { .. }
            | SqlStatement::Prepare { .. }
            | SqlStatement::Execute { .. }
            | SqlStatement::Deallocate { .. }
            | SqlStatement::Drop { .. }
            | SqlStatement::CreateSchema { .. }
            | SqlStatement::CreateDatabase { .. }
            | SqlStatement::CreateFunction(_)
            | SqlStatement::DropFunction(_) => None,
            _ if StatementKind::of(parsed) != StatementKind::Setup => None,
            _ if settings.has_plan_for(parsed) => None,
            _ => Some(Self::other(statement)),
        }
    }

    const fn part(statement: &'static str, part: &'static str, instead: &'static str) -> Self {
        Self::Part { statement, part, instead }
    }

    fn other(statement: &SqlStatement) -> Self {
        let text = statement.to_string();
        Self::Other { word: text.split_whitespace().next().unwrap_or_default().to_uppercase() }
    }
}

fn used_name(used: &Use) -> String {
    match used {
        Use::Catalog(name)
        | Use::Schema(name)
        | Use::Database(name)
        | Use::Warehouse(name)
        | Use::Role(name)
        | Use::Object(name) => {
            let parts = name.0.iter().filter_map(|part| part.as_ident()).map(|part| part.value.as_str());
            parts.collect::<Vec<_>>().join(".")
        }
        Use::SecondaryRoles(_) | Use::Default => "public".to_owned(),
    }
}
