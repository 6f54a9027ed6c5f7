//! The file that holds one executed query: its plans, fingerprints and metrics.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Fingerprints, QueryReport,
    operators::{milliseconds, unix_milliseconds},
};

/// The name and version of the format, the value of a bundle's `format` field.
///
/// Fields that were added since the first bundles, which have none of them: `analyzed`, `metrics.rows_read`, and of
/// operators `is_scan`, `table` and `partitions`. `metrics.rows` may be null since then.
pub const PLAN_BUNDLE_FORMAT: &str = "datafusion_plan_bundle_v1";

/// One executed query, as JSON. Times are milliseconds; `*_at_ms` count from the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanBundle {
    /// [`PLAN_BUNDLE_FORMAT`].
    pub format: &'static str,
    /// The id of the query in its process.
    pub query_id: u64,
    /// The node of the DAG that ran the query.
    pub node: Option<String>,
    /// `select`, `copy`, `insert`, ...
    pub operation: String,
    /// Whether it was executed by an `EXPLAIN ANALYZE`.
    pub analyzed: bool,
    /// As in [`Fingerprints`].
    pub plan_hash: String,
    /// As in [`Fingerprints`].
    pub literal_hash: String,
    /// As in [`Fingerprints`].
    pub physical_hash: String,
    /// The unoptimised logical plan, as far as the policy lets it through.
    pub logical_plan: String,
    /// The physical plan before execution; `None` where the policy keeps literals back.
    pub physical_plan: Option<String>,
    /// The tables that the query reads.
    pub source_tables: Vec<String>,
    /// `completed`, `failed`, `cancelled` or `panicked`.
    pub outcome: &'static str,
    /// What was measured.
    pub metrics: PlanMetrics,
}

/// The measurements of one executed query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanMetrics {
    /// When physical planning started.
    pub planned_at_ms: f64,
    /// How long physical planning took.
    pub planning_ms: f64,
    /// When the first partition was executed.
    pub started_at_ms: f64,
    /// From the first partition's execution to the end.
    pub wall_ms: f64,
    /// Rows returned or written; `None` for a write that returned no count.
    pub rows: Option<u64>,
    /// Rows that came from the tables that it scans; `None` where a scan does not count them.
    pub rows_read: Option<u64>,
    /// Bytes written to storage, where the sink says.
    pub bytes_written: Option<u64>,
    /// Bytes read from storage, where the scans say.
    pub bytes_scanned: Option<u64>,
    /// Every operator in pre-order.
    pub operators: Vec<PlanOperator>,
}

/// One operator of the physical plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanOperator {
    /// Position in pre-order, from 0.
    pub id: usize,
    /// The operator that reads this one's output.
    pub parent: Option<usize>,
    /// Such as `HashJoinExec`.
    pub name: String,
    /// One line of the plan; `None` where the policy keeps literals back.
    pub detail: Option<String>,
    /// Whether it gets rows from outside of the query.
    pub is_scan: bool,
    /// The table that it scans, where that is known.
    pub table: Option<String>,
    /// Rows that it gave.
    pub output_rows: Option<u64>,
    /// Time of its own, summed over its partitions, which run at the same time.
    pub elapsed_compute_ms: f64,
    /// The partitions that it was executed in.
    pub partitions: usize,
    /// From the query's start to the operator's.
    pub start_ms: f64,
    /// From the query's start to the operator's end.
    pub end_ms: f64,
    /// Every metric, summed over partitions; times in nanoseconds.
    pub metrics: BTreeMap<String, u64>,
}

impl PlanBundle {
    /// The same bundle with other texts of plans and operators: what `shown` makes of each.
    #[must_use]
    pub fn with_texts(mut self, shown: impl Fn(&str) -> String) -> Self {
        let details = self.metrics.operators.iter_mut().filter_map(|operator| operator.detail.as_mut());
        for text in [&mut self.logical_plan].into_iter().chain(&mut self.physical_plan).chain(details) {
            *text = shown(text);
        }
        self
    }

    /// The bundle of an ended query. `with_literals` says whether values in the plans may be kept.
    pub fn new(report: &QueryReport, node: Option<&str>, with_literals: bool) -> Self {
        let query = &report.query;
        let Fingerprints { plan_hash, literal_hash, physical_hash } = query.fingerprints.clone();
        let since_start = |time| unix_milliseconds(time) - unix_milliseconds(report.started_at);
        Self {
            format: PLAN_BUNDLE_FORMAT,
            query_id: query.id,
            node: node.map(str::to_owned),
            operation: query.kind.operation().to_owned(),
            analyzed: query.analyzed,
            plan_hash,
            literal_hash,
            physical_hash,
            logical_plan: if with_literals {
                query.texts.logical.clone()
            } else {
                query.texts.logical_without_literals.clone()
            },
            physical_plan: with_literals.then(|| query.texts.physical.clone()),
            source_tables: query.source_tables.clone(),
            outcome: report.outcome.name(),
            metrics: PlanMetrics {
                planned_at_ms: unix_milliseconds(query.planned_at),
                planning_ms: milliseconds(query.planning_time),
                started_at_ms: unix_milliseconds(report.started_at),
                wall_ms: milliseconds(report.wall_time),
                rows: report.rows,
                rows_read: report.rows_read,
                bytes_written: report.bytes_written,
                bytes_scanned: report.bytes_scanned,
                operators: report
                    .operators
                    .iter()
                    .map(|operator| PlanOperator {
                        id: operator.id,
                        parent: operator.parent,
                        name: operator.name.clone(),
                        detail: with_literals.then(|| operator.detail.clone()),
                        is_scan: operator.is_scan,
                        table: operator.table.clone(),
                        output_rows: operator.output_rows,
                        elapsed_compute_ms: milliseconds(operator.busy),
                        partitions: operator.partitions,
                        start_ms: since_start(operator.started_at),
                        end_ms: since_start(operator.ended_at),
                        metrics: operator.metrics.clone(),
                    })
                    .collect(),
            },
        }
    }
}
