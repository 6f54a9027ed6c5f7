//! The session that scripts run in.

use std::sync::Arc;

use daglight::Telemetry;
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, DynamicFileSchemaProvider, MemoryCatalogProviderList,
        SchemaProvider,
    },
    datasource::dynamic_file::DynamicListTableFactory,
    error::DataFusionError,
    execution::{SessionStateBuilder, runtime_env::RuntimeEnv},
    prelude::{SessionConfig, SessionContext},
};

use crate::stores::with_store_options;

/// An observed session that reads files by their names, as `datafusion-cli` does: `SELECT * FROM 'orders.parquet'`.
pub(crate) fn session(telemetry: &Telemetry, config: SessionConfig, env: Arc<RuntimeEnv>) -> SessionContext {
    let files = Arc::new(DynamicListTableFactory::default());
    let catalogs = FileCatalogs { inner: MemoryCatalogProviderList::new(), files: Arc::clone(&files) };
    let builder = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(env)
        .with_catalog_list(Arc::new(catalogs));
    let session = telemetry.session(with_store_options(builder));
    // What makes a table of a file asks the session for its options.
    files.session_store().with_state(session.state_weak_ref());
    session
}

/// Catalogs in whose schemas a name without a table is that of a file. DataFusion's own, `DynamicFileCatalog`, does not pass
/// on `DROP SCHEMA` (`datafusion-catalog` 55.2.0, `src/dynamic_file/catalog.rs`).
#[derive(Debug)]
struct FileCatalogs {
    inner: MemoryCatalogProviderList,
    files: Arc<DynamicListTableFactory>,
}

impl CatalogProviderList for FileCatalogs {
    fn register_catalog(
        &self,
        name: String,
        catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        self.inner.register_catalog(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        self.inner.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let inner = self.inner.catalog(name)?;
        Some(Arc::new(FileCatalog { inner, files: Arc::clone(&self.files) }))
    }
}

#[derive(Debug)]
struct FileCatalog {
    inner: Arc<dyn CatalogProvider>,
    files: Arc<DynamicListTableFactory>,
}

impl CatalogProvider for FileCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.inner.schema_names()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let inner = self.inner.schema(name)?;
        Some(Arc::new(DynamicFileSchemaProvider::new(inner, self.files.clone())))
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> Result<Option<Arc<dyn SchemaProvider>>, DataFusionError> {
        self.inner.register_schema(name, schema)
    }

    fn deregister_schema(
        &self,
        name: &str,
        cascade: bool,
    ) -> Result<Option<Arc<dyn SchemaProvider>>, DataFusionError> {
        self.inner.deregister_schema(name, cascade)
    }
}
