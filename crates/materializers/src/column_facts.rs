//! Facts about a column from file metadata, and why metadata may not have been read.

use std::{fmt, time::Duration};

use datafusion::common::ScalarValue;

/// The maximum number of files whose footers are read for one table. For a table with more, columns are not described.
pub(crate) const MAX_FILES: usize = 1_000;
/// The time limit for reading footers: beyond that, a table is described without its columns.
pub(crate) const READING_LIMIT: Duration = Duration::from_secs(1);

/// Why the file metadata was not read completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unread {
    /// There are more than 1,000 files.
    TooManyFiles,
    /// It took longer than a second.
    TooSlow,
    /// The table contains parts of files, but the metadata covers whole files.
    PartsOfFiles,
    /// A file cannot be read, which the scan will report.
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

/// A column according to the metadata of its files.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFacts {
    /// The number of missing values, if known exactly.
    pub missing: Option<u64>,
    /// The minimum, if known exactly.
    pub min: Option<ScalarValue>,
    /// The maximum, if known exactly.
    pub max: Option<ScalarValue>,
}
