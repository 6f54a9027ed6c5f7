//! What is wrong with a file of a bundle, as its readers name it.

use std::fmt;

/// What is wrong with a file, or with a value in it that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileDamage {
    /// The file, by its path below the bundle.
    pub file: String,
    /// What is wrong with it, as a sentence without an end.
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
