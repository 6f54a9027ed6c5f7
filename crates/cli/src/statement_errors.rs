//! The errors of statements, until they are printed at the end of a run.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use daglight::sql::SourceError;

use crate::say;

/// The errors so far, in order. If a signal ends the run, the work is dropped together with what it would have returned, and these
/// are all that is known of the statements that had failed before.
#[derive(Default)]
pub(crate) struct StatementErrors(Mutex<Vec<SourceError>>);

impl StatementErrors {
    pub(crate) fn add(&self, error: &SourceError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(error.clone());
    }

    /// Prints those that have not been printed.
    pub(crate) fn print(&self) {
        // Not printed under the lock: standard error may block, and nothing that runs must wait for it.
        let errors = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for error in &errors {
            say::error(&format!("error: {}", error.shown_by(say::redactor())));
        }
    }
}
