//! Parts of a bundle that could not be read.

use std::path::PathBuf;

/// A file, or a part of it, that could not be read. The readable rows are still returned.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// The problem.
    pub problem: String,
}
