//! The file of a run that every event is in before anything is sent.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use daglight_guarded_files::{Durability, FileBelow, create_private_folder};
use serde_json::Value;

use super::{
    event::Event,
    reader::OutboxError,
    record::{Header, MAX_RECORD_BYTES, Record, decode, encode},
    recorded::{LastLine, Recorded},
    writer::{Line, RESERVE_BYTES, Writer, Written},
};
use crate::{
    delivery_counts::{DeliveryCounts, ItemsByKind},
    json_lines::ends_with_line_feed,
    layout::{OUTBOX, RESERVE},
    reserve::Reserve,
};

/// The outbox of a `tracker` folder.
pub fn outbox_path(tracker_dir: &Path) -> PathBuf {
    tracker_dir.join(OUTBOX)
}

/// Removes what a process that was killed has left behind to keep space for the end of its run. Best effort: what stays
/// costs space and nothing else.
pub fn remove_reserve(tracker_dir: &Path) {
    let _ = tracker_file(tracker_dir, RESERVE).remove();
}

/// The append-only file of a run's events, `outbox.jsonl` in the `tracker` folder of its bundle.
///
/// # Format, version 2
/// JSON lines. Each line is `{"crc32":"89abcdef","record":...}` and a line feed; the checksum (CRC-32 of IEEE 802.3,
/// eight hexadecimal digits) is that of the bytes between `"record":` and the last brace. The first record is the
/// header, `{"format":"daglight_outbox","version":2}`; every other one is an [`Event`], tagged by `"event"`. A line is
/// written in one call before [`Outbox::append`] returns, with the file in append mode.
///
/// A reader takes every line whose checksum is right, counts the others, and goes on after the next line feed. A last
/// line without a line feed is one that is being written, or was when the process ended. A file of a newer version is
/// refused, for reading and for appending.
///
/// # Durability
/// With [`Durability::Process`] an appended event survives the death of the process; with [`Durability::Disk`] it is on
/// the medium, too. Threads that append at the same time share one synchronisation.
///
/// Clones are handles on the same file. While a handle lives, the file carries a shared lock, which shows others that
/// its process is alive.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    path: PathBuf,
    durability: Durability,
    writer: Mutex<Writer>,
    /// Bytes of the file that are synchronised.
    synced: Mutex<u64>,
    produced: AtomicU64,
    warned: Arc<AtomicBool>,
}

/// Why an event is not in its outbox as it should be. The run goes on, and the counts say what is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingProblem {
    /// The event cannot be a line of the outbox, and is dropped.
    #[error("an event of this run cannot be recorded, and counts as dropped")]
    Refused {
        /// The outbox.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written now, mostly because the disk is full.
    #[error(
        "the outbox cannot be written: the run and its delivery to servers go on, and records wait for space; what \
         does not fit into memory is lost to the bundle, which the end of the run says. Make space there, or choose \
         another folder (--output-dir, DAGLIGHT_OUTPUT_DIR)"
    )]
    Unwritten {
        /// The outbox.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The event is in the file, and would not survive a loss of power.
    #[error("the outbox cannot be synchronised with the disk")]
    Unsynced {
        /// The outbox.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl RecordingProblem {
    /// The outbox, and what the system says of it.
    pub fn cause(&self) -> (&Path, &io::Error) {
        match self {
            Self::Refused { path, source }
            | Self::Unwritten { path, source }
            | Self::Unsynced { path, source } => (path, source),
        }
    }
}

impl Outbox {
    /// Opens the outbox of a `tracker` folder, and makes folder and file where they are missing.
    ///
    /// # Errors
    /// When the folder cannot be written, or its outbox is of a newer version.
    pub fn open(tracker_dir: &Path, durability: Durability) -> Result<Self, OutboxError> {
        let path = outbox_path(tracker_dir);
        let unusable = |source| OutboxError::Io { path: path.clone(), source };
        create_folder(tracker_dir).map_err(unusable)?;
        let mut file = tracker_file(tracker_dir, OUTBOX).append().map_err(unusable)?;
        // Best effort: some file systems have no locks, and nothing but the closing of dead runs depends on it.
        let _ = file.lock_shared();
        // Behind the lock, so that nobody takes the run for dead while this one looks.
        let mut length = file.seek(SeekFrom::End(0)).map_err(unusable)?;
        let mut recorded = Recorded::default();
        if length == 0 {
            let mut line = Vec::new();
            encode(&Header::current(), &mut line).map_err(|error| unusable(error.into()))?;
            file.write_all(&line).map_err(unusable)?;
            length = line.len() as u64;
        } else {
            // A process was killed in the middle of a line. Ended, it is one line that cannot be read, and not the
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

    /// An outbox that takes events and keeps none, for a run whose folder cannot be written. All count as dropped, and
    /// whoever makes it has said so.
    pub fn discarding(tracker_dir: &Path) -> Self {
        let writer = Writer::new(None, 0, BTreeMap::new());
        let outbox = Self::new(outbox_path(tracker_dir), Durability::Process, writer, 0);
        outbox.0.warned.store(true, Ordering::Relaxed);
        outbox
    }

    fn new(path: PathBuf, durability: Durability, writer: Writer, produced: u64) -> Self {
        Self(Arc::new(Inner {
            path,
            durability,
            synced: Mutex::new(0),
            writer: Mutex::new(writer),
            produced: AtomicU64::new(produced),
            warned: Arc::default(),
        }))
    }

    /// Takes up space on the disk, so that the end of the run can be recorded when the disk is full. Best effort: on a
    /// disk that is full already there is nothing to take.
    pub fn keep_reserve(&self) {
        let file = tracker_file(&self.tracker_dir(), RESERVE);
        if let Ok(reserve) = Reserve::take(file, RESERVE_BYTES) {
            lock(&self.0.writer).keep(reserve);
        }
    }

    /// Records an event: it is in the file when this returns. It never fails. On a disk that is full events wait in memory,
    /// up to 4 MiB of them, and are written once there is space; the end of the run has space that was kept for it. What
    /// cannot be written at all counts as dropped with the reason. The first event that is not written is one warning.
    ///
    /// # Errors
    /// The first time that an event of this outbox is not written as it should be, so that the user can be warned. Later ones
    /// are counted and not said again.
    pub fn append(&self, event: &Event) -> Result<(), RecordingProblem> {
        let inner = &*self.0;
        let items = event.items();
        // Before anything can fail: whatever becomes of the event, it is counted.
        inner.produced.fetch_add(items, Ordering::Relaxed);
        let bytes = match inner.encode(event) {
            Ok(bytes) => bytes,
            Err(error) => {
                let mut writer = lock(&inner.writer);
                writer.lose(&error, items);
                // Tried again with the next event.
                let _ = writer.record_losses();
                drop(writer);
                return inner.first(RecordingProblem::Refused { path: inner.path.clone(), source: error });
            }
        };
        let is_end = matches!(event, Event::RunFinished { .. });
        // Encoded without the lock, because that is most of the time that an event takes, and many threads append.
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

    /// The counts of a run that is not being delivered: what was recorded waits.
    pub fn ledger(&self) -> DeliveryCounts {
        DeliveryCounts::by_kind(self.produced(), ItemsByKind::default(), self.dropped())
    }

    /// Whether somebody was warned that the run cannot be recorded. Others whose records lie on the same disk share it, so
    /// that one cause is one warning.
    pub fn warned(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.warned)
    }

    /// The folder of the file.
    pub fn tracker_dir(&self) -> PathBuf {
        self.0.path.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Items recorded, those that were dropped among them.
    pub fn produced(&self) -> u64 {
        self.0.produced.load(Ordering::Relaxed) + lock(&self.0.writer).pieces()
    }

    /// Items that could not be recorded, by reason.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        lock(&self.0.writer).lost()
    }

    /// Once the run has ended: what still waits for space is written, or counts as dropped.
    pub fn write_or_drop(&self) {
        let mut writer = lock(&self.0.writer);
        // Before that the file is tried again with every event, and nothing has to be given up.
        if writer.has_ended() {
            writer.write_or_drop();
        }
    }

    /// A handle for the delivery, which does not keep the outbox open.
    pub fn unwritten(&self) -> Unwritten {
        // The lock on the file shows others that the run lives. A delivery thread that held the outbox would keep the
        // lock after the run was dropped, and nobody could close it.
        Unwritten(Arc::downgrade(&self.0))
    }
}

/// The events of an outbox that the disk has no space for.
#[derive(Clone)]
pub struct Unwritten(Weak<Inner>);

impl Unwritten {
    /// Of no outbox.
    pub fn none() -> Self {
        Self(Weak::new())
    }

    /// The events that are not in the file, once the run has ended.
    pub fn hand_out(&self) -> Vec<Event<Value>> {
        let lines = self.0.upgrade().map(|inner| lock(&inner.writer).hand_out()).unwrap_or_default();
        // Read back from the bytes of the line, so that the server gets exactly what the file would have held, and no
        // second form of an event is kept in memory.
        let event = |line: Line| match decode(line.bytes.strip_suffix(b"\n").unwrap_or(&line.bytes)) {
            Some(Record::Event(event)) => Some(*event),
            _ => None,
        };
        lines.into_iter().filter_map(event).collect()
    }

    /// Whether nobody was warned yet that the run cannot be recorded, and the caller is to.
    pub fn may_warn(&self) -> bool {
        self.0.upgrade().is_none_or(|inner| !inner.warned.swap(true, Ordering::Relaxed))
    }

    /// The server has so many of them.
    pub fn taken(&self, events: usize) {
        if let Some(inner) = self.0.upgrade() {
            lock(&inner.writer).taken(events);
        }
    }

    /// Nobody sends them any more.
    pub fn give_back(&self) {
        if let Some(inner) = self.0.upgrade() {
            lock(&inner.writer).give_back();
        }
    }

    /// As [`Outbox::write_or_drop`].
    pub fn write_or_drop(&self) {
        if let Some(inner) = self.0.upgrade() {
            Outbox(inner).write_or_drop();
        }
    }
}

impl fmt::Debug for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unwritten")
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("path", &self.0.path).field("produced", &self.produced()).finish()
    }
}

impl Inner {
    fn encode(&self, event: &Event) -> io::Result<Vec<u8>> {
        let mut line = Vec::with_capacity(512);
        encode(event, &mut line)?;
        if line.len() > MAX_RECORD_BYTES {
            let message = format!("an event of {} MiB is larger than a record may be", line.len() >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(line)
    }

    /// Makes the file durable up to `end`. Whoever comes while another synchronises finds its own line done after.
    fn sync(&self, end: u64) -> io::Result<()> {
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
    fn first(&self, problem: RecordingProblem) -> Result<(), RecordingProblem> {
        if self.warned.swap(true, Ordering::Relaxed) { Ok(()) } else { Err(problem) }
    }
}

/// A file of a `tracker` folder. Neither the file nor the folder may be a link.
pub(super) fn tracker_file(tracker_dir: &Path, name: &str) -> FileBelow {
    FileBelow::deep(&tracker_dir.join(name), 2)
}

fn create_folder(tracker_dir: &Path) -> io::Result<()> {
    let (Some(bundle), Some(name)) = (tracker_dir.parent(), tracker_dir.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if !bundle.as_os_str().is_empty() {
        fs::create_dir_all(bundle)?;
    }
    // The folders above are the user's and have the rights that were chosen for them. From here on they hold values of the data.
    create_private_folder(bundle, name).map(drop)
}

/// The folders of a bundle, from its `tracker` folder up to the one that all bundles are in.
const BUNDLE_FOLDERS: usize = 4;

/// Makes the entries durable that lead to a new file. Best effort: some systems cannot synchronise a folder.
fn sync_folders(tracker_dir: &Path) {
    // A new file is an entry of its folder, and on most file systems it is gone after a loss of power unless the
    // folder was synchronised as well (fsync(2)).
    for folder in tracker_dir.ancestors().take(BUNDLE_FOLDERS) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// The lock, whatever happened to a thread that held it: what these locks guard is right after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

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
        // It is said once.
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
