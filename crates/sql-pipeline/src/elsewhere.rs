//! Summarising and checking rows that other machines have written, which no tap in this process has seen.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use daglight_plan_diagnostics::is_distributed;
use daglight_run_session::Node;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::TableProvider,
    common::TableReference,
    datasource::{
        ViewTable,
        file_format::parquet::ParquetFormat,
        listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
    },
    error::Result,
    execution::context::SessionContext,
    logical_expr::LogicalPlan,
};

/// A temporary table of the session, removed on drop, with a name that no script uses.
pub(crate) struct Borrowed<'s> {
    session: &'s SessionContext,
    pub(crate) name: TableReference,
}

impl<'s> Borrowed<'s> {
    fn table(session: &'s SessionContext, table: Arc<dyn TableProvider>) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let name = format!("__daglight_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let name = TableReference::bare(name);
        session.register_table(name.clone(), table)?;
        Ok(Self { session, name })
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        // Nothing to do if the catalog is gone.
        let _ = self.session.deregister_table(self.name.clone());
    }
}

/// The query of a statement that writes, if other machines may write its rows: it can be run again to get them.
pub(crate) fn unseen_rows(plan: &LogicalPlan, session: &SessionContext) -> Option<LogicalPlan> {
    if !is_distributed(&session.copied_config()) {
        return None;
    }
    match plan {
        LogicalPlan::Copy(copy) => Some(copy.input.as_ref().clone()),
        LogicalPlan::Dml(dml) => Some(dml.input.as_ref().clone()),
        _ => None,
    }
}

/// A view of a query.
pub(crate) fn view(session: &SessionContext, query: LogicalPlan) -> Result<Borrowed<'_>> {
    Borrowed::table(session, Arc::new(ViewTable::new(query, None)))
}

/// Summarises Parquet files that a statement has written, using their metadata. What that does not contain is left out.
pub(crate) async fn summarise(node: &Node, session: &SessionContext, location: &str, schema: SchemaRef) {
    let table = || {
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
        let config = ListingTableConfig::new(ListingTableUrl::parse(location)?);
        let table = ListingTable::try_new(config.with_listing_options(options).with_schema(schema))?;
        Borrowed::table(session, Arc::new(table))
    };
    if let Ok(table) = table() {
        node.written_files(session, &table.name.to_quoted_string()).await;
    }
}
