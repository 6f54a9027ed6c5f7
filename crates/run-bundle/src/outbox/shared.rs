//! What the handles on one outbox share: the writer of its file, and what was counted and said.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use daglight_guarded_files::Durability;

use super::{
    event::Event,
    record::{MAX_RECORD_BYTES, encode},
    recording_problem::RecordingProblem,
    writer::Writer,
};

/// What the handles on one outbox share.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    pub(super) writer: Mutex<Writer>,
    /// Bytes of the file that are synchronised.
    pub(super) synced: Mutex<u64>,
    pub(super) produced: AtomicU64,
    pub(super) warned: Arc<AtomicBool>,
}

impl Shared {
    /// The line of an event.
    pub(super) fn encode(&self, event: &Event) -> io::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(512);
        encode(event, &mut line)?;
        if line.len() > MAX_RECORD_BYTES {
            let message = format!("an event of {} MiB is larger than a record may be", line.len() >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(line)
    }

    /// Makes the file durable up to `end`. Whoever comes while another synchronises finds its own line done after.
    pub(super) fn sync(&self, end: u64) -> io::Result<()> {
        let mut synced = lock(&self.synced);
        // Checked behind the lock: who waited for it comes here when the disk has this line already, so that N threads
        // cost one synchronisation and not N.
        if *synced >= end {
            return Ok(());
        }
        // Synchronised without the writer's lock: a disk takes milliseconds, and other threads go on appending
        // meanwhile. Whoever waits here finds most often that the first one has synchronised its line as well.
        let (file, length) = {
            let writer = lock(&self.writer);
            (writer.file().map(File::try_clone).transpose()?, writer.length())
        };
        if let Some(file) = file {
            // `fdatasync` and not `fsync`: the length of the file is metadata that is needed to read it, and is
            // written too; its time stamps are not waited for.
            file.sync_data()?;
        }
        // As long as the file was before: what came during the synchronisation may not be in it.
        *synced = length;
        Ok(())
    }

    /// The problem, unless somebody was warned before.
    pub(super) fn first(&self, problem: RecordingProblem) -> Result<(), RecordingProblem> {
        if self.warned.swap(true, Ordering::Relaxed) { Ok(()) } else { Err(problem) }
    }

    /// Once the run has ended: what still waits for space is written, or counts as dropped.
    pub(super) fn write_or_drop(&self) {
        let mut writer = lock(&self.writer);
        // Before that the file is tried again with every event, and nothing has to be given up.
        if writer.has_ended() {
            writer.write_or_drop();
        }
    }
}

/// The lock, whatever happened to a thread that held it: what these locks guard is right after each statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
