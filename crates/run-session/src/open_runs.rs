//! The runs of a process that have not ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use daglight_run_identity::RunId;

/// The runs of a process that have not ended.
// Weak: the list must not be what keeps a run alive that its program has dropped.
pub(crate) struct OpenRuns<R>(Mutex<HashMap<RunId, Weak<R>>>);

impl<R> Default for OpenRuns<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R> OpenRuns<R> {
    pub(crate) fn insert(&self, run_id: RunId, run: &Arc<R>) {
        self.lock().insert(run_id, Arc::downgrade(run));
    }

    pub(crate) fn remove(&self, run_id: RunId) {
        self.lock().remove(&run_id);
    }

    pub(crate) fn get(&self, run_id: RunId) -> Option<Arc<R>> {
        self.lock().get(&run_id).and_then(Weak::upgrade)
    }

    /// All of them.
    pub(crate) fn list(&self) -> Vec<Arc<R>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Weak<R>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
