//! Sums over the plans of a run: tables that were read, operators, and lineage of columns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a node read of a table, in the slowest execution of each of its plans. What a format does not count is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TableReport {
    /// The table, as the queries call it; its place where it has no name.
    pub table: String,
    /// The node; `None` for queries of none.
    pub node: Option<String>,
    /// The format, such as `parquet` or `memory`.
    pub format: Option<String>,
    /// Scans of it.
    pub scans: u64,
    /// Rows that they returned.
    pub rows: Option<u64>,
    /// Bytes that were read from storage. Where the scans of a format do not count them, those that requests to object stores have brought,
    /// in all executions.
    pub bytes_read: Option<u64>,
    /// Files of the plans, each once however often it is scanned.
    pub files: Option<u64>,
    /// Their size, each once.
    pub file_bytes: Option<u64>,
    /// Row groups that were read.
    pub row_groups_read: Option<u64>,
    /// Row groups that did not have to be.
    pub row_groups_pruned: Option<u64>,
    /// Pages that were read.
    pub pages_read: Option<u64>,
    /// Pages that did not have to be.
    pub pages_pruned: Option<u64>,
    /// Requests to object stores for its files, in all executions.
    pub requests: u64,
}

/// An operator of a node, over all of its plans, in the slowest execution of each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorTotal {
    /// The operator, with the table that it scans.
    pub operator: String,
    /// The node; `None` for queries of none.
    pub node: Option<String>,
    /// How often it stands in the plans.
    pub count: u64,
    /// Time that it computed, summed over its partitions.
    pub compute_ms: f64,
    /// Time that it waited, summed over its partitions: a repartition for those that read its rows, a scan for its files to be opened.
    /// `None` where no timer says.
    #[serde(default)]
    pub waited_ms: Option<f64>,
    /// Rows that it returned.
    pub rows: u64,
    /// The most memory that one of them used at a time.
    pub memory_bytes: Option<u64>,
    /// Bytes that were spilled.
    pub spilled_bytes: u64,
}

/// Where the columns of a node come from, in its slowest query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LineageReport {
    /// The node.
    pub node: String,
    /// Its first columns.
    pub columns: Vec<ColumnLineageReport>,
    /// Columns behind them.
    pub columns_left_out: u64,
    /// What decides which rows there are, and in which order: `orders.o_orderdate: filter`.
    pub rows_by: Vec<String>,
    /// What could not be followed.
    pub unresolved: Vec<String>,
}

/// A column with what its values are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnLineageReport {
    /// Its name.
    pub name: String,
    /// The columns, such as `orders.o_orderkey`; none for a constant, a count of rows and the number of a row.
    pub from: Vec<String>,
    /// The columns in conditions, as of a `CASE`, that only decide which of several values it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen_by: Vec<String>,
    /// Where it is made of no column: those by which the windows of the query are divided and ordered, of which a number of a row
    /// is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub window: Vec<String>,
    /// `identity`, `transformation` or `aggregation`, the last of them that one of the columns `from` went through.
    pub derivation: Option<String>,
}
