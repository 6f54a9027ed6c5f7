//! Why something did not succeed, for programs.

use std::path::Path;

use serde::Serialize;

/// Why a run did not succeed, or a command did not do its work. What is not known is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ErrorReport {
    /// What happened, as the policy shows it.
    pub message: String,
    /// The first node that did not succeed.
    pub node: Option<String>,
    /// The file that the error is about: that with the code of the node, or one that cannot be read.
    pub file: Option<String>,
    /// The line in it, from 1: of the error, or else the first one of the node's code.
    pub line: Option<usize>,
    /// The column, from 1, where the error is about a place in the code.
    pub column: Option<usize>,
}

impl ErrorReport {
    /// An error of which only the message is known.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), node: None, file: None, line: None, column: None }
    }

    /// Says which node it is of.
    #[must_use]
    pub fn of_node(self, node: Option<String>) -> Self {
        Self { node, ..self }
    }

    /// Says which file it is about.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        Self { file: Some(file.display().to_string()), ..self }
    }

    /// Says which place in the file it is about.
    #[must_use]
    pub fn at(self, line: usize, column: Option<usize>) -> Self {
        Self { line: Some(line), column, ..self }
    }
}
