//! Keeps two deliverers of one outbox apart.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use super::outbox_file::tracker_file;

const FILE_NAME: &str = "delivery.lock";

/// The right to deliver an outbox, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct DeliveryLock(
    #[expect(dead_code, reason = "the lock lives as long as the file is open")] Option<File>,
);

impl DeliveryLock {
    /// `None` while another has it. Where files cannot be locked there is nothing to wait for.
    pub fn acquire(tracker_dir: &Path) -> Option<Self> {
        let Ok(file) = tracker_file(tracker_dir, FILE_NAME).append() else {
            // A folder that cannot be written is delivered all the same: reading needs no right to write, and the
            // server is asked what it has.
            return Some(Self(None));
        };
        match file.try_lock() {
            // Two that deliver at once cost requests and not correctness: attributes are looked for before they are
            // sent again, and starts and ends are upserts.
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
