//! The session that scripts run in.

use std::sync::Arc;

use daglight::Telemetry;
use datafusion::{
    catalog::{DynamicFileCatalog, MemoryCatalogProviderList},
    datasource::dynamic_file::DynamicListTableFactory,
    execution::{SessionStateBuilder, runtime_env::RuntimeEnv},
    prelude::{SessionConfig, SessionContext},
};

/// An observed session that reads files by their names, as `datafusion-cli` does: `SELECT * FROM 'orders.parquet'`.
pub(crate) fn session(telemetry: &Telemetry, config: SessionConfig, env: Arc<RuntimeEnv>) -> SessionContext {
    let files = Arc::new(DynamicListTableFactory::default());
    let catalogs = DynamicFileCatalog::new(Arc::new(MemoryCatalogProviderList::new()), files.clone());
    let builder = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(env)
        .with_catalog_list(Arc::new(catalogs));
    let session = telemetry.session(builder);
    // What makes a table of a file asks the session for its options.
    files.session_store().with_state(session.state_weak_ref());
    session
}
