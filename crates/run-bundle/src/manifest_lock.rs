//! Keeps those apart who change the manifest of one bundle.

use std::{
    fs::{File, TryLockError},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long the manifest of a bundle is waited for. Whoever has it reads and writes a small file.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The right to change a manifest, until it is dropped or the process ends. It is a lock on the folder of the bundle, so
/// that there is no file for it.
#[derive(Debug)]
pub(crate) struct ManifestLock(
    #[expect(dead_code, reason = "the lock lives as long as the folder is open")] Option<File>,
);

impl ManifestLock {
    /// `None` where another keeps it for too long. Where folders cannot be locked there is nothing to wait for.
    pub(crate) fn acquire(bundle_dir: &Path) -> Option<Self> {
        // The folder itself and no file in it: a lock file would be one more file of a bundle, and would be left
        // behind.
        let Ok(folder) = File::open(bundle_dir) else { return Some(Self(None)) };
        let begun = Instant::now();
        loop {
            match folder.try_lock() {
                // Some file systems, most of them on the network, have no locks. A manifest that two write at once
                // is still whole: it is replaced.
                Ok(()) | Err(TryLockError::Error(_)) => return Some(Self(Some(folder))),
                Err(TryLockError::WouldBlock) if begun.elapsed() > LONGEST_WAIT => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}
