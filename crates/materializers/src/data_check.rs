//! A check of the rows of a node in its written form: `rows > 0`, `unique(id)`, `not_null(a, b)`, `freshness(at) < 2 days`, or a
//! condition that must hold for every row.

use std::{fmt, str::FromStr, time::Duration};

/// A check of the rows of a node.
///
/// ```
/// use daglight_materializers::{CheckSeverity, DataCheck};
///
/// let check: DataCheck = "unique(order_id)".parse()?;
/// assert_eq!((check.kind(), check.severity()), ("unique", CheckSeverity::Fail));
/// # Ok::<(), daglight_materializers::CheckSyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataCheck {
    text: String,
    severity: CheckSeverity,
    pub(crate) rule: CheckRule,
}

/// The effect of a failed check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckSeverity {
    /// A warning; the node is not affected.
    Warn,
    /// The node fails.
    #[default]
    Fail,
}

impl CheckSeverity {
    /// `warn` or `fail`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl FromStr for CheckSeverity {
    type Err = UnknownSeverity;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "warn" => Ok(Self::Warn),
            "fail" => Ok(Self::Fail),
            _ => Err(UnknownSeverity),
        }
    }
}

/// The severity is neither `warn` nor `fail`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the severity `warn` or `fail`")]
pub struct UnknownSeverity;

/// What must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CheckRule {
    /// The number of rows.
    Rows(RowsExpected),
    /// No two rows have the same values in these columns. As in SQL, rows with a null value in them are not compared.
    Unique(Vec<String>),
    /// No row has a null value in any of these columns.
    NotNull(Vec<String>),
    /// The newest value of the column is younger than the limit, or equal to it if `included`.
    Freshness { column: String, limit: Duration, included: bool },
    /// The condition is false for no row. If it is unknown, because a value in it is null, it is not false.
    Condition,
}

/// The expected number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowsExpected {
    Within {
        least: u64,
        most: u64,
    },
    Not(u64),
    /// For conditions such as `rows < 0`.
    Never,
}

impl RowsExpected {
    pub(crate) fn are(self, rows: u64) -> bool {
        match self {
            Self::Within { least, most } => (least..=most).contains(&rows),
            Self::Not(other) => rows != other,
            Self::Never => false,
        }
    }
}

impl DataCheck {
    pub(crate) fn new(text: &str, rule: CheckRule) -> Self {
        Self { text: text.trim().to_owned(), severity: CheckSeverity::default(), rule }
    }

    /// The same check with another severity.
    #[must_use]
    pub fn with_severity(self, severity: CheckSeverity) -> Self {
        Self { severity, ..self }
    }

    /// The effect of a failure.
    pub fn severity(&self) -> CheckSeverity {
        self.severity
    }

    /// The check as written, which may contain literals.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `rows`, `unique`, `not_null`, `freshness` or `condition`.
    pub fn kind(&self) -> &'static str {
        match self.rule {
            CheckRule::Rows(_) => "rows",
            CheckRule::Unique(_) => "unique",
            CheckRule::NotNull(_) => "not_null",
            CheckRule::Freshness { .. } => "freshness",
            CheckRule::Condition => "condition",
        }
    }

    /// The columns that it names; empty for the number of rows and for a condition, which is an expression.
    pub fn columns(&self) -> &[String] {
        match &self.rule {
            CheckRule::Unique(columns) | CheckRule::NotNull(columns) => columns,
            CheckRule::Freshness { column, .. } => std::slice::from_ref(column),
            CheckRule::Rows(_) | CheckRule::Condition => &[],
        }
    }
}

/// `expect: rows > 0` or `expect(warn): rows > 0`, as in a script.
impl fmt::Display for DataCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.severity {
            CheckSeverity::Fail => write!(f, "expect: {}", self.text),
            CheckSeverity::Warn => write!(f, "expect(warn): {}", self.text),
        }
    }
}
