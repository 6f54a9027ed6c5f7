//! A lock that lets only one process at a time change the manifest of a bundle.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The right to change a manifest, until it is dropped or the process ends. It is a lock on the folder of the bundle, so no lock
/// file is needed.
#[derive(Debug)]
pub(crate) struct ManifestLock(
    #[expect(dead_code, reason = "the lock lives as long as the folder is open")] Option<File>,
);

impl ManifestLock {
    /// `None` if another process holds the lock for longer than that. If folders cannot be locked, there is nothing to wait for.
    pub(crate) fn acquire(bundle_dir: &Path, longest: Duration) -> Option<Self> {
        // The folder itself instead of a file in it: a lock file would be an additional file of the bundle, and would be left
        // behind.
        let Ok(folder) = File::open(bundle_dir) else { return Some(Self(None)) };
        let begun = Instant::now();
        loop {
            match folder.try_lock() {
                // Some file systems, mostly network ones, have no locks. A manifest that two processes write at the same time is
                // still intact, because it is replaced atomically.
                Ok(()) | Err(TryLockError::Error(_)) => return Some(Self(Some(folder))),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= longest => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}
