//! What a node learns from a query that has ended.

use std::sync::Arc;

use daglight_data_summary::DataSummary;
use daglight_materializers::Measured;
use daglight_plan_diagnostics::{MeasuredOperator, MeasuredQuery, QueryOutcome};
use daglight_run_bundle::milliseconds;

use super::RunQuery;
use crate::{
    cluster_facts::ClusterFacts,
    node_facts::HandedOut,
    node_queries::QueryFacts,
    node_scope::NodeScope,
    plan_picture::PlanPicture,
    query_write::QueryWrite,
    session_tables::{MAX_RESULTS, QueryResult},
};

/// Operators that a node remembers of each query.
const BUSIEST: usize = 5;

/// What the rows of a query have shown.
pub(super) struct Results {
    pub(super) summary: Option<DataSummary>,
    pub(super) measured: Option<Measured>,
}

impl RunQuery {
    /// The rows of a frame belong to the node that returned it, no matter who executes it.
    pub(super) fn record_in_frame(
        &self,
        node: &NodeScope,
        report: &MeasuredQuery,
        summary: Option<DataSummary>,
        measured: Option<Measured>,
    ) {
        if report.outcome != QueryOutcome::Completed {
            return;
        }
        let mut facts = node.facts();
        facts.handed_out = HandedOut::Executed;
        facts.rows = report.rows;
        facts.summary = summary;
        facts.checks.measured = measured;
        facts.secrets.clone_from(&self.secrets);
        facts.preview.clone_from(&self.preview);
    }

    pub(super) fn record_in_node(
        &self,
        node: &NodeScope,
        report: &MeasuredQuery,
        results: Results,
        plan_file: Option<String>,
    ) {
        let Results { summary, measured } = results;
        let is_write = self.query.kind.is_write();
        let mut facts = node.facts();
        if let Some(secrets) = &self.secrets
            && facts.secrets_by_query.len() < MAX_RESULTS
        {
            let logical_hash = self.query.fingerprints.logical_hash.clone();
            facts.secrets_by_query.insert(logical_hash, Arc::clone(secrets));
        }
        // Rows of a node are those that it has written, as a query or as an output in memory. Only one that writes nothing has
        // those of its last query.
        let has_written = facts.queries.last_write().is_some() || !facts.artifacts.is_empty();
        let counts = is_write || self.is_of_output || !has_written;
        if counts && facts.handed_out == HandedOut::Nothing {
            facts.rows = report.rows;
            facts.bytes = report.bytes_written.or(facts.bytes);
            if let Some(summary) = summary {
                facts.summary = Some(summary);
            }
            facts.checks.measured = measured;
            // The columns of a query that was made for checks are those that they need.
            if !self.is_of_checks {
                facts.secrets.clone_from(&self.secrets);
                facts.schema = Some(Arc::clone(&self.query.schema));
                facts.lineage = Some(Arc::clone(&self.query.lineage));
                facts.table = self.table().map(str::to_owned);
                facts.preview.clone_from(&self.preview);
            }
        }
        // The plan of what took longest is looked at.
        if facts.picture.as_ref().is_none_or(|picture| picture.wall_time < report.wall_time) {
            facts.picture = Some(PlanPicture::of(report));
        }
        if !self.is_of_output && report.outcome == QueryOutcome::Completed {
            if let Some(write) = QueryWrite::of(&self.query, report, report.rows) {
                write.merge_into(&mut facts.writes);
            }
            if !is_write && !node.is_scripted && facts.results.len() < MAX_RESULTS {
                facts.results.push(QueryResult {
                    first_column: Arc::clone(&self.first_column),
                    schema: Arc::clone(&self.query.schema),
                    logical_hash: self.query.fingerprints.logical_hash.clone(),
                });
            }
        }
        if node.run.context.lineage.is_some() {
            facts.note_tables(&self.query.reads);
            if !self.is_of_output && report.outcome == QueryOutcome::Completed {
                facts.note_change(&self.query.optimized);
            }
        }
        facts.queries.push(QueryFacts {
            id: self.query.id,
            operation: self.query.kind.operation().to_owned(),
            outcome: report.outcome.name(),
            is_write,
            rows: report.rows,
            rows_read: report.rows_read,
            bytes_written: report.bytes_written,
            bytes_scanned: report.bytes_scanned,
            planning: self.query.planning.total(),
            wall_time: report.wall_time,
            logical_hash: self.query.fingerprints.logical_hash.clone(),
            plan_hash: self.query.fingerprints.plan_hash.clone(),
            source_tables: self.query.source_tables.clone(),
            busiest: busiest(&report.operators),
            plan_file,
            cluster: report.cluster.as_ref().map(ClusterFacts::of).map(Arc::new),
        });
    }
}

/// The operators that were busy longest, with the time in words: in each partition, where there are several.
fn busiest(operators: &[MeasuredOperator]) -> Vec<(String, String)> {
    let mut busiest: Vec<&MeasuredOperator> = operators.iter().collect();
    busiest.sort_by_key(|operator| std::cmp::Reverse(operator.busy));
    busiest.truncate(BUSIEST);
    let in_words = |operator: &&MeasuredOperator| {
        let ms = milliseconds::rounded(operator.busy_per_partition());
        match operator.partitions {
            1 => format!("{ms} ms"),
            partitions => format!("{ms} ms on average in each of {partitions} partitions"),
        }
    };
    busiest.iter().map(|operator| (operator.shown_name(), in_words(operator))).collect()
}
