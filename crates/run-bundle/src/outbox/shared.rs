//! The state that all handles to one outbox share: the writer of its file, the counts, and whether a warning was given.

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

/// The shared state of the handles to one outbox.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    pub(super) writer: Mutex<Writer>,
    /// How many bytes of the file are synchronised.
    pub(super) synced: Mutex<u64>,
    pub(super) produced: AtomicU64,
    pub(super) warned: Arc<AtomicBool>,
}

impl Shared {
    /// Encodes an event as a line.
    pub(super) fn encode(&self, event: &Event) -> io::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(512);
        encode(event, &mut line)?;
        if line.len() > MAX_RECORD_BYTES {
            let message = format!("an event of {} MiB is larger than a record may be", line.len() >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(line)
    }

    /// Makes the file durable up to `end`. A thread that arrives while another one synchronises then finds its own line done.
    pub(super) fn sync(&self, end: u64) -> io::Result<()> {
        let mut synced = lock(&self.synced);
        // Checked after acquiring the lock: a thread that waited for it gets here when its line is already on the disk, so that N
        // threads cost one synchronisation instead of N.
        if *synced >= end {
            return Ok(());
        }
        // Synchronised without holding the writer's lock: the disk takes milliseconds, and other threads can append meanwhile. For
        // threads waiting here, the first one has usually synchronised their lines as well.
        let (file, length) = {
            let writer = lock(&self.writer);
            (writer.file().map(File::try_clone).transpose()?, writer.length())
        };
        if let Some(file) = file {
            // `fdatasync` instead of `fsync`: the length of the file is metadata that is needed to read it, so it is written, too;
            // only the time stamps are not waited for.
            file.sync_data()?;
        }
        // The length from before: bytes that were appended during the synchronisation may not be included.
        *synced = length;
        Ok(())
    }

    /// Returns the problem, unless a warning was already given.
    pub(super) fn first(&self, problem: RecordingProblem) -> Result<(), RecordingProblem> {
        if self.warned.swap(true, Ordering::Relaxed) { Ok(()) } else { Err(problem) }
    }

    /// After the end of the run: lines that still wait for space are written, or count as dropped.
    pub(super) fn write_or_drop(&self) {
        let mut writer = lock(&self.writer);
        // Before that, writing is retried with every event, and nothing has to be given up.
        if writer.has_ended() {
            writer.write_or_drop();
        }
    }
}

/// Acquires the lock even if it is poisoned: the data behind these locks is consistent after each statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
