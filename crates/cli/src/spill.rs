//! The folder in which queries write what does not fit into memory: it belongs to the run, and is removed with it.
//!
//! DataFusion deletes its files when the query is dropped. A query that is interrupted by a signal is not dropped, so the program
//! deletes the folder, however it ends. A process that is killed, or ended by a third signal, leaves it behind. Each process holds a
//! lock on a file in its folder, by which the next one recognises folders whose process has ended, and removes them.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use daglight_guarded_files::FileBelow;
use tempfile::TempDir;

/// The beginning of the name of each folder.
const PREFIX: &str = "daglight-spill-";
/// The file in the folder that its process has locked.
const LOCK: &str = "lock";
/// Its name until it is locked.
const UNLOCKED: &str = "lock.new";

static FOLDER: Mutex<Option<SpillFolder>> = Mutex::new(None);

/// The folder of this process.
struct SpillFolder {
    // Declared first, so that it is removed while the lock is held.
    folder: TempDir,
    _lock: File,
}

impl SpillFolder {
    fn new(parent: Option<&Path>) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        let folder = parent.map_or_else(|| builder.tempdir(), |parent| builder.tempdir_in(parent))?;
        let (unlocked, path) = (folder.path().join(UNLOCKED), folder.path().join(LOCK));
        let lock = File::create_new(&unlocked)?;
        // Best effort: some file systems have no locks. There, nothing is ever taken for left behind, because locking fails for
        // others as well.
        let _ = lock.try_lock();
        // Only now: another process takes an unlocked file of this name for that of a process that has ended.
        fs::rename(unlocked, path)?;
        Ok(Self { folder, _lock: lock })
    }
}

/// Creates the folder, by default in the system's folder for temporary files, and begins to remove those that ended processes have
/// left next to it.
pub(crate) fn make(parent: Option<&Path>) -> io::Result<PathBuf> {
    let spill = SpillFolder::new(parent)?;
    let path = spill.folder.path().to_owned();
    *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(spill);
    let own = path.clone();
    // On its own thread, because there may be gigabytes. If the process ends first, or has no thread for it, the next one goes on.
    let _ = thread::Builder::new().name("daglight-spill".to_owned()).spawn(move || remove_left_behind(&own));
    Ok(path)
}

/// The folder, if there is one.
pub(crate) fn folder() -> Option<PathBuf> {
    let spill = FOLDER.lock().unwrap_or_else(PoisonError::into_inner);
    spill.as_ref().map(|spill| spill.folder.path().to_owned())
}

/// Deletes the folder with everything that queries have left in it. Failures are ignored: the run is over.
pub(crate) fn remove() {
    // Under the lock: a second caller may end the process, and must wait until the folder is gone.
    drop(FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Removes the folders next to the own one whose processes have ended. Failures are ignored: the next process tries again.
fn remove_left_behind(own: &Path) {
    let entries = own.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten();
    for entry in entries {
        let is_spill = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        // Links are not followed: only folders that a process of this user has created.
        if is_spill && entry.path() != own && is_own_folder(&entry.path(), own) {
            remove_if_left(&entry.path());
        }
    }
}

fn is_own_folder(path: &Path, own: &Path) -> bool {
    let (Ok(found), Ok(own)) = (path.symlink_metadata(), own.symlink_metadata()) else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        found.is_dir() && found.uid() == own.uid()
    }
    #[cfg(not(unix))]
    {
        found.is_dir() && own.is_dir()
    }
}

fn remove_if_left(folder: &Path) {
    let Ok(lock) = FileBelow::new(folder, LOCK).open() else { return };
    if lock.try_lock().is_err() {
        return;
    }
    // The lock goes last, so that what an interrupted removal leaves is recognised again.
    let others = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in others.filter(|entry| entry.file_name() != LOCK) {
        let _ = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
            _ => fs::remove_file(entry.path()),
        };
    }
    let is_last = fs::read_dir(folder).is_ok_and(|left| left.count() == 1);
    if is_last {
        let _ = fs::remove_dir_all(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ended_processes_have_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str, files: &[&str]| {
            let path = parent.path().join(name);
            for file in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "").unwrap();
            }
            path
        };
        let left = folder("daglight-spill-left", &["lock", "datafusion-a/1"]);
        let kept = [
            folder("daglight-spill-unlocked", &["lock.new", "datafusion-a/1"]),
            folder("daglight-spill-without", &["datafusion-a/1"]),
            folder("of-something-else", &["lock"]),
        ];
        let living = SpillFolder::new(Some(parent.path())).unwrap();
        #[cfg(unix)]
        let linked = {
            let linked = parent.path().join("daglight-spill-link");
            std::os::unix::fs::symlink(&kept[2], &linked).unwrap();
            linked
        };
        let own = SpillFolder::new(Some(parent.path())).unwrap();
        remove_left_behind(own.folder.path());
        assert!(!left.exists());
        assert!(kept.iter().all(|folder| folder.exists()));
        assert!(living.folder.path().exists() && own.folder.path().join(LOCK).exists());
        #[cfg(unix)]
        assert!(linked.exists() && kept[2].join(LOCK).exists());

        // A folder that its process has not removed, because it was killed.
        let killed = living.folder.keep();
        drop(living._lock);
        remove_left_behind(own.folder.path());
        assert!(!killed.exists());
    }
}
