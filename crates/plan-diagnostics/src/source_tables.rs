//! The tables that a plan reads, with the places of their files.

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::{TableReference, tree_node::TreeNodeRecursion},
    datasource::{cte_worktable::CteWorkTable, listing::ListingTable, source_as_provider},
    logical_expr::{LogicalPlan, TableSource},
};

/// What DataFusion writes behind the name of a table function: `generate_series()`.
const OF_FUNCTION: &str = "()";

/// A table that a query reads. It keeps no table alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    /// Its name, with schema and catalog where these are not `public` and `datafusion`, or the place of a file that is read by that.
    pub name: String,
    /// The URLs of its files or folders, without patterns; none for what is not of files.
    pub locations: Vec<String>,
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether it is what a table function has made, such as `generate_series()`.
    pub is_of_function: bool,
}

/// Whether it is what a recursive query has made so far, which the query reads under its own name.
fn is_work_table(source: &Arc<dyn TableSource>) -> bool {
    source_as_provider(source).is_ok_and(|provider| provider.is::<CteWorkTable>())
}

/// As it is told from the tables of other schemas; those of the schema that DataFusion begins with are called by their own name.
fn name_of(table: &TableReference) -> String {
    let catalog = table.catalog().filter(|catalog| *catalog != "datafusion");
    let schema = table.schema().filter(|schema| catalog.is_some() || *schema != "public");
    [catalog, schema, Some(table.table())].into_iter().flatten().collect::<Vec<_>>().join(".")
}

impl SourceTable {
    /// The table of this name.
    pub fn of(name: &TableReference, source: &Arc<dyn TableSource>) -> Self {
        let provider = source_as_provider(source).ok();
        let files = provider.as_ref().and_then(|provider| provider.downcast_ref::<ListingTable>());
        let locations = files.map(|files| files.table_paths().iter().map(ToString::to_string).collect());
        Self {
            name: name_of(name),
            locations: locations.unwrap_or_default(),
            schema: source.schema(),
            is_of_function: name.schema().is_none() && name.table().ends_with(OF_FUNCTION),
        }
    }

    /// Those that a plan reads, by the names that the plan has for them. Of a plan as the front end made it, these are also
    /// those that the optimiser removes, as below `WHERE false`.
    pub fn read_by(plan: &LogicalPlan) -> BTreeMap<String, Self> {
        let mut tables = BTreeMap::new();
        let visited = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && !is_work_table(&scan.source)
            {
                tables
                    .entry(scan.table_name.to_string())
                    .or_insert_with(|| Self::of(&scan.table_name, &scan.source));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(visited.is_ok(), "the visitor returns no error");
        tables
    }
}
