//! The file of a run to which every event is written before anything is sent.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use daglight_guarded_files::Durability;

use super::{
    event::Event,
    place::{create_folder, outbox_path, sync_folders, tracker_file},
    reader::OutboxError,
    record::{Header, encode},
    recorded::{LastLine, Recorded},
    recording_problem::RecordingProblem,
    shared::{Shared, lock},
    unwritten::Unwritten,
    writer::{Line, RESERVE_BYTES, Writer, Written},
};
use crate::{
    delivery_counts::{DeliveryCounts, ItemsByKind},
    json_lines::ends_with_line_feed,
    layout::{OUTBOX, RESERVE},
    reserve::Reserve,
};

/// The append-only file of a run's events, `outbox.jsonl` in the `tracker` folder of its bundle.
///
/// # Format, version 3
/// JSON lines. Each line is `{"crc32":"89abcdef","record":...}` and a line feed; the checksum (CRC-32 of IEEE 802.3,
/// eight hexadecimal digits) is that of the bytes between `"record":` and the last brace. The first record is the
/// header, `{"format":"daglight_outbox","version":3}`; every other one is an [`Event`], tagged by `"event"`. A line is
/// written in one call before [`Outbox::append`] returns, with the file in append mode.
///
/// A reader accepts every line whose checksum is right, counts the others, and continues after the next line feed. A last line
/// without a line feed is still being written, or was when the process ended. A file of a newer version is rejected, for reading
/// and for appending.
///
/// # Durability
/// With [`Durability::Process`] an appended event survives the death of the process; with [`Durability::Disk`] it is also on the
/// storage medium. Threads that append at the same time share one synchronisation.
///
/// Clones are handles to the same file. As long as one of them exists, the file carries a shared lock, which shows other processes
/// that this one is alive.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

impl Outbox {
    /// Opens the outbox of a `tracker` folder, and creates folder and file if they are missing.
    ///
    /// # Errors
    /// When the folder cannot be written, or its outbox is of a newer version.
    pub fn open(tracker_dir: &Path, durability: Durability) -> Result<Self, OutboxError> {
        let path = outbox_path(tracker_dir);
        let unusable = |source| OutboxError::Io { path: path.clone(), source };
        create_folder(tracker_dir).map_err(unusable)?;
        let mut file = tracker_file(tracker_dir, OUTBOX).append().map_err(unusable)?;
        // Best effort: some file systems have no locks, and only the closing of dead runs depends on them.
        let _ = file.lock_shared();
        // After locking, so that nobody considers the run dead meanwhile.
        let mut length = file.seek(SeekFrom::End(0)).map_err(unusable)?;
        let mut recorded = Recorded::default();
        if length == 0 {
            let mut line = Vec::new();
            encode(&Header::current(), &mut line).map_err(|error| unusable(error.into()))?;
            file.write_all(&line).map_err(unusable)?;
            length = line.len() as u64;
        } else {
            // A process was killed in the middle of a line. With a line feed it becomes one unreadable line instead of the
            // beginning of the next.
            if !ends_with_line_feed(&mut file).map_err(unusable)? {
                file.write_all(b"\n").map_err(unusable)?;
                length += 1;
            }
            recorded = Recorded::read(&path, LastLine::MayGrow, |_| {})?;
        }
        if durability == Durability::Disk {
            sync_folders(tracker_dir);
        }
        let writer = Writer::new(Some(file), length, recorded.lost);
        Ok(Self::new(path, durability, writer, recorded.produced))
    }

    /// An outbox that discards all events, for a run whose folder cannot be written. All of them count as dropped; the caller has
    /// already warned about it.
    pub fn discarding(tracker_dir: &Path) -> Self {
        let writer = Writer::new(None, 0, BTreeMap::new());
        let outbox = Self::new(outbox_path(tracker_dir), Durability::Process, writer, 0);
        outbox.0.warned.store(true, Ordering::Relaxed);
        outbox
    }

    fn new(path: PathBuf, durability: Durability, writer: Writer, produced: u64) -> Self {
        Self(Arc::new(Shared {
            path,
            durability,
            synced: Mutex::new(0),
            writer: Mutex::new(writer),
            produced: AtomicU64::new(produced),
            warned: Arc::default(),
        }))
    }

    /// Reserves disk space, so that the end of the run can be recorded even if the disk is full. Best effort: on a disk that is
    /// already full, there is nothing to reserve.
    pub fn keep_reserve(&self) {
        let file = tracker_file(&self.tracker_dir(), RESERVE);
        if let Ok(reserve) = Reserve::take(file, RESERVE_BYTES) {
            lock(&self.0.writer).keep(reserve);
        }
    }

    /// Records an event: it is in the file when this returns. This never fails the run. If the disk is full, up to 4 MiB of events
    /// wait in memory and are written once there is space; the end of the run has reserved space. Events that cannot be written at
    /// all count as dropped, with the reason. Only the first event that is not written causes a warning.
    ///
    /// # Errors
    /// The first time that an event of this outbox is not written properly, so that the user can be warned. Later failures are only
    /// counted.
    pub fn append(&self, event: &Event) -> Result<(), RecordingProblem> {
        let inner = &*self.0;
        let items = event.items();
        // Before anything can fail: the event counts, whatever happens to it.
        inner.produced.fetch_add(items, Ordering::Relaxed);
        let bytes = match inner.encode(event) {
            Ok(bytes) => bytes,
            Err(error) => {
                let mut writer = lock(&inner.writer);
                writer.lose(&error, items);
                // Retried with the next event.
                let _ = writer.record_losses();
                drop(writer);
                return inner.first(RecordingProblem::Refused { path: inner.path.clone(), source: error });
            }
        };
        let is_end = matches!(event, Event::RunFinished { .. });
        // Encoded outside the lock, because that takes most of the time of an event, and many threads append.
        let written = lock(&inner.writer).write(Line { bytes, items, is_end });
        match written {
            Written::To(end) => {
                if inner.durability == Durability::Disk
                    && let Err(error) = inner.sync(end)
                {
                    return inner
                        .first(RecordingProblem::Unsynced { path: inner.path.clone(), source: error });
                }
                Ok(())
            }
            Written::Waits(source) | Written::Lost(source) => {
                inner.first(RecordingProblem::Unwritten { path: inner.path.clone(), source })
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The counts of a run that is not being delivered: everything recorded is waiting.
    pub fn ledger(&self) -> DeliveryCounts {
        DeliveryCounts::by_kind(self.produced(), ItemsByKind::default(), self.dropped())
    }

    /// Whether a warning was given that the run cannot be recorded. Other recorders on the same disk share the flag, so that one
    /// cause leads to one warning.
    pub fn warned(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.warned)
    }

    /// The folder that contains the file.
    pub fn tracker_dir(&self) -> PathBuf {
        self.0.path.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// The number of recorded items, including dropped ones.
    pub fn produced(&self) -> u64 {
        self.0.produced.load(Ordering::Relaxed).saturating_add(lock(&self.0.writer).pieces())
    }

    /// Items that could not be recorded, by reason.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        lock(&self.0.writer).lost()
    }

    /// After the end of the run: events that still wait for space are written, or count as dropped.
    pub fn write_or_drop(&self) {
        self.0.write_or_drop();
    }

    /// A handle for the delivery, which does not keep the outbox open.
    pub fn unwritten(&self) -> Unwritten {
        // The lock on the file shows others that the run is alive. If the delivery thread held the outbox, it would keep the lock
        // after the run was dropped, and nobody could close the run.
        Unwritten::of(&self.0)
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("path", &self.0.path).field("produced", &self.produced()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        thread,
    };

    use chrono::DateTime;

    use super::*;
    use crate::outbox::{
        reader::{OutboxReader, Read as ReadRecord},
        record::OUTBOX_VERSION,
    };

    fn event(node: &str) -> Event {
        Event::TaskStarted { node: node.into(), time: DateTime::UNIX_EPOCH }
    }

    #[track_caller]
    fn check_nodes(dir: &Path, expected: &[&str]) {
        let mut reader = OutboxReader::open(&dir.join(OUTBOX)).unwrap();
        let mut nodes = Vec::new();
        loop {
            match reader.read().unwrap() {
                ReadRecord::Event { event, .. } => match *event {
                    Event::TaskStarted { node, .. } => nodes.push(node),
                    other => panic!("{other:?}"),
                },
                ReadRecord::Unreadable { .. } => nodes.push("?".into()),
                ReadRecord::End { .. } => break,
            }
        }
        assert_eq!(nodes, expected);
    }

    #[test]
    fn events_are_in_the_file_when_append_returns() {
        for durability in [Durability::Process, Durability::Disk] {
            let dir = tempfile::tempdir().unwrap();
            let outbox = Outbox::open(dir.path(), durability).unwrap();
            outbox.append(&event("a")).unwrap();
            check_nodes(dir.path(), &["a"]);
            drop(outbox);
            let outbox = Outbox::open(dir.path(), durability).unwrap();
            outbox.append(&event("b")).unwrap();
            check_nodes(dir.path(), &["a", "b"]);
            assert_eq!(outbox.produced(), 2);
        }
    }

    #[test]
    fn a_torn_line_is_closed_before_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        Outbox::open(dir.path(), Durability::Process).unwrap().append(&event("a")).unwrap();
        let path = dir.path().join(OUTBOX);
        let length = fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
        let outbox = Outbox::open(dir.path(), Durability::Process).unwrap();
        outbox.append(&event("b")).unwrap();
        check_nodes(dir.path(), &["?", "b"]);
        assert_eq!(outbox.produced(), 2);
    }

    #[test]
    fn a_newer_outbox_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut line = Vec::new();
        encode(&Header { version: OUTBOX_VERSION + 1, ..Header::current() }, &mut line).unwrap();
        fs::write(dir.path().join(OUTBOX), &line).unwrap();
        let error = Outbox::open(dir.path(), Durability::Process).unwrap_err();
        assert!(matches!(error, OutboxError::Newer { found, .. } if found > OUTBOX_VERSION), "{error}");
        assert_eq!(fs::read(dir.path().join(OUTBOX)).unwrap(), line);
    }

    #[test]
    fn threads_append_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path(), Durability::Process).unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let outbox = outbox.clone();
                scope.spawn(move || {
                    (0..250).for_each(|n| outbox.append(&event(&format!("{thread}-{n}"))).unwrap())
                });
            }
        });
        let length = fs::metadata(outbox.path()).unwrap().len();
        assert_eq!(lock(&outbox.0.writer).length(), length);
        drop(outbox);
        assert_eq!(Outbox::open(dir.path(), Durability::Process).unwrap().produced(), 1_000);
    }

    #[test]
    fn processes_append_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for process in 0..4 {
                let outbox = Outbox::open(dir.path(), Durability::Process).unwrap();
                scope.spawn(move || {
                    (0..250).for_each(|n| outbox.append(&event(&format!("{process}-{n}"))).unwrap())
                });
            }
        });
        let mut reader = OutboxReader::open(&dir.path().join(OUTBOX)).unwrap();
        let mut events = 0;
        while let ReadRecord::Event { .. } = reader.read().unwrap() {
            events += 1;
        }
        assert_eq!((events, reader.read().unwrap()), (1_000, ReadRecord::End { unfinished: false }));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_costs_events_but_not_the_run() {
        let file = File::options().append(true).open("/dev/full").ok();
        let writer = Writer::new(file, 0, BTreeMap::new());
        let outbox = Outbox::new("/dev/full".into(), Durability::Process, writer, 0);
        // The warning is given only once.
        assert!(matches!(outbox.append(&event("a")), Err(RecordingProblem::Unwritten { .. })));
        outbox.append(&event("b")).unwrap();
        assert_eq!(outbox.ledger().waiting, 2);
        lock(&outbox.0.writer).write_or_drop();
        let ledger = outbox.ledger();
        assert_eq!((ledger.produced, ledger.waiting, ledger.dropped_total()), (2, 0, 2));
        let reason = ledger.dropped.keys().next().unwrap();
        assert!(reason.contains("No space left"), "{reason}");
    }

    #[test]
    fn without_a_file_everything_counts_as_dropped() {
        let outbox = Outbox::discarding(Path::new("nowhere"));
        outbox.append(&event("a")).unwrap();
        assert_eq!((outbox.ledger().waiting, outbox.ledger().dropped_total()), (0, 1));
    }
}
