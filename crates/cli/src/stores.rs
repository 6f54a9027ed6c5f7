//! Object stores in the URLs of a script, as in `datafusion-cli`: `s3://bucket`, `gs://bucket` and `http(s)://host`.
//!
//! A store is created when it is first used, with the settings from the environment. A statement with options for a store (`CREATE
//! EXTERNAL TABLE`, `COPY`) creates it again, from these and the environment.

use std::{collections::HashMap, sync::Arc};

use daglight::policy::Redactor;
use datafusion::{
    catalog::{Session, TableProvider, TableProviderFactory},
    common::plan_err,
    error::Result,
    execution::{
        SessionStateBuilder,
        context::QueryPlanner,
        object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry},
    },
    logical_expr::{Analyze, CreateExternalTable, LogicalPlan, dml::CopyTo},
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
};
use object_store::ObjectStore;
use url::Url;

use crate::{
    stdin_tables::with_stdin,
    store_options::{CREDENTIALS, StoreOptions},
};

/// The URL prefixes of these stores.
pub(crate) const STORES: &str = "s3://, gs://, http:// and https://";

/// The stores of a session: registered ones, and those that can be created from the environment.
#[derive(Debug, Default)]
pub(crate) struct ObjectStores {
    registered: DefaultObjectStoreRegistry,
}

impl ObjectStoreRegistry for ObjectStores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.registered.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.registered.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let unknown = match self.registered.get_store(url) {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        let Some(options) = StoreOptions::of_environment(url) else { return Err(unknown) };
        let store = options.store(url)?;
        self.registered.register_store(url, Arc::clone(&store));
        Ok(store)
    }
}

/// Whether a name is the URL of an object in a store.
pub(crate) fn is_in_store(name: &str) -> bool {
    Url::parse(name).is_ok_and(|url| StoreOptions::of_environment(&url).is_some())
}

/// Makes the redactor hide the credentials for object stores in the environment.
pub(crate) fn hide_credentials(redactor: &Redactor) {
    CREDENTIALS.iter().filter_map(|name| std::env::var(name).ok()).for_each(|value| redactor.hide(&value));
}

/// Allows the statements of a session to have options for object stores.
pub(crate) fn with_store_options(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    for factory in builder.table_factories().get_or_insert_default().values_mut() {
        *factory = Arc::new(StoredTables { inner: Arc::clone(factory) });
    }
    builder.with_query_planner(Arc::new(StoredCopies))
}

/// Creates external tables whose options may be for their store.
#[derive(Debug)]
struct StoredTables {
    inner: Arc<dyn TableProviderFactory>,
}

#[async_trait::async_trait]
impl TableProviderFactory for StoredTables {
    async fn create(
        &self,
        session: &dyn Session,
        table: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let of_stdin = with_stdin(session, table).await?;
        let table = of_stdin.as_ref().unwrap_or(table);
        let mut options = None;
        for location in &table.locations {
            options = register(session, location, &table.options).await?.or(options);
        }
        match options {
            Some(options) => {
                self.inner.create(session, &CreateExternalTable { options, ..table.clone() }).await
            }
            None => self.inner.create(session, table).await,
        }
    }
}

/// Plans `COPY` with options that may be for the target's store.
#[derive(Debug)]
struct StoredCopies;

#[async_trait::async_trait]
impl QueryPlanner for StoredCopies {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let stored = with_store(session, plan).await?;
        DefaultPhysicalPlanner::default().create_physical_plan(stored.as_ref().unwrap_or(plan), session).await
    }
}

/// A `COPY` (also inside `EXPLAIN ANALYZE`) without its options for the store that it writes to; the store is created again with
/// these options. `None` if it has none.
async fn with_store(session: &dyn Session, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    Ok(match plan {
        LogicalPlan::Copy(copy) => register(session, &copy.output_url, &copy.options)
            .await?
            .map(|options| LogicalPlan::Copy(CopyTo { options, ..copy.clone() })),
        LogicalPlan::Analyze(analyze) => Box::pin(with_store(session, &analyze.input))
            .await?
            .map(|input| LogicalPlan::Analyze(Analyze { input: Arc::new(input), ..analyze.clone() })),
        _ => None,
    })
}

/// Creates the store of a location again if there are options for it, and returns the remaining options, which are for the format.
async fn register(
    session: &dyn Session,
    location: &str,
    options: &HashMap<String, String>,
) -> Result<Option<HashMap<String, String>>> {
    // Anything that is not a URL is a path.
    let Ok(url) = Url::parse(location) else { return Ok(None) };
    let Some(mut of_store) = StoreOptions::of_environment(&url) else {
        // DataFusion reports this as an internal error.
        if location.contains("://") && session.runtime_env().object_store_registry.get_store(&url).is_err() {
            let scheme = url.scheme();
            return plan_err!(
                "there is no object store for {scheme}:// in '{location}': expected a path, or one of {STORES}"
            );
        }
        return Ok(None);
    };
    let (given, others): (HashMap<_, _>, HashMap<_, _>) =
        options.clone().into_iter().partition(|(key, _)| of_store.knows(key));
    if given.is_empty() {
        return Ok(None);
    }
    of_store.replace_with(given)?;
    of_store.resolve_region(&url).await?;
    session.runtime_env().register_object_store(&url, of_store.store(&url)?);
    Ok(Some(others))
}
