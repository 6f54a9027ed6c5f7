//! Queries and their operators.

use daglight_capture_policy::operator_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{display, operator_time};

/// One query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueryReport {
    /// Its id in the session.
    pub query_id: String,
    /// The node that ran it.
    pub node: Option<String>,
    /// The fingerprint of its logical plan.
    pub plan_hash: Option<String>,
    /// The tables that it read.
    pub source_tables: Vec<String>,
    /// How long it was executed.
    pub duration_ms: f64,
    /// How long it was planned.
    pub planning_ms: Option<f64>,
    /// Rows that it got from the tables that it scans; `None` where a scan does not count them.
    pub rows_in: Option<u64>,
    /// Rows that it gave out.
    pub rows_out: Option<u64>,
    /// Whether it failed.
    pub failed: bool,
    /// Its operators that computed longest, the longest first.
    pub hottest_operators: Vec<OperatorReport>,
    /// Of a query that did not come to its end, the time that no timer of its operators had counted, where that is most of its time: which
    /// operator took it is not known.
    #[serde(default)]
    pub untimed_ms: Option<f64>,
    /// The plan's file in the bundle.
    pub plan_file: Option<String>,
}

/// One operator of a query, over all its partitions, which run at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OperatorReport {
    /// Its name.
    pub name: String,
    /// The table that it scans.
    #[serde(default)]
    pub table: Option<String>,
    /// What it does, as the plan shows it.
    pub detail: String,
    /// Time that it computed, summed over partitions: it can be more than the query took.
    pub compute_ms: f64,
    /// The partitions that it ran in; `None` where the bundle does not say.
    #[serde(default)]
    pub partitions: Option<u64>,
    /// Time that it computed in one of its partitions, on average.
    #[serde(default)]
    pub per_partition_ms: Option<f64>,
    /// Time that it computed in the partition that computed longest; `None` where the partitions are not told apart.
    #[serde(default)]
    pub longest_partition_ms: Option<f64>,
    /// Whether it may have computed for longer: neither the query nor the operator had come to their end, and a timer counts what it
    /// measures when that is over.
    #[serde(default)]
    pub is_at_least: bool,
    /// Its part of what all operators of the query computed, from 0 to 1.
    pub share: f64,
    /// Rows that it gave out.
    pub rows: Option<u64>,
}

impl OperatorReport {
    /// Its name, with the table that it scans.
    pub(crate) fn shown_name(&self) -> String {
        display::name(&operator_name(&self.name, self.table.as_deref())).into_owned()
    }

    /// Its compute time as text, such as `4.75 s in the longest of 4 partitions`. In a query that took `query_ms`, one partition
    /// may compute for longer if it has its own tasks, like those for the columns of a file.
    pub(crate) fn time_in_words(&self, query_ms: f64) -> String {
        if self.compute_ms / self.partitions.unwrap_or(1).max(1) as f64 > query_ms && query_ms > 0.0 {
            return format!("{} over all its tasks", display::duration(self.compute_ms));
        }
        let at_least = if self.is_at_least { "at least " } else { "" };
        let mean_ms = self.per_partition_ms.unwrap_or(self.compute_ms);
        let partitions = self.partitions.filter(|_| self.per_partition_ms.is_some()).unwrap_or(1);
        format!("{at_least}{}", operator_time::in_words(self.longest_partition_ms, mean_ms, partitions))
    }
}
