//! The plan bundle of an executed query.

use daglight_run_bundle::{PlanBundle, PlanMetrics, PlanOperator};

use crate::{
    Fingerprints, QueryReport,
    operators::{milliseconds, unix_milliseconds},
};

impl QueryReport {
    /// The bundle of the ended query, as it is written. `with_literals` says whether values in the plans may be kept.
    pub fn to_plan_bundle(&self, node: Option<&str>, with_literals: bool) -> PlanBundle {
        let query = &self.query;
        let Fingerprints { plan_hash, literal_hash, physical_hash } = query.fingerprints.clone();
        let since_start = |time| unix_milliseconds(time) - unix_milliseconds(self.started_at);
        PlanBundle {
            query_id: query.id.to_string(),
            node: node.map(str::to_owned),
            operation: query.kind.operation().to_owned(),
            analyzed: query.analyzed,
            plan_hash: Some(plan_hash),
            literal_hash: Some(literal_hash),
            physical_hash: Some(physical_hash),
            logical_plan: if with_literals {
                query.texts.logical.clone()
            } else {
                query.texts.logical_without_literals.clone()
            },
            physical_plan: with_literals.then(|| query.texts.physical.clone()),
            source_tables: query.source_tables.clone(),
            outcome: Some(self.outcome.name().to_owned()),
            metrics: PlanMetrics {
                planned_at_ms: unix_milliseconds(query.planning.started_at),
                planning_ms: Some(milliseconds(query.planning.total())),
                started_at_ms: unix_milliseconds(self.started_at),
                wall_ms: milliseconds(self.wall_time),
                rows: self.rows,
                rows_read: Some(self.rows_read),
                bytes_written: self.bytes_written,
                bytes_scanned: self.bytes_scanned,
                operators: self
                    .operators
                    .iter()
                    .map(|operator| PlanOperator {
                        id: operator.id as u64,
                        parent: operator.parent.map(|id| id as u64),
                        name: operator.name.clone(),
                        detail: with_literals.then(|| operator.detail.clone()),
                        is_scan: operator.is_scan,
                        table: operator.table.clone(),
                        output_rows: operator.output_rows,
                        elapsed_compute_ms: Some(milliseconds(operator.busy)),
                        partitions: Some(operator.partitions as u64),
                        start_ms: since_start(operator.started_at),
                        end_ms: since_start(operator.ended_at),
                        metrics: operator.metrics.clone(),
                    })
                    .collect(),
            },
            ..PlanBundle::default()
        }
    }
}
