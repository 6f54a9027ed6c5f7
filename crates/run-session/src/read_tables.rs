//! The tables that the queries of a node have read, with the places of their files.

use std::collections::BTreeMap;

use datafusion::{
    arrow::datatypes::SchemaRef,
    common::tree_node::TreeNodeRecursion,
    datasource::{listing::ListingTable, source_as_provider},
    logical_expr::LogicalPlan,
};

/// Tables that are noted of a node. One that reads more is a program, whose list nobody reads.
const MAX_TABLES: usize = 1_000;

/// A table that a query has read.
#[derive(Debug, Clone)]
pub(crate) struct ReadTable {
    /// Where its files lie; nothing for one that is not of files.
    pub(crate) locations: Vec<String>,
    pub(crate) schema: SchemaRef,
}

/// Adds the tables that a plan reads to those of its node, by the names that the plan has for them.
pub(crate) fn note_tables(plan: &LogicalPlan, tables: &mut BTreeMap<String, ReadTable>) {
    let noted = plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan
            && tables.len() < MAX_TABLES
        {
            let provider = source_as_provider(&scan.source).ok();
            let files = provider.as_ref().and_then(|provider| provider.downcast_ref::<ListingTable>());
            let locations = files.map(|files| files.table_paths().iter().map(ToString::to_string).collect());
            let schema = scan.source.schema();
            tables
                .entry(scan.table_name.to_string())
                .or_insert_with(|| ReadTable { locations: locations.unwrap_or_default(), schema });
        }
        Ok(TreeNodeRecursion::Continue)
    });
    // It only fails where what it does with a plan fails.
    let _ = noted;
}
