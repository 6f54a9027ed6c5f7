//! Where the rows of a `DataFrame` can go: the trait, and what stays in the session.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use daglight_run_bundle::Materialization;
use datafusion::{
    catalog::{MemorySchemaProvider, TableProvider},
    common::TableReference,
    dataframe::DataFrame,
    datasource::MemTable,
    error::{DataFusionError, Result},
    prelude::SessionContext,
};

use crate::{
    registry::Registry,
    written::{Written, memory_bytes},
};

/// Takes the rows of a `DataFrame`, and makes them known to a session under a stable name.
///
/// Implement it for custom destinations: write through a plan of the session where possible, because then the
/// data are summarised while they are written, and make the result known with [`register`].
#[async_trait]
pub trait Output: Send + Sync {
    /// The stable external name, such as `sales.monthly_revenue_v1`.
    fn name(&self) -> &str;

    /// How it is kept.
    fn materialization(&self) -> Materialization;

    /// Writes and registers the rows. What was known under the name before is replaced.
    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written>;

    /// The tags of the output's node in a DAG: `materialization`, `materialized_name`, and what the registry says.
    fn tags(&self, registry: &Registry) -> BTreeMap<String, String> {
        registry.tags(self.name(), &self.materialization())
    }
}

/// A table in memory.
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
}

impl Table {
    /// A table of that name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

#[async_trait]
impl Output for Table {
    fn name(&self) -> &str {
        &self.name
    }

    fn materialization(&self) -> Materialization {
        Materialization::Table
    }

    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written> {
        let schema = Arc::clone(frame.schema().inner());
        let partitions = frame.collect_partitioned().await?;
        let batches = || partitions.iter().flatten();
        let written = Written {
            rows: Some(batches().map(|batch| batch.num_rows() as u64).sum()),
            bytes: Some(memory_bytes(batches())),
            ..Written::new(&self.name, Materialization::Table, Arc::clone(&schema))
        };
        register(session, &self.name, Arc::new(MemTable::try_new(schema, partitions)?))?;
        Ok(written)
    }
}

/// A view.
#[derive(Debug, Clone)]
pub struct View {
    name: String,
}

impl View {
    /// A view of that name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

#[async_trait]
impl Output for View {
    fn name(&self) -> &str {
        &self.name
    }

    fn materialization(&self) -> Materialization {
        Materialization::View
    }

    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written> {
        let schema = Arc::clone(frame.schema().inner());
        register(session, &self.name, frame.into_view())?;
        Ok(Written::new(&self.name, Materialization::View, schema))
    }
}

/// Makes a table known under a name as SQL would write it. It replaces the one that has the name, and a schema that
/// is missing is created.
///
/// # Errors
/// When the catalog does not exist or takes no tables.
pub fn register(session: &SessionContext, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
    let reference = TableReference::from(name);
    let options = session.copied_config().options().catalog.clone();
    let resolved = reference.clone().resolve(&options.default_catalog, &options.default_schema);
    let catalog = session.catalog(&resolved.catalog).ok_or_else(|| {
        DataFusionError::Plan(format!("{name}: there is no catalog {:?}", &*resolved.catalog))
    })?;
    if catalog.schema(&resolved.schema).is_none() {
        catalog.register_schema(&resolved.schema, Arc::new(MemorySchemaProvider::new()))?;
    }
    session.deregister_table(reference.clone())?;
    session.register_table(reference, table)?;
    Ok(())
}

#[cfg(test)]
mod tests;
