//! A data check of a script.

use daglight_materializers::DataCheck;

/// A check of the rows of a statement, and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The check.
    pub check: DataCheck,
    /// The line of the directive, starting at 1.
    pub line: usize,
    /// The column of the directive, starting at 1.
    pub column: usize,
}
