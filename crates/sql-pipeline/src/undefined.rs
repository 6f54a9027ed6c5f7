//! Why a name does not stand for anything when the statement that names it is reached.

use std::fmt;

use crate::source::LineOfScript;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UndefinedKind {
    /// A table or view.
    Table,
    /// A schema.
    Schema,
    /// A catalog.
    Catalog,
    /// A function.
    Function,
    /// A function that returns a table.
    TableFunction,
    /// A prepared statement.
    PreparedStatement,
}

impl fmt::Display for UndefinedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Schema => "schema",
            Self::Catalog => "catalog",
            Self::Function => "function",
            Self::TableFunction => "table function",
            Self::PreparedStatement => "prepared statement",
        })
    }
}

/// What is known of something that is not there. `Display` continues a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UndefinedReason {
    /// Nothing defines it.
    Nowhere {
        /// The thing of its kind with the most similar name.
        nearest: Option<String>,
    },
    /// Nothing defines a table of this name, which looks like that of a file.
    File {
        /// The name.
        path: String,
        /// The format of its files, as `STORED AS` takes it.
        format: &'static str,
    },
    /// Nothing defines a table of this name, and no file or folder has it.
    NoFile,
    /// Nothing defines a table of this name, and it is a pattern that no file matches, above folders of partitions.
    Partitions,
    /// A statement further down defines it.
    Later {
        /// Where that statement starts.
        line: LineOfScript,
        /// The column, where that tells more than the line.
        column: Option<usize>,
    },
    /// The statement that names it defines it.
    Here,
    /// A statement further up dropped it.
    Dropped {
        /// Where that statement starts.
        line: LineOfScript,
    },
}

impl fmt::Display for UndefinedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere { nearest: None } => write!(f, "is not defined"),
            Self::Nowhere { nearest: Some(nearest) } => {
                write!(f, "is not defined; did you mean {nearest:?}?")
            }
            Self::File { path, format } => write!(
                f,
                "is not defined, and this session does not read files by their names: write \
                 `CREATE EXTERNAL TABLE name STORED AS {format} LOCATION '{path}'`, then read that table"
            ),
            Self::NoFile => write!(f, "is not defined, and there is no file or folder of this name"),
            Self::Partitions => write!(
                f,
                "is not defined, and no file matches this pattern, which is compared without the folders of partitions, such as \
                 `day=1/`: leave them out of the pattern, or write the folder above them"
            ),
            Self::Later { line, column: None } => write!(f, "is defined only at {line}"),
            Self::Later { line, column: Some(column) } => {
                write!(f, "is defined only at {line}, column {column}")
            }
            Self::Here => write!(f, "is defined only by this statement"),
            Self::Dropped { line } => write!(f, "was dropped at {line}"),
        }
    }
}
