//! The kind of a statement, and its default name.

use daglight_run_identity::NodeKind;
use datafusion::sql::{parser::Statement as ParsedStatement, sqlparser::ast::Statement as SqlStatement};

use crate::object_names::select_into;

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StatementKind {
    /// `CREATE EXTERNAL TABLE`: reads data from outside.
    ExternalTable,
    /// `CREATE VIEW`.
    View,
    /// `CREATE TABLE`, with or without a query, and `SELECT ... INTO`.
    Table,
    /// `COPY ... TO`: writes data to the outside.
    Copy,
    /// `INSERT INTO`.
    Insert,
    /// `UPDATE`.
    Update,
    /// `DELETE FROM`.
    Delete,
    /// `TRUNCATE TABLE`.
    Truncate,
    /// `MERGE INTO`.
    Merge,
    /// A bare query, or an `EXECUTE` of one, whose rows are printed.
    Query,
    /// `SET`, `CREATE SCHEMA`, `DROP`, `PREPARE`, `EXPLAIN`, `SHOW` and similar: run in script order, and are not nodes.
    Setup,
}

impl StatementKind {
    pub(crate) fn of(parsed: &ParsedStatement) -> Self {
        match parsed {
            ParsedStatement::CreateExternalTable(_) => Self::ExternalTable,
            ParsedStatement::CopyTo(_) => Self::Copy,
            ParsedStatement::Explain(_) | ParsedStatement::Reset(_) => Self::Setup,
            ParsedStatement::Statement(statement) => Self::of_sql(statement),
        }
    }

    /// The kind of a statement that is not a DataFusion extension.
    pub(crate) fn of_sql(statement: &SqlStatement) -> Self {
        match statement {
            SqlStatement::CreateView(_) => Self::View,
            SqlStatement::CreateTable(_) => Self::Table,
            SqlStatement::Insert(_) => Self::Insert,
            SqlStatement::Update(_) => Self::Update,
            SqlStatement::Delete(_) => Self::Delete,
            SqlStatement::Truncate(_) => Self::Truncate,
            SqlStatement::Merge(_) => Self::Merge,
            SqlStatement::Query(query) if select_into(query).is_some() => Self::Table,
            SqlStatement::Query(_) => Self::Query,
            _ => Self::Setup,
        }
    }

    /// The kind of the statement's node; `None` if it is not a node.
    pub const fn node_kind(self) -> Option<NodeKind> {
        match self {
            Self::ExternalTable => Some(NodeKind::DataLoader),
            Self::View | Self::Table | Self::Query => Some(NodeKind::Transform),
            Self::Copy | Self::Insert | Self::Update | Self::Delete | Self::Truncate | Self::Merge => {
                Some(NodeKind::DataSaver)
            }
            Self::Setup => None,
        }
    }

    /// Whether the statement has its own rows that could be checked. Statements that change a table only have a count.
    pub(crate) const fn has_rows(self) -> bool {
        matches!(
            self,
            Self::ExternalTable | Self::View | Self::Table | Self::Copy | Self::Insert | Self::Query
        )
    }

    /// The change to an existing table, as used in names.
    pub(crate) const fn change(self) -> Option<&'static str> {
        match self {
            Self::Insert => Some("insert"),
            Self::Update => Some("update"),
            Self::Delete => Some("delete"),
            Self::Truncate => Some("truncate"),
            Self::Merge => Some("merge"),
            _ => None,
        }
    }
}
