//! A data check of a node, as the manifest records it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A check of the rows of a node and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckRecord {
    /// The check as it was written, as far as the policy shows SQL; its kind where it shows none.
    pub check: String,
    /// `rows`, `unique`, `not_null`, `freshness` or `condition`.
    #[serde(default)]
    pub kind: String,
    /// The columns that it is about; empty for one of the number of rows, or of a condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// What a failure does.
    pub severity: RecordedSeverity,
    /// How it ended.
    pub outcome: RecordedOutcome,
    /// Rows that it has looked at.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Those of them that break it, where it is about single rows.
    #[serde(default)]
    pub failing: Option<u64>,
    /// What was found, in words.
    #[serde(default)]
    pub message: String,
}

/// What a check that fails does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordedSeverity {
    /// It warns.
    Warn,
    /// The node fails. A severity of a newer Daglight is read as this one.
    #[serde(other)]
    Fail,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordedOutcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It is not known. An outcome of a newer Daglight is read as this one.
    #[serde(other)]
    Undecided,
}

impl CheckRecord {
    /// Whether the check failed its node.
    pub fn fails_the_node(&self) -> bool {
        self.outcome == RecordedOutcome::Failed && self.severity == RecordedSeverity::Fail
    }

    /// Whether the check did not pass, but did not fail its node.
    pub fn warns(&self) -> bool {
        self.outcome != RecordedOutcome::Passed && !self.fails_the_node()
    }
}

impl fmt::Display for RecordedSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

impl fmt::Display for RecordedOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Undecided => "undecided",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_newer_version_are_read() {
        let json = r#"{"check":"rows > 0","severity":"abort","outcome":"skipped","more":1}"#;
        let record: CheckRecord = serde_json::from_str(json).unwrap();
        assert_eq!((record.severity, record.outcome), (RecordedSeverity::Fail, RecordedOutcome::Undecided));
        assert!(record.warns() && !record.fails_the_node());
        let written = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<CheckRecord>(&written).unwrap(), record);
    }
}
