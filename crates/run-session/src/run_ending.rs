//! The end of a run: how far it has come, and what it has recorded.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use daglight_run_bundle::Reserve;

use crate::{end_progress::EndProgress, finish_report::FinishReport};

/// What the end of a run needs, and leaves.
#[derive(Default)]
pub(crate) struct RunEnding {
    pub(crate) progress: EndProgress,
    /// Whether the manifest says how the run ended. Held while that is written.
    is_recorded: Mutex<bool>,
    /// Disk space that is kept for the last manifest.
    reserve: Mutex<Option<Reserve>>,
    pub(crate) report: OnceLock<FinishReport>,
}

impl RunEnding {
    /// Whether the manifest says how the run ended.
    pub(crate) fn is_recorded(&self) -> MutexGuard<'_, bool> {
        self.is_recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reserve(&self) -> MutexGuard<'_, Option<Reserve>> {
        self.reserve.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
