//! Tables in memory that a node's queries have made, as `CREATE TABLE AS` does: no hook of DataFusion says which query a
//! table comes from, but the table holds the very batches that the query returned.

use std::sync::{Arc, OnceLock, Weak};

use daglight_materializers::{Materialization, Written, memory_bytes};
use daglight_plan_diagnostics::PartitionTap;
use datafusion::{
    arrow::{
        array::{Array, RecordBatch},
        datatypes::SchemaRef,
    },
    catalog::MemorySchemaProvider,
    datasource::MemTable,
};
use futures::FutureExt as _;

use crate::{preview::Preview, session_runtime::SeenSession};

/// Results that are remembered of a node, the first ones.
pub(crate) const MAX_RESULTS: usize = 64;

/// The first column of the first batch that a query returned. It does not keep the batch.
pub(crate) type FirstColumn = Arc<OnceLock<Weak<dyn Array>>>;

/// What a query has returned.
#[derive(Clone)]
pub(crate) struct QueryResult {
    pub(crate) first_column: FirstColumn,
    pub(crate) schema: SchemaRef,
    pub(crate) logical_hash: String,
}

impl QueryResult {
    fn is_in(&self, batch: &RecordBatch) -> bool {
        // A result without rows cannot be distinguished from any other.
        let Some(known) = self.first_column.get() else { return false };
        // While the weak reference is there, nothing else gets the address.
        batch.columns().first().is_some_and(|column| std::ptr::addr_eq(Arc::as_ptr(column), known.as_ptr()))
    }
}

/// A tap that remembers where the first batch is, and its first rows, besides what another does with all of them.
pub(crate) struct Remember {
    pub(crate) first_column: FirstColumn,
    pub(crate) preview: Option<Arc<Preview>>,
    pub(crate) inner: Option<Box<dyn PartitionTap>>,
    /// The checks of its node.
    pub(crate) checks: Option<Box<dyn PartitionTap>>,
}

impl PartitionTap for Remember {
    fn batch(&mut self, batch: &RecordBatch) {
        // The engine makes empty batches of one shared column, which would be found in tables of others.
        if batch.num_rows() > 0
            && let Some(column) = batch.columns().first()
        {
            self.first_column.get_or_init(|| Arc::downgrade(column));
        }
        if let Some(preview) = &self.preview {
            preview.take_from(batch);
        }
        for inner in [&mut self.inner, &mut self.checks].into_iter().flatten() {
            inner.batch(batch);
        }
    }
}

/// The tables of a session that hold one of the results, each with the plan hash of its query.
pub(crate) fn tables_of(session: &SeenSession, results: &[QueryResult]) -> Vec<(Written, String)> {
    let SeenSession { options, catalogs } = session;
    let defaults = &options.catalog;
    let mut found = Vec::new();
    for catalog_name in catalogs.catalog_names() {
        let Some(catalog) = catalogs.catalog(&catalog_name) else { continue };
        for schema_name in catalog.schema_names() {
            let Some(schema) = catalog.schema(&schema_name) else { continue };
            // Others may ask a server for their tables.
            if !schema.is::<MemorySchemaProvider>() {
                continue;
            }
            for table_name in schema.table_names() {
                let Some(Ok(Some(table))) = schema.table(&table_name).now_or_never() else { continue };
                let Some(table) = table.downcast_ref::<MemTable>() else { continue };
                let name = match (
                    catalog_name == defaults.default_catalog,
                    schema_name == defaults.default_schema,
                ) {
                    (true, true) => table_name,
                    (true, false) => format!("{schema_name}.{table_name}"),
                    (false, _) => format!("{catalog_name}.{schema_name}.{table_name}"),
                };
                found.extend(table_of(table, name, results));
            }
        }
    }
    found
}

fn table_of(table: &MemTable, name: String, results: &[QueryResult]) -> Option<(Written, String)> {
    let partitions: Vec<_> =
        // A table that is being written to is not waited for: a node must not end later because of us.
        table.batches.iter().map(|partition| partition.try_read().ok()).collect::<Option<_>>()?;
    let batches = || partitions.iter().flat_map(|batches| batches.iter());
    let result = results.iter().find(|result| batches().any(|batch| result.is_in(batch)))?;
    let written = Written::new(name, Materialization::Table, Arc::clone(&result.schema))
        .with_rows(batches().map(|batch| batch.num_rows() as u64).sum())
        .with_bytes(memory_bytes(batches()));
    Some((written, result.logical_hash.clone()))
}
