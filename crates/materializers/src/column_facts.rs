//! What the metadata of files prove of a column, and why they may not have been read.

use std::{fmt, time::Duration};

use datafusion::common::ScalarValue;

/// Files whose footers are read for one table. Of a table that has more, the columns are not described.
pub(crate) const MAX_FILES: usize = 1_000;
/// How long footers are read: a table of many files is then described without its columns.
pub(crate) const READING_LIMIT: Duration = Duration::from_secs(1);

/// Why the metadata of files were not read to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unread {
    /// There are more than 1,000 files.
    TooManyFiles,
    /// It took longer than a second.
    TooSlow,
    /// The table takes parts of files, whose metadata are of the whole.
    PartsOfFiles,
    /// A file cannot be read, which the scan will say.
    Unreadable,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyFiles => write!(f, "it has more than {MAX_FILES} files"),
            Self::TooSlow => write!(f, "reading them took longer than {READING_LIMIT:?}"),
            Self::PartsOfFiles => f.write_str("it takes parts of files"),
            Self::Unreadable => f.write_str("one of them cannot be read"),
        }
    }
}

/// A column as the metadata of its files describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFacts {
    /// Missing values, where known exactly.
    pub missing: Option<u64>,
    /// The least value, where known exactly.
    pub min: Option<ScalarValue>,
    /// The greatest value, where known exactly.
    pub max: Option<ScalarValue>,
}
