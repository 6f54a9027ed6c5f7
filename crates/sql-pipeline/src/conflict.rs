//! Statements that cannot run because of what exists when they are reached.

use std::fmt;

use crate::{source::LineOfScript, undefined::UndefinedKind};

/// The conflict of a statement with an existing object. `Display` describes the object, where it comes from, and what to write
/// instead.
///
/// A `line` is that of the statement which created the object; `None` if the session had it before the script.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conflict {
    /// The object already exists.
    Exists {
        /// What it is.
        kind: UndefinedKind,
        /// Its name.
        name: String,
        /// Where it was created.
        line: Option<LineOfScript>,
    },
    /// The object already exists, and the statement contains both `IF NOT EXISTS` and `OR REPLACE`.
    ExistsForBoth {
        /// The table or view.
        name: String,
        /// Where it was created.
        line: Option<LineOfScript>,
    },
    /// The statement calls a view a table, or a table a view.
    OtherKind {
        /// The table or view.
        name: String,
        /// Whether it is a view.
        is_view: bool,
        /// Where it was created.
        line: Option<LineOfScript>,
    },
    /// A view that `CREATE OR REPLACE EXTERNAL TABLE` does not replace.
    ViewStays {
        /// The view.
        name: String,
        /// Where it was created.
        line: Option<LineOfScript>,
    },
    /// A table or view that the statement cannot change.
    Unchangeable {
        /// The table or view.
        name: String,
        /// Whether it is a view.
        is_view: bool,
        /// The first words of the statement.
        statement: &'static str,
        /// Where it was created.
        line: Option<LineOfScript>,
    },
    /// A table of files that the statement cannot change: DataFusion only supports adding rows to those.
    OfFiles {
        /// The table.
        name: String,
        /// The first words of the statement.
        statement: &'static str,
        /// Where it was created.
        line: Option<LineOfScript>,
    },
    /// A schema that is dropped without `CASCADE` although it is not empty.
    NotEmpty {
        /// The schema.
        schema: String,
        /// A table or view in it.
        holds: String,
        /// Where that table or view was created.
        line: Option<LineOfScript>,
    },
    /// A prepared statement that DataFusion accepts, but never executes.
    NotExecutable {
        /// The name of the prepared statement.
        name: String,
        /// Its first words.
        statement: String,
        /// Where it was prepared.
        line: Option<LineOfScript>,
    },
    /// The number of values differs from the number of parameter types of the prepared statement.
    Parameters {
        /// The name of the prepared statement.
        name: String,
        /// How many values it takes.
        takes: usize,
        /// How many values it is given.
        given: usize,
        /// Where it was prepared.
        line: Option<LineOfScript>,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { kind, name, line } => {
                write!(f, "{kind} {name:?} is defined already, {}: {}", By(line), instead_of_another(*kind))
            }
            Self::ExistsForBoth { name, line } => write!(
                f,
                "{name:?} is defined already, {}, and IF NOT EXISTS cannot stand beside OR REPLACE: write one of them",
                By(line)
            ),
            Self::OtherKind { name, is_view, line } => write!(
                f,
                "{name:?} is a {}, defined {}: write DROP {}",
                noun(*is_view),
                By(line),
                if *is_view { "VIEW" } else { "TABLE" }
            ),
            Self::ViewStays { name, line } => write!(
                f,
                "{name:?} is a view, defined {}, which CREATE OR REPLACE EXTERNAL TABLE does not replace: write DROP VIEW \
                 before it",
                By(line)
            ),
            Self::Unchangeable { name, is_view: true, statement, line } => {
                write!(f, "{name:?} is a view, defined {}: {statement} needs a table", By(line))
            }
            Self::Unchangeable { name, is_view: false, statement, line } => write!(
                f,
                "{name:?} is a table in memory, defined {}, for which DataFusion does not support {statement}: write \
                 DELETE FROM",
                By(line)
            ),
            Self::OfFiles { name, statement, line } => write!(
                f,
                "{name:?} is a table of files, defined {}, for which DataFusion does not support {statement}: write the \
                 rows that it is to have to other files with COPY",
                By(line)
            ),
            Self::NotEmpty { schema, holds, line } => write!(
                f,
                "schema {schema:?} is not empty, for it holds {holds:?}, defined {}: write CASCADE, or drop that first",
                By(line)
            ),
            Self::NotExecutable { name, statement, line } => write!(
                f,
                "prepared statement {name:?}, defined {}, is {statement}, which DataFusion does not execute by EXECUTE: \
                 write that statement here",
                By(line)
            ),
            Self::Parameters { name, takes, given, line } => write!(
                f,
                "prepared statement {name:?}, defined {}, has {takes} parameter{}, and EXECUTE has {given} value{}",
                By(line),
                plural(*takes),
                plural(*given)
            ),
        }
    }
}

/// Where an object was created.
struct By<'a>(&'a Option<LineOfScript>);

impl fmt::Display for By<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(line) => write!(f, "at {line}"),
            None => write!(f, "in the session"),
        }
    }
}

fn instead_of_another(kind: UndefinedKind) -> &'static str {
    match kind {
        UndefinedKind::Schema => {
            "write CREATE SCHEMA IF NOT EXISTS, drop it first, or give this one another name"
        }
        UndefinedKind::Catalog => "write CREATE DATABASE IF NOT EXISTS, or give this one another name",
        UndefinedKind::PreparedStatement => "write DEALLOCATE first, or give this one another name",
        UndefinedKind::Table | UndefinedKind::Function | UndefinedKind::TableFunction => {
            "write CREATE OR REPLACE, drop it first, or give this one another name"
        }
    }
}

const fn noun(is_view: bool) -> &'static str {
    if is_view { "view" } else { "table" }
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
