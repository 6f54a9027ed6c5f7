//! A lock that prevents two simultaneous deliveries of one outbox or one file of lineage events.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use daglight_guarded_files::FileBelow;

use super::place::tracker_file;
use crate::layout::LINEAGE_LOCK;

const FILE_NAME: &str = "delivery.lock";

/// The right to deliver an outbox or the lineage events of a bundle, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct DeliveryLock(
    #[expect(dead_code, reason = "the lock lives as long as the file is open")] Option<File>,
);

impl DeliveryLock {
    /// `None` while another process holds it. If files cannot be locked, there is nothing to wait for.
    pub fn acquire(tracker_dir: &Path) -> Option<Self> {
        Self::on(&tracker_file(tracker_dir, FILE_NAME))
    }

    /// The right to deliver the lineage events in the folder of a bundle, like [`DeliveryLock::acquire`].
    pub fn of_lineage(bundle_dir: &Path) -> Option<Self> {
        Self::on(&FileBelow::new(bundle_dir, LINEAGE_LOCK))
    }

    fn on(file: &FileBelow) -> Option<Self> {
        let Ok(file) = file.append() else {
            // A read-only folder is delivered all the same: reading does not need write access, and the server is asked what it
            // already has.
            return Some(Self(None));
        };
        match file.try_lock() {
            // Two simultaneous deliveries cost requests but not correctness: attributes are looked up before they are sent again,
            // starts and ends are upserts, and a receiver of OpenLineage treats a repeated event as the same one.
            Ok(()) | Err(TryLockError::Error(_)) => Some(Self(Some(file))),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = DeliveryLock::acquire(dir.path());
        assert!(first.is_some());
        assert!(DeliveryLock::acquire(dir.path()).is_none());
        drop(first);
        assert!(DeliveryLock::acquire(dir.path()).is_some());
    }
}
