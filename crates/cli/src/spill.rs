//! The folder in which queries write what does not fit into memory: it belongs to the run, and is removed with it.
//!
//! DataFusion deletes its files when the query is dropped. A query that is interrupted by a signal is not dropped, so the program
//! deletes the folder, however it ends; a second signal ends it at once, and may leave the folder.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;

static FOLDER: Mutex<Option<TempDir>> = Mutex::new(None);

/// Creates the folder, by default in the system's folder for temporary files.
pub(crate) fn make(parent: Option<&Path>) -> io::Result<PathBuf> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("daglight-spill-");
    let folder = parent.map_or_else(|| builder.tempdir(), |parent| builder.tempdir_in(parent))?;
    let path = folder.path().to_owned();
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
    Ok(path)
}

/// The folder, if there is one.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    folder.as_ref().map(|folder| folder.path().to_owned())
}

/// Deletes the folder with everything that queries have left in it. Failures are ignored: the run is over.
pub(crate) fn remove() {
    // Under the lock: a second caller may end the process, and must wait until the folder is gone.
    drop(FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take());
}
