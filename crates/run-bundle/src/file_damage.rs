//! Problems with files of a bundle, as their readers report them.

use std::fmt;

/// A problem with a file, or with a value in it that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileDamage {
    /// The file, by its path below the bundle.
    pub file: String,
    /// The problem, as a sentence without a full stop.
    pub problem: String,
}

impl FileDamage {
    pub(crate) fn new(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { file: file.into(), problem: problem.into() }
    }
}

impl fmt::Display for FileDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.problem)
    }
}
