//! What a script expects of the rows of a statement.

use daglight_materializers::DataCheck;

/// A check of the rows of a statement, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The check.
    pub check: DataCheck,
    /// The line of the directive, from 1.
    pub line: usize,
    /// The column of the directive, from 1.
    pub column: usize,
}
