//! The instrumented sessions of a process, and what of them decides results and plans, as one hash.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daglight_run_identity::hash_of_fields;
use datafusion::{
    DATAFUSION_VERSION, catalog::CatalogProviderList, config::ConfigOptions, prelude::SessionContext,
};

/// Options that change how something is shown, and neither results nor plans.
const SHOWN_ONLY: [&str; 3] =
    ["datafusion.explain.", "datafusion.format.", "datafusion.sql_parser.collect_spans"];

/// The instrumented sessions of a process, as long as somebody else holds them.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Vec<Session>>);

/// How long a session is waited for whose state somebody changes. A program that holds it for longer, or holds it while a
/// node of it ends, must not hold up the run.
const STATE_LIMIT: Duration = Duration::from_millis(100);

struct Session {
    exists: Box<dyn Fn() -> bool + Send + Sync>,
    /// What the session is now. `None` where it is gone, or its state was not to be had.
    look: Arc<dyn Fn() -> Option<SeenSession> + Send + Sync>,
}

/// A session at one moment. No lock is held by it.
pub(crate) struct SeenSession {
    pub(crate) options: Arc<ConfigOptions>,
    pub(crate) catalogs: Arc<dyn CatalogProviderList>,
}

impl Sessions {
    pub(crate) fn add(&self, session: &SessionContext) {
        // Weakly: the state of a session owns the tables in its memory, which end with the session and not with the
        // telemetry.
        let (state, of_existence) = (session.state_weak_ref(), session.state_weak_ref());
        let look = move || {
            let state = state.upgrade()?;
            // As one more read of a thread that reads already, which would else wait for a writer that waits for it.
            let state = state.try_read_recursive_for(STATE_LIMIT)?;
            Some(SeenSession {
                options: Arc::clone(state.config_options()),
                catalogs: Arc::clone(state.catalog_list()),
            })
        };
        let exists = move || of_existence.strong_count() > 0;
        let mut sessions = self.lock();
        // Without a look at their states, which the caller may be changing.
        sessions.retain(|session| (session.exists)());
        sessions.push(Session { exists: Box::new(exists), look: Arc::new(look) });
    }

    /// The sessions that there are.
    pub(crate) fn seen(&self) -> Vec<SeenSession> {
        let looks: Vec<_> = self.lock().iter().map(|session| Arc::clone(&session.look)).collect();
        // Without the lock: the last handle to a session may be dropped here, with all that the program has in it.
        looks.iter().filter_map(|look| look()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash of the sessions that there are: of one what it is, of several what they are together.
    pub(crate) fn runtime_hash(&self) -> Option<String> {
        let mut hashes: Vec<String> =
            self.seen().iter().map(|session| runtime_hash(&session.options)).collect();
        hashes.sort();
        // A program that makes a session for each request has thousands that are alike, and one runtime.
        hashes.dedup();
        match hashes.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(hash_of_fields("daglight.sessions.v1", several.iter().map(String::as_str))),
        }
    }
}

/// The hash of DataFusion's version and of the options that change results or plans.
fn runtime_hash(options: &ConfigOptions) -> String {
    let mut options: Vec<(String, String)> = options
        .entries()
        .into_iter()
        .filter(|entry| !SHOWN_ONLY.iter().any(|prefix| entry.key.starts_with(prefix)))
        .map(|entry| (entry.key, entry.value.unwrap_or_default()))
        .collect();
    options.sort();
    let options = options.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    hash_of_fields("daglight.session_runtime.v1", [DATAFUSION_VERSION].into_iter().chain(options))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionConfig;

    use super::*;

    fn hash_with(key: &str, value: &str) -> String {
        runtime_hash(SessionConfig::new().with_target_partitions(2).set_str(key, value).options())
    }

    #[test]
    fn only_what_changes_results_or_plans_counts() {
        let base = runtime_hash(SessionConfig::new().with_target_partitions(2).options());
        assert_eq!(base.len(), 64);
        assert_eq!(base, hash_with("datafusion.explain.show_statistics", "true"));
        assert_ne!(base, hash_with("datafusion.execution.batch_size", "100"));
        assert_ne!(base, hash_with("datafusion.execution.target_partitions", "3"));
    }

    #[test]
    fn sessions_count_while_they_exist() {
        let sessions = Sessions::default();
        assert_eq!(sessions.runtime_hash(), None);
        let session = SessionContext::new();
        sessions.add(&session);
        let alone = sessions.runtime_hash();
        let same = SessionContext::new();
        sessions.add(&same);
        assert_eq!(sessions.runtime_hash(), alone);
        let other = SessionContext::new_with_config(SessionConfig::new().with_batch_size(7));
        sessions.add(&other);
        assert_ne!(sessions.runtime_hash(), alone);
        drop((same, other));
        assert_eq!(sessions.runtime_hash(), alone);
    }
}
