//! The plans of the slowest queries, as trees of operators.

use daglight_capture_policy::operator_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::display;

/// The physical plan of a query, with what was estimated and what came of it in its slowest execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanReport {
    /// The query that was measured.
    pub query_id: String,
    /// The node that ran it.
    pub node: Option<String>,
    /// The fingerprint of the physical plan.
    pub plan_hash: Option<String>,
    /// The plan's file in the bundle.
    pub plan_file: String,
    /// How often the plan was executed.
    pub executions: u64,
    /// How long the execution took that was measured.
    pub duration_ms: f64,
    /// The operators, each before those that it reads, the first two hundred.
    pub operators: Vec<PlanOperatorReport>,
    /// Operators beyond these.
    pub left_out: u64,
}

/// An operator of a plan, over all its partitions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanOperatorReport {
    /// How many operators are above it.
    pub depth: u32,
    /// Its name.
    pub name: String,
    /// The table that it scans.
    pub table: Option<String>,
    /// What it does, as the plan shows it.
    pub detail: String,
    /// Rows that the plan's statistics had it return.
    pub estimated_rows: Option<u64>,
    /// Whether the statistics were exact.
    pub estimate_is_exact: bool,
    /// Whether it was far from what came, by the thresholds of findings.
    #[serde(default)]
    pub estimate_is_wrong: bool,
    /// Rows that it returned.
    pub rows: Option<u64>,
    /// Time that it computed, summed over its partitions.
    pub compute_ms: Option<f64>,
    /// The partitions that it ran in.
    pub partitions: Option<u64>,
    /// Time that it computed in the partition that computed longest; `None` where the partitions are not told apart.
    #[serde(default)]
    pub longest_partition_ms: Option<f64>,
    /// Whether it may have computed for longer, as of an operator of a query in the report.
    #[serde(default)]
    pub is_at_least: bool,
    /// The most memory that it used at a time, where it says.
    pub memory_bytes: Option<u64>,
    /// Bytes that it spilled to disk.
    pub spilled_bytes: Option<u64>,
}

impl PlanOperatorReport {
    /// Its name, with the table that it scans.
    pub(crate) fn shown_name(&self) -> String {
        display::name(&operator_name(&self.name, self.table.as_deref())).into_owned()
    }
}
