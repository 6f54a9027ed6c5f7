//! Problems: errors, warnings, and files that cannot be read.

use chrono::{DateTime, Utc};
use daglight_run_bundle::{FileDamage, WarningCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An error or warning, with all its occurrences. What is told more than once, as by the span of a query, that of its node, that of
/// the run and the log, is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// What was said.
    pub message: String,
    /// The kind of error, as `error.type` has it.
    pub error_type: Option<String>,
    /// The node that it was first seen in.
    pub node: Option<String>,
    /// What said it: `log`, `manifest`, `plan` or the name of a span.
    pub source: String,
    /// What a warning of Daglight is about; `other` for those of libraries, and for errors.
    #[serde(default)]
    pub code: WarningCode,
    /// How often.
    pub count: u64,
    /// When it was first seen.
    pub first_at: Option<DateTime<Utc>>,
    /// The trace that it was first seen in, where what said it has one.
    #[serde(default)]
    pub trace_id: Option<String>,
    /// The span of that trace.
    #[serde(default)]
    pub span_id: Option<String>,
}

impl Problem {
    /// A warning that a file of the bundle has, and no signal.
    pub(crate) fn warning(source: &str, code: WarningCode, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            message,
            error_type: None,
            node: None,
            source: source.to_owned(),
            code,
            count: 1,
            first_at: None,
            trace_id: None,
            span_id: None,
        }
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something failed.
    Error,
    /// Something to look at.
    Warning,
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadableFile {
    /// Its name in the bundle.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

impl From<FileDamage> for UnreadableFile {
    fn from(FileDamage { file, problem, .. }: FileDamage) -> Self {
        Self { file, problem }
    }
}
