//! The session in which scripts run.

use std::{borrow::Cow, collections::BTreeSet, env, path::Path, sync::Arc};

use daglight::{Telemetry, cluster::Cluster};
use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, DynamicFileSchemaProvider, MemoryCatalogProviderList,
        SchemaProvider, TableProvider, UrlTableFactory,
    },
    common::plan_err,
    datasource::{
        dynamic_file::DynamicListTableFactory,
        listing::{ListingTable, ListingTableConfig, ListingTableConfigExt as _, ListingTableUrl},
    },
    error::DataFusionError,
    execution::{SessionState, SessionStateBuilder, runtime_env::RuntimeEnv},
    prelude::{SessionConfig, SessionContext},
};

use crate::{
    cache_functions,
    ignored_settings::with_ignored_settings,
    parquet_metadata::ParquetMetadata,
    stores::{STORES, is_in_store, with_store_options},
};

/// An observed session that reads files by name, like `datafusion-cli`: `SELECT * FROM 'orders.parquet'`.
pub(crate) fn session(
    telemetry: &Telemetry,
    config: SessionConfig,
    env: Arc<RuntimeEnv>,
    tables: &BTreeSet<String>,
    cluster: Option<&Cluster>,
) -> SessionContext {
    let files = Arc::new(NamedFiles { factory: DynamicListTableFactory::default(), tables: tables.clone() });
    let catalogs = FileCatalogs { inner: MemoryCatalogProviderList::new(), files: Arc::clone(&files) };
    let builder = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(env)
        .with_catalog_list(Arc::new(catalogs));
    let builder = with_store_options(builder);
    let builder = with_ignored_settings(builder, cluster.map(Cluster::address));
    let builder = match cluster {
        Some(cluster) => cluster.distribute(builder),
        None => builder,
    };
    let session = telemetry.session(builder);
    // The factory for tables of files gets its options from the session.
    files.factory.session_store().with_state(session.state_weak_ref());
    register_functions(&session);
    session
}

/// Registers the table functions that `datafusion-cli` has in addition to DataFusion's own.
pub(crate) fn register_functions(session: &SessionContext) {
    session.register_udtf("parquet_metadata", Arc::new(ParquetMetadata));
    cache_functions::register(session);
}

/// Creates tables from files. If an object store has no such file, its response becomes the error: DataFusion's own factory, which
/// is not used for these, would only report for every name that there is no such table (`datafusion` 55.2.0,
/// `src/datasource/dynamic_file.rs`, line 87).
#[derive(Debug, Default)]
struct NamedFiles {
    factory: DynamicListTableFactory,
    /// Names that are not treated as files, because the script creates tables with these names.
    tables: BTreeSet<String>,
}

#[async_trait::async_trait]
impl UrlTableFactory for NamedFiles {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if self.tables.contains(name) {
            return Ok(None);
        }
        let name = &*with_home(name, env::var("HOME").ok().as_deref());
        if !is_in_store(name) {
            return match self.factory.try_new(name).await? {
                None => why_not_found(name),
                found => Ok(found),
            };
        }
        let Some(state) = self.session() else { return Ok(None) };
        let files = ListingTableConfig::new(ListingTableUrl::parse(name)?);
        let files = files.infer_options(&state).await.or_else(|error| match error {
            // DataFusion reports a missing file as an internal error.
            DataFusionError::Internal(_) => plan_err!("there is no file at '{name}'"),
            error => Err(error),
        })?;
        let files = files.infer_partitions_from_path(&state).await?.infer_schema(&state).await?;
        Ok(Some(Arc::new(ListingTable::try_new(files)?)))
    }
}

/// A name with `~` replaced by the home folder, as in `datafusion-cli`.
fn with_home<'a>(name: &'a str, home: Option<&str>) -> Cow<'a, str> {
    match (name.strip_prefix("~/"), home.filter(|home| !home.is_empty())) {
        (Some(below), Some(home)) => format!("{home}/{below}").into(),
        _ => name.into(),
    }
}

/// The file extensions by which DataFusion recognises a format, some of them followed by one for compression.
const ENDINGS: &str = ".arrow, .avro, .csv, .json and .parquet";

/// The error for a name that can only be that of files which do not exist; `Ok(None)` if it may also be the name of a table.
fn why_not_found(name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
    const SUBFOLDERS: &str = "datafusion.execution.listing_table_ignore_subdirectory";
    match name.split_once("://") {
        Some((scheme, _)) if !scheme.eq_ignore_ascii_case("file") => {
            plan_err!(
                "there is no object store for {scheme}:// in '{name}': expected a file, or one of {STORES}"
            )
        }
        // A new table may be called `a[1]`, but hardly `a[1]/b`.
        _ if name.find(['*', '?', '[']).is_some_and(|at| name[at..].contains('/')) => plan_err!(
            "no file matches the pattern '{name}': one with a folder in it needs SET {SUBFOLDERS} = false before the statement"
        ),
        // A table may be called like a folder, but hardly like a file with an extension.
        _ if Path::new(name).is_file() && name.contains(['.', '/']) => plan_err!(
            "the ending of '{name}' is not that of a format: expected one of {ENDINGS}; CREATE EXTERNAL TABLE name STORED AS CSV \
             LOCATION '{name}' reads it whatever it is called"
        ),
        _ => Ok(None),
    }
}

impl NamedFiles {
    fn session(&self) -> Option<SessionState> {
        let session = self.factory.session_store().get_session().upgrade()?;
        session.read().as_any().downcast_ref::<SessionState>().cloned()
    }
}

/// Catalogs in whose schemas a name without a table refers to a file. DataFusion's own `DynamicFileCatalog` does not pass on `DROP
/// SCHEMA` (`datafusion-catalog` 55.2.0, `src/dynamic_file/catalog.rs`).
#[derive(Debug)]
struct FileCatalogs {
    inner: MemoryCatalogProviderList,
    files: Arc<NamedFiles>,
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
    files: Arc<NamedFiles>,
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
