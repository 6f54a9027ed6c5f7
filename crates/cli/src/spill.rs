//! Where queries write what does not fit into memory: a folder of the run, which goes with it.
//!
//! DataFusion deletes its files when the query is dropped. A query that a signal has left behind is not, so the folder is
//! deleted by the program, whichever way it ends; a second signal ends it at once, and may leave the folder.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;

static FOLDER: Mutex<Option<TempDir>> = Mutex::new(None);

/// Makes the folder, in that of the system for temporary files by default.
pub(crate) fn make(parent: Option<&Path>) -> io::Result<PathBuf> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("daglight-spill-");
    let folder = parent.map_or_else(|| builder.tempdir(), |parent| builder.tempdir_in(parent))?;
    let path = folder.path().to_owned();
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
    Ok(path)
}

/// The folder, where there is one.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    folder.as_ref().map(|folder| folder.path().to_owned())
}

/// Deletes the folder with what queries have left in it. What cannot be deleted stays: the run is over.
pub(crate) fn remove() {
    // Under the lock: whoever comes second may end the process, and waits until it is gone.
    drop(FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take());
}
