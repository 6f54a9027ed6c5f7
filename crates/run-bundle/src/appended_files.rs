//! The files that a run appends to, kept open.

use std::{
    collections::HashMap,
    fs::File,
    sync::{Mutex, PoisonError},
};

/// The files that a handle of a bundle appends to. They stay open: a run has three lines for each of its nodes, and opening a file
/// takes longer than writing one.
#[derive(Debug, Default)]
pub(crate) struct AppendedFiles(Mutex<HashMap<&'static str, File>>);

impl AppendedFiles {
    /// The file, if it is open.
    pub(crate) fn take(&self, name: &str) -> Option<File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    pub(crate) fn keep(&self, name: &'static str, file: File) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, file);
    }
}

impl Clone for AppendedFiles {
    /// Another handle opens its own, so that copies in reports keep no file open.
    fn clone(&self) -> Self {
        Self::default()
    }
}
