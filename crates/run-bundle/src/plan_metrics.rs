//! What is measured of a plan's executions, as the files in `plans/` have it.

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
    /// How long physical planning took.
    pub planning_ms: Option<f64>,
    /// When the first partition was executed.
    pub started_at_ms: f64,
    /// From the first partition's execution to the end.
    pub wall_ms: f64,
    /// Rows returned or written; `None` for a write that returned no count.
    pub rows: Option<u64>,
    /// Rows that came from the tables that it scans; `Some(None)` where a scan does not count them, `None` in older
    /// bundles, which do not say. [`PlanMetrics::rows_read`] is true of both.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub rows_read: Option<Option<u64>>,
    /// Bytes written to storage, where the sink says.
    pub bytes_written: Option<u64>,
    /// Bytes read from storage, where the scans say.
    pub bytes_scanned: Option<u64>,
    /// What a cluster did of it; `None` where the session has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterWork>,
    /// Every operator in pre-order.
    pub operators: Vec<PlanOperator>,
}

/// Numbers by the name that DataFusion has for them. Most names are those of its code, and need no memory.
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
    /// One line of the plan; `None` where the policy keeps literals back.
    pub detail: Option<String>,
    /// Whether it gets rows from outside of the query.
    pub is_scan: bool,
    /// The table that it scans, where that is known.
    pub table: Option<String>,
    /// Rows that it returned.
    pub output_rows: Option<u64>,
    /// Time of its own, summed over its partitions, which run at the same time. Older bundles have what a repartition and a scan
    /// waited for in it; [`PlanOperator::computed_ms`] is without it in bundles of all versions.
    pub elapsed_compute_ms: Option<f64>,
    /// The partitions that it was executed in.
    pub partitions: Option<u64>,
    /// From the query's start to the operator's.
    pub start_ms: f64,
    /// From the query's start to the operator's end.
    pub end_ms: f64,
    /// Rows that the plan's statistics had it return, before it was executed.
    pub estimated_rows: Option<u64>,
    /// Whether they were exact.
    pub estimate_is_exact: bool,
    /// Bytes that the plan's statistics had it return.
    pub estimated_bytes: Option<u64>,
    /// Bytes in memory of the rows that it returned. Buffers that batches share are counted for each of them.
    pub output_bytes: Option<u64>,
    /// The most memory that it used at a time, where it says.
    pub memory_bytes: Option<u64>,
    /// Bytes that it spilled to disk.
    pub spilled_bytes: Option<u64>,
    /// The metrics of each partition. Empty for more than a hundred of them, and for a plan that was executed once more, whose
    /// operators do not start anew.
    pub partition_metrics: Vec<PartitionMetrics>,
    /// Every metric, summed over partitions; times in nanoseconds. What a file has under a name and is not such a number
    /// is passed over when it is read.
    #[serde(deserialize_with = "counts")]
    pub metrics: Metrics,
}

/// The timers of an operator that has others than `elapsed_compute`, by what they measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorTimers {
    /// Runs while the operator computes.
    pub computing: &'static str,
    /// Goes on while the operator waits, and may have work of its own in it.
    pub waiting: &'static str,
}

impl OperatorTimers {
    /// A repartition hands its rows on within `send_time`, which goes on until there is room for them: that is for as long as those
    /// above it compute (`datafusion-physical-plan` 55.2.0, `src/repartition/mod.rs`, `pull_from_input`).
    const REPARTITION: Self = Self { computing: "repartition_time", waiting: "send_time" };
    /// A scan of files computes within its polls, which `time_elapsed_processing` measures, opening a file included.
    /// `time_elapsed_opening` goes on from one poll to another, until the file is there (`datafusion-datasource` 55.2.0,
    /// `src/file_stream/scan_state.rs`, `poll_scan`).
    const FILES: Self = Self { computing: "time_elapsed_processing", waiting: "time_elapsed_opening" };

    /// Those of an operator with these metrics; `None` where `elapsed_compute` has its time, or timers that all compute.
    pub fn of(operator: &str, metrics: &Metrics) -> Option<Self> {
        let timers = match operator {
            "RepartitionExec" => Self::REPARTITION,
            "DataSourceExec" => Self::FILES,
            _ => return None,
        };
        metrics.contains_key(timers.computing).then_some(timers)
    }
}

/// What an operator measured in one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionMetrics {
    /// The partition; `None` for what belongs to none, as the opening of files.
    pub partition: Option<u64>,
    /// The task of the stage that it is a partition of, where the operator ran on a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<u64>,
    /// Its metrics; times in nanoseconds.
    #[serde(deserialize_with = "counts")]
    pub metrics: Metrics,
}

/// The sums over the executions of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanExecutions {
    /// How many began.
    pub started: u64,
    /// How many were read to their end.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were given up.
    pub cancelled: u64,
    /// How many panicked.
    pub panicked: u64,
    /// The time of those that ended.
    pub wall_ms: f64,
    /// The time of their planning.
    pub planning_ms: f64,
    /// Rows that they returned or wrote.
    pub rows: u64,
    /// Rows that they read, as far as all scans count them.
    pub rows_read: u64,
    /// Executions with a scan that does not count.
    pub uncounted: u64,
    /// Bytes that they wrote to storage. `None` where one of them does not say, as an `INSERT` into a table in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_written: Option<u64>,
    /// Bytes that they read from storage.
    pub bytes_scanned: u64,
    /// Bytes that they spilled to disk.
    pub bytes_spilled: u64,
}

/// How long a query was planned. What is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanningRecord {
    /// Parsing its text, and making the first logical plan of it.
    pub parsing_ms: Option<f64>,
    /// Making that plan valid.
    pub analysis_ms: f64,
    /// Making a better logical plan.
    pub optimization_ms: f64,
    /// Making the physical plan.
    pub physical_ms: f64,
    /// Every rule that ran, in order.
    pub rules: Vec<RuleRecord>,
    /// The part that has failed, as `analysis`, `optimization` or `physical`; `None` for a query that was planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_part: Option<String>,
    /// The rule that has failed, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_rule: Option<String>,
    /// The part that goes on, in the file of a query that is being planned, or was when its process died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_part: Option<String>,
    /// The rule of it that was called last, where it has come to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_rule: Option<String>,
}

/// What one rule did, over all passes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RuleRecord {
    /// Its name.
    pub name: String,
    /// `analysis`, `optimization` or `physical`.
    pub part: String,
    /// From its first call in a pass to the first call of the next rule.
    pub ms: f64,
    /// Whether it changed the plan, as far as it says.
    pub changed: Option<bool>,
    /// The lines of the plan that it changed, as `diff -u` writes them, where that is asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
}

/// A scan of a table: what was read of it, and what did not have to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanSource {
    /// The operator that scans it.
    pub operator: u64,
    /// The table, as the query calls it, where that is known.
    pub table: Option<String>,
    /// Its file, or the folder of its files, as far as the policy lets it through.
    pub location: Option<String>,
    /// `parquet`, `csv`, `memory`, ...
    pub format: Option<String>,
    /// Files that the plan reads.
    pub files: Option<u64>,
    /// The size of these files.
    pub bytes: Option<u64>,
    /// Whether the partitions of the scan take files, or ranges of them, from one queue, so that the rows of each depend on which
    /// came first.
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
    /// Pages that were read, where a page index was asked.
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
    /// The table whose files were asked for, where that is known.
    pub table: Option<String>,
    /// `get`, `head`, `put`, `list` or `change`.
    pub operation: String,
    /// How many there were.
    pub requests: u64,
    /// Bytes that arrived or were written; of local files, those that were asked for.
    pub bytes: u64,
    /// How long the store was waited for, taken together: for the answer and for each part of its body, also where none
    /// came. Requests are made at the same time.
    pub ms: f64,
}

/// Rows that the sources of a query returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowsRead {
    /// The rows, as far as sources count them.
    pub counted: u64,
    /// False when a source does not count.
    pub all_counted: bool,
}

/// A field that is there, be it null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn counts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metrics, D::Error> {
    let metrics: BTreeMap<String, Value> = BTreeMap::deserialize(deserializer)?;
    Ok(metrics.into_iter().filter_map(|(name, value)| Some((name.into(), value.as_u64()?))).collect())
}

impl PlanOperator {
    /// One of its metrics, by the name that DataFusion has for it.
    pub fn metric(&self, name: &str) -> Option<u64> {
        self.metrics.get(name).copied()
    }

    /// Time that it computed, in milliseconds, summed over its partitions, without the time that it waited.
    pub fn computed_ms(&self) -> Option<f64> {
        let timers = OperatorTimers::of(&self.name, &self.metrics);
        let timed = timers.and_then(|timers| self.metric(timers.computing));
        timed.map(|nanoseconds| nanoseconds as f64 / 1e6).or(self.elapsed_compute_ms)
    }

    /// Time that it waited, in milliseconds, summed over its partitions: a repartition for those that read its rows, a scan for its files to be opened.
    /// `None` where no timer says.
    pub fn waited_ms(&self) -> Option<f64> {
        let timers = OperatorTimers::of(&self.name, &self.metrics)?;
        Some(self.metric(timers.waiting)? as f64 / 1e6)
    }

    /// The partitions that it was executed in, at least one.
    pub fn partition_count(&self) -> u64 {
        self.partitions.unwrap_or(1).max(1)
    }
}

impl PlanMetrics {
    /// Rows that the sources returned. Older bundles do not say that: there it is the output of the operators that have no
    /// input, as far as they count it.
    pub fn rows_read(&self) -> RowsRead {
        // Older bundles do not have it, and then it is what the leaves returned.
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

    /// How many operators are above each, in their order. One that names no operator before it is at the top.
    pub fn depths(&self) -> impl Iterator<Item = u32> {
        let mut depths: HashMap<u64, u32> = HashMap::new();
        self.operators.iter().map(move |operator| {
            let above = operator.parent.and_then(|parent| depths.get(&parent));
            let depth = above.map_or(0, |above| above.saturating_add(1));
            depths.insert(operator.id, depth);
            depth
        })
    }

    /// The same measurements with other texts of operators: what `shown` makes of each.
    #[must_use]
    pub fn with_details(mut self, mut shown: impl FnMut(&str) -> String) -> Self {
        for detail in self.operators.iter_mut().filter_map(|operator| operator.detail.as_mut()) {
            *detail = shown(detail);
        }
        self
    }

    /// The plan as text: a line for each operator, indented.
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

    /// The sum of a metric over all operators, by the name that DataFusion has for it.
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
                // As older versions have recorded it.
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
