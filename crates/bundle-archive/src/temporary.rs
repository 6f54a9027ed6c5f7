//! The folders that archives are unpacked into for as long as a command looks at them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level,
};
use tempfile::TempDir;

/// A folder into which somebody still writes is not empty behind the first look at it.
const ATTEMPTS: usize = 100;

static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static IS_WANTED: AtomicBool = AtomicBool::new(false);
static LISTENS: Once = Once::new();

/// A folder of the user alone for one archive. It is removed when it is dropped, and by a signal where [`remove_on_signals`] was
/// called.
///
/// # Errors
///
/// When it cannot be made.
pub fn temporary_folder() -> io::Result<TempDir> {
    if IS_WANTED.load(Ordering::SeqCst) {
        // Where nobody listens, signals end the process as before, and leave the folder.
        LISTENS.call_once(|| drop(listen()));
    }
    // Locked first: a signal finds the folder in the list, or keeps it from being made.
    let mut folders = folders();
    let folder = tempfile::tempdir()?;
    folders.push(folder.path().to_owned());
    Ok(folder)
}

/// Has SIGINT and SIGTERM remove the folders before they end the process, which would drop nothing. It is for programs that do
/// not answer these signals themselves. Nothing is changed of how signals are answered before there is a folder.
pub fn remove_on_signals() {
    IS_WANTED.store(true, Ordering::SeqCst);
}

fn listen() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("daglight-unpacked".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // Locked until the process is gone, so that no folder is made any more.
            let folders = folders();
            folders.iter().for_each(|folder| remove(folder));
            // Where it fails, the next signal tries it again.
            let _ = low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

fn remove(folder: &Path) {
    for _ in 0..ATTEMPTS {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {}
            _ => return,
        }
    }
}

fn folders() -> MutexGuard<'static, Vec<PathBuf>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}
