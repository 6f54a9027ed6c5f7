//! What an output says it has written.

use std::fmt;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};

use crate::Files;

/// How an output is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Materialization {
    /// Files of a format, such as `parquet`.
    Files {
        /// The format's extension, in lower case.
        format: String,
    },
    /// Rows in memory, or appended to an existing table.
    Table,
    /// A definition that is evaluated where it is used.
    View,
}

impl Materialization {
    /// The name for tags and the catalog: the format of files, `table` or `view`.
    pub fn name(&self) -> &str {
        match self {
            Self::Files { format } => format,
            Self::Table => "table",
            Self::View => "view",
        }
    }
}

impl fmt::Display for Materialization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An output that exists now.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The stable external name.
    pub name: String,
    /// How it is kept.
    pub materialization: Materialization,
    /// The path or URL of its files.
    pub location: Option<String>,
    /// The files that lie there, where they can be listed.
    pub files: Option<Files>,
    /// Rows written; `None` for a view.
    pub rows: Option<u64>,
    /// The columns.
    pub schema: SchemaRef,
    /// When it was written.
    pub written_at: DateTime<Utc>,
}
