//! The temporary folders into which archives are unpacked while a command reads them.

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

/// The folder may not be empty after the first attempt if something is still writing to it.
const ATTEMPTS: usize = 100;

static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static IS_WANTED: AtomicBool = AtomicBool::new(false);
static LISTENS: Once = Once::new();

/// A private folder for one archive. It is removed when it is dropped, and on a signal if [`remove_on_signals`] was called.
///
/// # Errors
///
/// When it cannot be created.
pub fn temporary_folder() -> io::Result<TempDir> {
    if IS_WANTED.load(Ordering::SeqCst) {
        // Without the handler, signals end the process as before, and leave the folder.
        LISTENS.call_once(|| drop(listen()));
    }
    // Locked first: a signal either finds the folder in the list, or prevents it from being created.
    let mut folders = folders();
    let folder = tempfile::tempdir()?;
    folders.push(folder.path().to_owned());
    Ok(folder)
}

/// Makes SIGINT and SIGTERM remove the folders before they end the process, which would drop nothing. For programs that do not
/// handle these signals themselves. Signal handling is unchanged until there is a folder.
pub fn remove_on_signals() {
    IS_WANTED.store(true, Ordering::SeqCst);
}

fn listen() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("daglight-unpacked".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // Locked until the process ends, so that no more folders are created.
            let folders = folders();
            folders.iter().for_each(|folder| remove(folder));
            // If it fails, the next signal tries again.
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
