//! What changed since the last good run.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::compare::{Measured, OutputComparison, PlanChange, SourceMoved, ValueDrift};

/// What changed since the last good run of the same DAG whose bundle is beside this one. Lists have what matters by the thresholds
/// of findings, and of rows every change by more than 2 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SinceLastRun {
    /// That run.
    pub run_id: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// How long this run took, in milliseconds, beside that one.
    pub duration_ms: Option<Measured>,
    /// Operators that let through fewer of their rows, those first that lost most.
    pub lost: Vec<RowsLost>,
    /// Nodes that returned more rows, or fewer, by more than 2 %, in the order of the run.
    pub rows: Vec<RowsMoved>,
    /// Sources with more files, or fewer, or whose bytes changed by more than 2 %: those of queries that ran once in both runs.
    #[serde(default)]
    pub sources: Vec<SourceMoved>,
    /// Outputs with other columns, and those that are new or gone.
    pub outputs: Vec<OutputComparison>,
    /// Queries that return other columns and whose nodes have no output.
    pub columns: Vec<ColumnsMoved>,
    /// Columns whose values have moved, those that moved most first.
    pub drifts: Vec<ValueDrift>,
    /// Plans with other operators.
    pub plan_changes: Vec<PlanChange>,
    /// Other nodes whose plans have other fingerprints: the operators are the same, or their plans were not kept.
    pub other_plans: Vec<String>,
    /// What is not in these lists, because there is so much of it.
    pub left_out: u64,
}

/// An operator that let through fewer of its rows than in the last good run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowsLost {
    /// The node.
    pub node: String,
    /// The query.
    pub query_id: String,
    /// The plan's file in the bundle.
    pub plan_file: String,
    /// The operator, with the table that it scans.
    pub operator: String,
    /// Rows that came to it: of a join, from each of its sides; `None` where a scan leaves rows out by itself.
    pub rows_in: Option<Vec<u64>>,
    /// Rows that it returned.
    pub rows_out: u64,
    /// Rows that it returned in the last good run.
    pub rows_out_before: u64,
    /// Rows that it would have returned, had it kept as many of those that came as in that run.
    pub rows_expected: u64,
}

/// A node that returned more rows than in the last good run, or fewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowsMoved {
    /// The node.
    pub node: String,
    /// Rows before.
    pub before: u64,
    /// And now.
    pub after: u64,
}

/// A query that returns other columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnsMoved {
    /// The node.
    pub node: String,
    /// Columns that are gone, as `name type`.
    pub gone: Vec<String>,
    /// Columns that are new, as `name type`.
    pub new: Vec<String>,
}
