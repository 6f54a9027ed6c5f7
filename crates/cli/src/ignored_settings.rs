//! Settings of the engines of clusters in a session without the engine. They are accepted and ignored, so that a script runs on one machine
//! as it does on a cluster.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use daglight::{NOTE_TARGET, cluster::ClusterAddress};
use datafusion::{
    common::config::{ConfigEntry, ConfigExtension, ExtensionOptions},
    error::Result,
    execution::SessionStateBuilder,
};
use tracing::{Level, event};

/// Lets the session take the settings of engines that it does not have. A misspelled one of the engine that it has is an error.
pub(crate) fn with_ignored_settings(
    mut builder: SessionStateBuilder,
    cluster: Option<&ClusterAddress>,
) -> SessionStateBuilder {
    let extensions = &mut builder.config().get_or_insert_default().options_mut().extensions;
    if !matches!(cluster, Some(ClusterAddress::Distributed { .. })) {
        extensions.insert(Ignored::<Distributed>::default());
    }
    if !matches!(cluster, Some(ClusterAddress::Ballista { .. })) {
        extensions.insert(Ignored::<Ballista>::default());
    }
    builder
}

/// An engine of clusters.
trait Engine: fmt::Debug + Clone + Default + Send + Sync + 'static {
    /// The beginning of the names of its settings.
    const PREFIX: &'static str;
    /// That of the addresses of its clusters.
    const SCHEME: &'static str;
}

#[derive(Debug, Clone, Default)]
struct Distributed;

impl Engine for Distributed {
    const PREFIX: &'static str = "distributed";
    const SCHEME: &'static str = "df";
}

#[derive(Debug, Clone, Default)]
struct Ballista;

impl Engine for Ballista {
    const PREFIX: &'static str = "ballista";
    const SCHEME: &'static str = "ballista";
}

/// The settings of an engine. Clones are those of one session.
#[derive(Debug, Clone, Default)]
struct Ignored<E> {
    is_noted: Arc<AtomicBool>,
    engine: PhantomData<E>,
}

impl<E: Engine> ConfigExtension for Ignored<E> {
    const PREFIX: &'static str = E::PREFIX;
}

impl<E: Engine> ExtensionOptions for Ignored<E> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, _: &str, _: &str) -> Result<()> {
        if !self.is_noted.swap(true, Ordering::Relaxed) {
            let (prefix, scheme) = (E::PREFIX, E::SCHEME);
            event!(
                target: NOTE_TARGET,
                Level::INFO,
                "the settings of the script that begin with {prefix}. have no effect without --cluster {scheme}://..."
            );
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    fn set(cluster: Option<&str>, statement: &str) -> bool {
        let cluster = cluster.map(|address| address.parse::<ClusterAddress>().expect("an address"));
        let builder = SessionStateBuilder::new_with_default_features();
        let session =
            SessionContext::new_with_state(with_ignored_settings(builder, cluster.as_ref()).build());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async { session.sql(statement).await }).is_ok()
    }

    #[test]
    fn settings_of_engines_that_a_session_lacks_are_accepted() {
        let of_engines =
            ["SET distributed.file_scan_config_bytes_per_partition = 1", "SET ballista.any = 'x'"];
        for statement in of_engines {
            assert!(set(None, statement), "{statement}");
        }
        // Those of the engine are registered by it.
        assert!(!set(Some("df://a:1"), of_engines[0]) && set(Some("df://a:1"), of_engines[1]));
        assert!(set(Some("ballista://a:1"), of_engines[0]) && !set(Some("ballista://a:1"), of_engines[1]));
        assert!(!set(None, "SET spark.any = 1") && !set(None, "SET datafusion.any = 1"));
    }
}
