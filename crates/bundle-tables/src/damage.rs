//! What of a bundle could not be read.

use std::path::PathBuf;

/// A file, or a part of it, that could not be read. The rows that were are there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}
