//! Keeps those apart who change the manifest of one bundle.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// The right to change a manifest, until it is dropped or the process ends. It is a lock on the folder of the bundle, so
/// that there is no file for it.
#[derive(Debug)]
pub(crate) struct ManifestLock(
    #[expect(dead_code, reason = "the lock lives as long as the folder is open")] Option<File>,
);

impl ManifestLock {
    /// `None` where another keeps it for longer than that. Where folders cannot be locked there is nothing to wait for.
    pub(crate) fn acquire(bundle_dir: &Path, longest: Duration) -> Option<Self> {
        // The folder itself and no file in it: a lock file would be one more file of a bundle, and would be left
        // behind.
        let Ok(folder) = File::open(bundle_dir) else { return Some(Self(None)) };
        let begun = Instant::now();
        loop {
            match folder.try_lock() {
                // Some file systems, most of them on the network, have no locks. A manifest that two write at once
                // is still whole: it is replaced.
                Ok(()) | Err(TryLockError::Error(_)) => return Some(Self(Some(folder))),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= longest => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}
