//! The data of a node.

use daglight_run_bundle::SummarySource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The summary of the data that a node returned or wrote, or of the files that it reads, as the policy shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataReport {
    /// The node.
    pub node: String,
    /// Whether the node failed, and so the summary is of the rows that came before.
    pub is_partial: bool,
    /// What it was made of: the rows, or the metadata of files.
    #[serde(default)]
    pub source: SummarySource,
    /// Rows.
    pub rows: u64,
    /// The first columns, in the order of the schema.
    pub columns: Vec<ColumnReport>,
    /// Columns behind them.
    pub columns_left_out: u64,
}

/// The summary of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub data_type: String,
    /// Rows without a value.
    pub missing: u64,
    /// How many different values there are, where that is counted.
    pub distinct: Option<u64>,
    /// Whether that number is an estimate.
    pub distinct_is_estimate: bool,
    /// The least value of numbers and times.
    pub min: Option<String>,
    /// The greatest one.
    pub max: Option<String>,
    /// Their mean.
    pub mean: Option<String>,
    /// The most frequent values of a column with few, where the policy shows values; the most frequent first.
    pub most_frequent: Vec<ValueReport>,
    /// The mean length of texts, in characters.
    pub mean_length: Option<f64>,
    /// Numbers of values in ranges of equal width, from the least to the greatest value.
    pub histogram: Vec<u64>,
    /// By which part of all values an edge of the histogram may be off, from 0 to 1; `None` where it is exact.
    pub rank_error: Option<f64>,
    /// What the figures leave out, or that they are estimates.
    pub remark: Option<String>,
}

/// A value, and how often it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ValueReport {
    /// The value; a long one is cut.
    pub value: String,
    /// Rows with it.
    pub count: u64,
}
