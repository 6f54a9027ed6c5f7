//! What is known of a node so far: what its code has said, and its queries have shown.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use daglight_capture_policy::Captured;
use daglight_data_summary::DataSummary;
use daglight_materializers::SourceFacts;
use daglight_plan_diagnostics::{Lineage, SourceTable};
use daglight_run_bundle::Artifact;
use datafusion::{
    arrow::datatypes::SchemaRef,
    logical_expr::{LogicalPlan, WriteOp},
};

use crate::{
    node_checks::NodeChecks, node_queries::NodeQueries, plan_picture::PlanPicture, preview::Preview,
    query_write::QueryWrite, secret_columns::SecretColumns, session_tables::QueryResult,
};

/// The frame that a node hands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum HandedOut {
    /// None.
    #[default]
    Nothing,
    /// One that nobody has executed.
    Frame,
    /// One that was executed.
    Executed,
    /// One that nobody has executed, and that is not kept any longer.
    Forgotten,
}

/// What a node has done so far.
#[derive(Clone, Default)]
pub(crate) struct GatheredFacts {
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// The table that it reads or registers, as the session calls it.
    pub(crate) table: Option<String>,
    pub(crate) schema: Option<SchemaRef>,
    /// Where its columns come from.
    pub(crate) lineage: Option<Arc<Lineage>>,
    pub(crate) summary: Option<DataSummary>,
    /// The columns of the summary and of the schema whose values are made of secret ones.
    pub(crate) secrets: Option<Arc<SecretColumns>>,
    /// Those of its queries that have any, by their logical hash.
    pub(crate) secrets_by_query: HashMap<String, Arc<SecretColumns>>,
    /// Its first rows, where the policy shows some.
    pub(crate) preview: Option<Arc<Preview>>,
    /// The plan of its slowest query.
    pub(crate) picture: Option<PlanPicture>,
    pub(crate) source: Option<SourceFacts>,
    /// The tables that its queries have read, where the events of OpenLineage tell of them.
    pub(crate) tables: BTreeMap<String, SourceTable>,
    /// Those of which they have changed or deleted rows.
    pub(crate) changed: BTreeMap<String, SourceTable>,
    /// What it has written, as it may be shown.
    pub(crate) artifacts: Vec<Artifact>,
    /// What its queries have written, as far as no artifact says so.
    pub(crate) writes: Vec<QueryWrite>,
    /// What its queries have returned, as far as it may be in a table now.
    pub(crate) results: Vec<QueryResult>,
    /// Whether its rows are those of a frame that it hands out, and not those of its last query.
    pub(crate) handed_out: HandedOut,
    pub(crate) queries: NodeQueries,
    /// What is expected of its rows, and what became of that.
    pub(crate) checks: NodeChecks,
    /// Values that the node's own code has recorded, by name.
    pub(crate) recorded: Vec<(String, Captured)>,
}

/// Tables that are noted of a node. One that reads more is a program, whose list nobody reads.
const MAX_TABLES: usize = 1_000;

impl GatheredFacts {
    /// Adds tables that a query of the node has read.
    pub(crate) fn note_tables(&mut self, tables: &BTreeMap<String, SourceTable>) {
        for (name, table) in tables {
            if self.tables.len() < MAX_TABLES && !self.tables.contains_key(name) {
                self.tables.insert(name.clone(), table.clone());
            }
        }
    }

    /// Adds the table that a query of the node has changed or deleted rows of.
    pub(crate) fn note_change(&mut self, plan: &LogicalPlan) {
        if let LogicalPlan::Dml(dml) = plan
            && matches!(dml.op, WriteOp::Update | WriteOp::Delete | WriteOp::Truncate)
            && self.changed.len() < MAX_TABLES
        {
            let table = SourceTable::of(&dml.table_name, &dml.target);
            self.changed.insert(dml.table_name.to_string(), table);
        }
    }
}
