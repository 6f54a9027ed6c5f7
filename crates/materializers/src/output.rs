//! Destinations for the rows of a `DataFrame`: the trait, and those that stay in the session.

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

/// Takes the rows of a `DataFrame`, and registers them in a session under a stable name.
///
/// Implement it for custom destinations: if possible, write with a plan of the session, so that the data is summarised while it is
/// written, and make the result available with [`register`].
#[async_trait]
pub trait Output: Send + Sync {
    /// The stable external name, such as `sales.monthly_revenue_v1`.
    fn name(&self) -> &str;

    /// How it is kept.
    fn materialization(&self) -> Materialization;

    /// Writes and registers the rows. An existing registration with the name is replaced.
    async fn write(&self, session: &SessionContext, frame: DataFrame) -> Result<Written>;

    /// The tags of the output's node in a DAG: `materialization`, `materialized_name`, and the registry's tags.
    fn tags(&self, registry: &Registry) -> BTreeMap<String, String> {
        registry.tags(self.name(), &self.materialization())
    }
}

/// An in-memory table.
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
}

impl Table {
    /// A table with that name.
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
    /// A view with that name.
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

/// Registers a table under a name in SQL notation. It replaces an existing one with that name, and creates a missing schema.
///
/// # Errors
/// When the catalog does not exist or does not support tables.
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
