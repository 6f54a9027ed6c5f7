//! Why a name is undefined when the statement that uses it is reached.

use std::fmt;

use crate::source::LineOfScript;

/// The kind of object to which a name refers.
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

/// Why an object is missing. `Display` continues a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UndefinedReason {
    /// Nothing defines it.
    Nowhere {
        /// The object of the same kind with the most similar name.
        nearest: Option<String>,
    },
    /// Nothing defines a table with this name, which looks like a file.
    File {
        /// The name.
        path: String,
        /// The format of the file, in the notation of `STORED AS`.
        format: &'static str,
    },
    /// Nothing defines a table with this name, and there is no such file or folder.
    NoFile,
    /// Nothing defines a table with this name, and it is a pattern that matches no file, above partition folders.
    Partitions,
    /// A later statement defines it.
    Later {
        /// Where that statement starts.
        line: LineOfScript,
        /// The column, if the line alone is ambiguous.
        column: Option<usize>,
    },
    /// The statement that uses it also defines it.
    Here,
    /// An earlier statement dropped it.
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
