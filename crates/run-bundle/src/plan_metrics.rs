//! The measurements of a plan's executions, as in the files in `plans/`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{plan_cluster::ClusterWork, sums::saturating_sum};

/// The measurements of one executed query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanMetrics {
    /// When physical planning started.
    pub planned_at_ms: f64,
    /// How long physical planning took, in milliseconds.
    pub planning_ms: Option<f64>,
    /// When the first partition was executed.
    pub started_at_ms: f64,
    /// From the first partition's execution to the end.
    pub wall_ms: f64,
    /// Rows returned or written; `None` for a write that returned no count.
    pub rows: Option<u64>,
    /// Rows that its table scans returned; `Some(None)` if a scan does not count them, `None` in older bundles, which lack the
    /// field. [`PlanMetrics::rows_read`] handles all three cases.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub rows_read: Option<Option<u64>>,
    /// Bytes written to storage, if the sink reports them.
    pub bytes_written: Option<u64>,
    /// Bytes read from storage, if the scans report them.
    pub bytes_scanned: Option<u64>,
    /// The work of a cluster for the query; `None` if the session has no cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterWork>,
    /// All operators, in pre-order.
    pub operators: Vec<PlanOperator>,
}

/// Numbers by their DataFusion metric names. Most names are constants in the code of DataFusion, and need no memory.
pub type Metrics = BTreeMap<Cow<'static, str>, u64>;

/// One operator of the physical plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanOperator {
    /// Position in pre-order, from 0.
    pub id: u64,
    /// The operator that reads this one's output.
    pub parent: Option<u64>,
    /// Such as `HashJoinExec`.
    pub name: String,
    /// Its line of the plan; `None` if the policy withholds literals.
    pub detail: Option<String>,
    /// Whether it gets rows from outside the query.
    pub is_scan: bool,
    /// The table that it scans, if known.
    pub table: Option<String>,
    /// Rows that it returned.
    pub output_rows: Option<u64>,
    /// Its own compute time in milliseconds, summed over its partitions, which run in parallel. In older bundles this includes the
    /// waiting time of repartitions and scans; [`PlanOperator::computed_ms`] excludes it for bundles of all versions.
    pub elapsed_compute_ms: Option<f64>,
    /// The partitions that it was executed in.
    pub partitions: Option<u64>,
    /// From the start of the query to the start of the operator, in milliseconds.
    pub start_ms: f64,
    /// From the start of the query to the end of the operator, in milliseconds.
    pub end_ms: f64,
    /// The number of rows that the plan's statistics predicted before the execution.
    pub estimated_rows: Option<u64>,
    /// Whether that estimate was exact.
    pub estimate_is_exact: bool,
    /// The number of bytes that the plan's statistics predicted.
    pub estimated_bytes: Option<u64>,
    /// Bytes in memory of the returned rows. Buffers that batches share are counted for each of them.
    pub output_bytes: Option<u64>,
    /// Its peak memory, if it reports that.
    pub memory_bytes: Option<u64>,
    /// Bytes that it spilled to disk.
    pub spilled_bytes: Option<u64>,
    /// The metrics of each partition. Empty for more than a hundred partitions, and for a plan that was executed again, whose
    /// operators accumulate.
    pub partition_metrics: Vec<PartitionMetrics>,
    /// Every metric, summed over partitions; times in nanoseconds. Entries of a file that are not numbers are ignored when it is
    /// read.
    #[serde(deserialize_with = "counts")]
    pub metrics: Metrics,
}

/// Groups of timers, one of which is the work of an operator; the others are parts of it or something else. A scan decodes outside of the
/// common one, joins and repartitions measure their work under other names.
pub const COMPUTING_TIMERS: [&[&str]; 4] = [
    &["elapsed_compute"],
    // Those of joins, which are added to the common one when a partition ends; nested loops and cross joins do not add them.
    &["build_time", "join_time"],
    &["time_elapsed_processing"],
    &["repartition_time"],
];

/// The timers of an operator that has others than `elapsed_compute`, by what they measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorTimers {
    /// The timer that runs while the operator computes.
    pub computing: &'static str,
    /// The timer that runs while the operator waits; it may include some of its own work.
    pub waiting: &'static str,
}

impl OperatorTimers {
    /// A repartition passes its rows on within `send_time`, which includes waiting until there is room for them, that is, the
    /// compute time of the operators above (`datafusion-physical-plan` 55.2.0, `src/repartition/mod.rs`, `pull_from_input`).
    const REPARTITION: Self = Self { computing: "repartition_time", waiting: "send_time" };
    /// A file scan computes within its polls, which `time_elapsed_processing` measures, including opening a file.
    /// `time_elapsed_opening` spans polls, until the file is open (`datafusion-datasource` 55.2.0, `src/file_stream/scan_state.rs`,
    /// `poll_scan`).
    const FILES: Self = Self { computing: "time_elapsed_processing", waiting: "time_elapsed_opening" };

    /// The timers of an operator with these metrics; `None` if `elapsed_compute` has its time, or if all of its timers measure
    /// computing.
    pub fn of(operator: &str, has: impl Fn(&str) -> bool) -> Option<Self> {
        let timers = match operator {
            "RepartitionExec" => Self::REPARTITION,
            "DataSourceExec" => Self::FILES,
            _ => return None,
        };
        has(timers.computing).then_some(timers)
    }
}

/// The measurements of an operator in one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionMetrics {
    /// The partition; `None` for measurements that belong to no partition, such as opening files.
    pub partition: Option<u64>,
    /// The task of the stage to which the partition belongs, if the operator ran on a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<u64>,
    /// Its metrics; times in nanoseconds.
    #[serde(deserialize_with = "counts")]
    pub metrics: Metrics,
}

/// The sums over all executions of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanExecutions {
    /// How many started.
    pub started: u64,
    /// How many were read to their end.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How many panicked.
    pub panicked: u64,
    /// The time of those that ended, in milliseconds.
    pub wall_ms: f64,
    /// Their planning time, in milliseconds.
    pub planning_ms: f64,
    /// Rows that they returned or wrote.
    pub rows: u64,
    /// Rows that they read, if all scans count them.
    pub rows_read: u64,
    /// Executions with a scan that does not count its rows.
    pub uncounted: u64,
    /// Bytes that they wrote to storage. `None` if one of them does not report this, such as an `INSERT` into an in-memory table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_written: Option<u64>,
    /// Bytes that they read from storage.
    pub bytes_scanned: u64,
    /// Bytes that they spilled to disk.
    pub bytes_spilled: u64,
}

/// How long planning of a query took. Unknown parts are `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanningRecord {
    /// Parsing its text and creating the initial logical plan.
    pub parsing_ms: Option<f64>,
    /// Analysing that plan.
    pub analysis_ms: f64,
    /// Optimising the logical plan.
    pub optimization_ms: f64,
    /// Creating the physical plan.
    pub physical_ms: f64,
    /// Every rule that ran, in order.
    pub rules: Vec<RuleRecord>,
    /// The phase that failed: `analysis`, `optimization` or `physical`; `None` if planning succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_part: Option<String>,
    /// The rule that failed, if a rule did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_rule: Option<String>,
    /// The phase that is still going on, in the file of a query that is being planned, or was when its process died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_part: Option<String>,
    /// The last rule that was called in that phase, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_rule: Option<String>,
}

/// The work of one rule, over all passes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleRecord {
    /// Its name.
    pub name: String,
    /// `analysis`, `optimization` or `physical`.
    pub part: String,
    /// From its first call in a pass to the first call of the next rule, in milliseconds.
    pub ms: f64,
    /// Whether it changed the plan, if the rule reports that.
    pub changed: Option<bool>,
    /// The plan lines that it changed, in the format of `diff -u`, if that is enabled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// A scan of a table: what it read, and what it could skip.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanSource {
    /// The operator that scans it.
    pub operator: u64,
    /// The table, as named in the query, if known.
    pub table: Option<String>,
    /// Its file, or the folder with its files, as far as the policy allows.
    pub location: Option<String>,
    /// `parquet`, `csv`, `memory`, ...
    pub format: Option<String>,
    /// Files that the plan reads.
    pub files: Option<u64>,
    /// The size of these files.
    pub bytes: Option<u64>,
    /// Whether the partitions of the scan take files, or ranges of them, from one queue, so that the rows of each depend on timing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shares_files: bool,
    /// Rows that it returned.
    pub rows: Option<u64>,
    /// Bytes that were read from storage.
    pub bytes_scanned: Option<u64>,
    /// Row groups that were read.
    pub row_groups_read: Option<u64>,
    /// Row groups that statistics or Bloom filters ruled out.
    pub row_groups_pruned: Option<u64>,
    /// Pages that were read, if a page index was used.
    pub pages_read: Option<u64>,
    /// Pages that the page index ruled out.
    pub pages_pruned: Option<u64>,
}

/// Requests to an object store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageUse {
    /// The store, such as `s3://bucket` or `file://`.
    pub store: String,
    /// The table to which the requested files belong, if known.
    pub table: Option<String>,
    /// `get`, `head`, `put`, `list` or `change`.
    pub operation: String,
    /// The number of requests.
    pub requests: u64,
    /// Bytes that arrived or were written; for local files, the bytes that were requested.
    pub bytes: u64,
    /// The total time spent waiting for the store: for the response and for each part of its body, even if none came. Requests
    /// overlap, so this can exceed the elapsed time.
    pub ms: f64,
}

/// The rows that the sources of a query returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsRead {
    /// The rows, as far as the sources count them.
    pub counted: u64,
    /// False if a source does not count its rows.
    pub all_counted: bool,
}

/// Distinguishes a field that is null from one that is missing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn counts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metrics, D::Error> {
    let metrics: BTreeMap<String, Value> = BTreeMap::deserialize(deserializer)?;
    Ok(metrics.into_iter().filter_map(|(name, value)| Some((name.into(), value.as_u64()?))).collect())
}

impl PlanOperator {
    /// One of its metrics, by its DataFusion name.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.metrics.get(name).copied()
    }

    /// Its compute time in milliseconds, summed over its partitions, without the time that it waited.
    pub fn computed_ms(&self) -> Option<f64> {
        let timers = OperatorTimers::of(&self.name, |name| self.metrics.contains_key(name));
        let timed = timers.and_then(|timers| self.metric(timers.computing));
        timed.map(|nanoseconds| nanoseconds as f64 / 1e6).or(self.elapsed_compute_ms)
    }

    /// The time that it waited, in milliseconds, summed over its partitions: a repartition for the readers of its rows, a scan for
    /// its files to be opened. `None` if there is no timer for that.
    pub fn waited_ms(&self) -> Option<f64> {
        let timers = OperatorTimers::of(&self.name, |name| self.metrics.contains_key(name))?;
        Some(self.metric(timers.waiting)? as f64 / 1e6)
    }

    /// The number of partitions in which it was executed, at least one.
    pub fn partition_count(&self) -> u64 {
        self.partitions.unwrap_or(1).max(1)
    }
}

impl PlanMetrics {
    /// The rows that the sources returned. Older bundles do not have this number: it is then computed from the operators without
    /// input, as far as they count their output.
    pub fn rows_read(&self) -> RowsRead {
        // Older bundles do not have it; the fallback is the output of the leaves.
        if let Some(said) = self.rows_read {
            return RowsRead { counted: said.unwrap_or(0), all_counted: said.is_some() };
        }
        let parents: HashSet<u64> = self.operators.iter().filter_map(|operator| operator.parent).collect();
        let leaves = self.operators.iter().filter(|operator| !parents.contains(&operator.id));
        let mut read = RowsRead { counted: 0, all_counted: !self.operators.is_empty() };
        for leaf in leaves {
            match leaf.output_rows {
                Some(rows) => read.counted = read.counted.saturating_add(rows),
                None => read.all_counted = false,
            }
        }
        read
    }

    /// The depth of each operator, in their order. An operator that does not name an earlier one as its parent is at the top.
    pub fn depths(&self) -> impl Iterator<Item = u32> {
        let mut depths: HashMap<u64, u32> = HashMap::new();
        self.operators.iter().map(move |operator| {
            let above = operator.parent.and_then(|parent| depths.get(&parent));
            let depth = above.map_or(0, |above| above.saturating_add(1));
            depths.insert(operator.id, depth);
            depth
        })
    }

    /// The same measurements with the texts of operators passed through `shown`.
    #[must_use]
    pub fn with_details(mut self, mut shown: impl FnMut(&str) -> String) -> Self {
        for detail in self.operators.iter_mut().filter_map(|operator| operator.detail.as_mut()) {
            *detail = shown(detail);
        }
        self
    }

    /// The plan as text: one indented line per operator.
    pub fn plan_text(&self) -> String {
        let mut depths: Vec<usize> = Vec::with_capacity(self.operators.len());
        let mut text = String::new();
        for operator in &self.operators {
            let parent = operator.parent.and_then(|parent| usize::try_from(parent).ok());
            let depth = parent.and_then(|parent| depths.get(parent)).map_or(0, |depth| depth + 1);
            depths.push(depth);
            text.extend(std::iter::repeat_n("  ", depth));
            text.push_str(operator.detail.as_deref().unwrap_or(&operator.name));
            text.push('\n');
        }
        text
    }

    /// The sum of a metric over all operators, by its DataFusion name.
    pub fn total(&self, metric: &str) -> u64 {
        let counts = self.operators.iter().filter_map(|operator| operator.metrics.get(metric)).copied();
        saturating_sum(counts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn depths_follow_the_parents_that_come_before() {
        let metrics: PlanMetrics = serde_json::from_value(json!({"operators": [
            {"id": 0}, {"id": 1, "parent": 0}, {"id": 2, "parent": 1}, {"id": 3, "parent": 0}, {"id": 4, "parent": 9},
            {"id": 5, "parent": 5},
        ]}))
        .unwrap();
        assert_eq!(metrics.depths().collect::<Vec<_>>(), [0, 1, 2, 1, 0, 0]);
    }

    #[test]
    fn what_an_operator_waits_for_is_not_computed() {
        for (operator, computed, waited) in [
            (
                // As recorded by older versions.
                json!({"name": "RepartitionExec", "elapsed_compute_ms": 140_225.0, "metrics": {
                    "elapsed_compute": 100_000, "fetch_time": 153_600_000, "repartition_time": 9_000_000,
                    "send_time": 140_216_000_000u64}}),
                Some(9.0),
                Some(140_216.0),
            ),
            (
                json!({"name": "DataSourceExec", "elapsed_compute_ms": 2_889.0, "metrics": {
                    "elapsed_compute": 612_000_000, "time_elapsed_opening": 1_325_000_000,
                    "time_elapsed_processing": 1_564_000_000, "time_elapsed_scanning_total": 679_000_000}}),
                Some(1_564.0),
                Some(1_325.0),
            ),
            (json!({"name": "DataSourceExec", "elapsed_compute_ms": 5.0}), Some(5.0), None),
            (
                json!({"name": "SortExec", "elapsed_compute_ms": 7.0, "metrics": {"send_time": 5}}),
                Some(7.0),
                None,
            ),
            (json!({"name": "SortExec"}), None, None),
        ] {
            let operator: PlanOperator = serde_json::from_value(operator).unwrap();
            assert_eq!((operator.computed_ms(), operator.waited_ms()), (computed, waited), "{operator:?}");
        }
    }

    #[test]
    fn rows_read_are_those_of_the_leaves() {
        let metrics: PlanMetrics = serde_json::from_value(json!({"operators": [
            {"id": 0, "name": "HashJoinExec", "output_rows": 5},
            {"id": 1, "parent": 0, "name": "DataSourceExec", "output_rows": 25, "metrics": {"bytes_scanned": 100}},
            {"id": 2, "parent": 0, "name": "DataSourceExec", "output_rows": 7, "metrics": {"bytes_scanned": 11}},
        ]}))
        .unwrap();
        assert_eq!(metrics.rows_read(), RowsRead { counted: 32, all_counted: true });
        assert_eq!(metrics.total("bytes_scanned"), 111);
        assert!(!PlanMetrics::default().rows_read().all_counted);
        for (said, counted, all_counted) in [(json!(7), 7, true), (json!(null), 0, false)] {
            let metrics: PlanMetrics = serde_json::from_value(json!({"rows_read": said})).unwrap();
            assert_eq!(metrics.rows_read(), RowsRead { counted, all_counted });
        }
    }
}
