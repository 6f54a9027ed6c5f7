//! The file of a run that every event is in before anything is sent.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use daglight_capture_policy::Durability;
use daglight_guarded_files::{FileBelow, create_private_folder};

use crate::{
    Counts, Event, Ledger,
    reader::{OutboxError, OutboxReader, Read as ReadRecord},
    record::{Header, MAX_RECORD_BYTES, encode},
};

/// The name of the file in a bundle's `tracker` folder.
pub(crate) const FILE_NAME: &str = "outbox.jsonl";

/// The append-only file of a run's events, `outbox.jsonl` in the `tracker` folder of its bundle.
///
/// # Format, version 1
/// JSON lines. Each line is `{"crc32":"89abcdef","record":...}` and a line feed; the checksum (CRC-32 of IEEE 802.3,
/// eight hexadecimal digits) is that of the bytes between `"record":` and the last brace. The first record is the
/// header, `{"format":"daglight_outbox","version":1}`; every other one is an [`Event`], tagged by `"event"`. A line is
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
/// Clones are handles on the same file. While a handle lives, the file carries a shared lock, which tells others that
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
    dropped: Mutex<BTreeMap<String, u64>>,
    warned: AtomicBool,
}

struct Writer {
    file: Option<File>,
    length: u64,
    /// The file does not end with a line feed: what comes next starts with one.
    torn: bool,
}

impl Outbox {
    /// Opens the outbox of a `tracker` folder, and makes folder and file where there are none.
    ///
    /// # Errors
    /// When the folder cannot be written, or its outbox is of a newer version.
    pub fn open(tracker_dir: &Path, durability: Durability) -> Result<Self, OutboxError> {
        let path = tracker_dir.join(FILE_NAME);
        let unusable = |source| OutboxError::Io { path: path.clone(), source };
        create_folder(tracker_dir).map_err(unusable)?;
        let mut file = tracker_file(tracker_dir, FILE_NAME).append().map_err(unusable)?;
        // Best effort: some file systems have no locks, and nothing but the closing of dead runs depends on it.
        let _ = file.lock_shared();
        let length = file.seek(SeekFrom::End(0)).map_err(unusable)?;
        let mut writer = Writer { file: None, length, torn: false };
        let mut produced = 0;
        if length == 0 {
            let mut line = Vec::new();
            encode(&Header::current(), &mut line).map_err(|error| unusable(error.into()))?;
            file.write_all(&line).map_err(unusable)?;
            writer.length = line.len() as u64;
        } else {
            if !ends_with_line_feed(&mut file).map_err(unusable)? {
                file.write_all(b"\n").map_err(unusable)?;
                writer.length += 1;
            }
            produced = count_items(&path)?;
        }
        if durability == Durability::Disk {
            sync_folders(tracker_dir);
        }
        writer.file = Some(file);
        Ok(Self::new(path, durability, writer, produced))
    }

    /// An outbox that takes events and keeps none, for a run whose folder cannot be written. All count as dropped, and
    /// whoever makes it has said so.
    pub(crate) fn discarding(tracker_dir: &Path) -> Self {
        let writer = Writer { file: None, length: 0, torn: false };
        let outbox = Self::new(tracker_dir.join(FILE_NAME), Durability::Process, writer, 0);
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
            dropped: Mutex::default(),
            warned: AtomicBool::new(false),
        }))
    }

    /// Records an event: it is in the file when this returns. It never fails; an event that cannot be written is
    /// counted as dropped with the reason, and the first one gives a warning.
    pub fn append(&self, event: &Event) {
        let inner = &*self.0;
        let items = event.items();
        inner.produced.fetch_add(items, Ordering::Relaxed);
        let written = inner.encode(event).and_then(|line| inner.write(&line));
        match written {
            Ok(end) => {
                if inner.durability == Durability::Disk
                    && let Err(error) = inner.sync(end)
                {
                    inner.warn("the outbox cannot be synchronised with the disk", &error);
                }
            }
            Err(error) => inner.drop_items(items, &error),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The account of a run that is not being delivered: what was recorded waits.
    pub fn ledger(&self) -> Ledger {
        Ledger::of(self.produced(), Counts::default(), self.dropped())
    }

    pub(crate) fn tracker_dir(&self) -> PathBuf {
        self.0.path.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Items recorded, those that were dropped among them.
    pub(crate) fn produced(&self) -> u64 {
        self.0.produced.load(Ordering::Relaxed)
    }

    /// Items that could not be recorded, by reason.
    pub(crate) fn dropped(&self) -> BTreeMap<String, u64> {
        lock(&self.0.dropped).clone()
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

    /// Appends a line and says where it ends in the file.
    fn write(&self, line: &[u8]) -> io::Result<u64> {
        let mut writer = lock(&self.writer);
        let Writer { file, length, torn } = &mut *writer;
        let file = file.as_mut().ok_or_else(|| io::Error::other("it could not be opened"))?;
        let result = if *torn { file.write_all(&[b"\n", line].concat()) } else { file.write_all(line) };
        match result {
            Ok(()) => {
                *length += line.len() as u64 + u64::from(*torn);
                *torn = false;
                Ok(*length)
            }
            Err(error) => {
                *length = file.metadata().map_or(*length, |metadata| metadata.len());
                *torn = true;
                Err(error)
            }
        }
    }

    /// Makes the file durable up to `end`. Whoever comes while another synchronises finds its own line done after.
    fn sync(&self, end: u64) -> io::Result<()> {
        let mut synced = lock(&self.synced);
        if *synced >= end {
            return Ok(());
        }
        let (file, length) = {
            let writer = lock(&self.writer);
            (writer.file.as_ref().map(File::try_clone).transpose()?, writer.length)
        };
        if let Some(file) = file {
            file.sync_data()?;
        }
        *synced = length;
        Ok(())
    }

    fn drop_items(&self, items: u64, error: &io::Error) {
        *lock(&self.dropped).entry(format!("the outbox could not be written: {error}")).or_default() += items;
        self.warn("the outbox cannot be written: events of this run are lost, and counted as dropped", error);
    }

    fn warn(&self, message: &str, error: &io::Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(path = %self.path.display(), error = error as &dyn std::error::Error, "{message}");
        }
    }
}

/// A file of a `tracker` folder. Neither the file nor the folder may be a link.
pub(crate) fn tracker_file(tracker_dir: &Path, name: &str) -> FileBelow {
    FileBelow::deep(&tracker_dir.join(name), 2)
}

fn create_folder(tracker_dir: &Path) -> io::Result<()> {
    let (Some(bundle), Some(name)) = (tracker_dir.parent(), tracker_dir.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if !bundle.as_os_str().is_empty() {
        fs::create_dir_all(bundle)?;
    }
    create_private_folder(bundle, name).map(drop)
}

/// The folders of a bundle, from its `tracker` folder up to the one that all bundles are in.
const BUNDLE_FOLDERS: usize = 4;

/// Makes the entries durable that lead to a new file. Best effort: some systems cannot synchronise a folder.
fn sync_folders(tracker_dir: &Path) {
    for folder in tracker_dir.ancestors().take(BUNDLE_FOLDERS) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

fn ends_with_line_feed(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn count_items(path: &Path) -> Result<u64, OutboxError> {
    let mut reader = OutboxReader::open(path)?;
    let mut items = 0;
    loop {
        match reader.read()? {
            ReadRecord::Event { event, .. } => items += event.items(),
            ReadRecord::Unreadable { .. } => items += 1,
            ReadRecord::End { .. } => return Ok(items),
        }
    }
}

/// The lock, whatever happened to a thread that held it: what these locks guard is right after each statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use chrono::DateTime;

    use super::*;

    fn event(node: &str) -> Event {
        Event::TaskStarted { node: node.into(), time: DateTime::UNIX_EPOCH }
    }

    #[track_caller]
    fn check_nodes(dir: &Path, expected: &[&str]) {
        let mut reader = OutboxReader::open(&dir.join(FILE_NAME)).unwrap();
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
            outbox.append(&event("a"));
            check_nodes(dir.path(), &["a"]);
            drop(outbox);
            let outbox = Outbox::open(dir.path(), durability).unwrap();
            outbox.append(&event("b"));
            check_nodes(dir.path(), &["a", "b"]);
            assert_eq!(outbox.produced(), 2);
        }
    }

    #[test]
    fn a_torn_line_is_closed_before_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        Outbox::open(dir.path(), Durability::Process).unwrap().append(&event("a"));
        let path = dir.path().join(FILE_NAME);
        let length = fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
        let outbox = Outbox::open(dir.path(), Durability::Process).unwrap();
        outbox.append(&event("b"));
        check_nodes(dir.path(), &["?", "b"]);
        assert_eq!(outbox.produced(), 2);
    }

    #[test]
    fn a_newer_outbox_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut line = Vec::new();
        encode(&Header { version: 2, ..Header::current() }, &mut line).unwrap();
        fs::write(dir.path().join(FILE_NAME), &line).unwrap();
        let error = Outbox::open(dir.path(), Durability::Process).unwrap_err();
        assert!(matches!(error, OutboxError::Newer { found: 2, .. }), "{error}");
        assert_eq!(fs::read(dir.path().join(FILE_NAME)).unwrap(), line);
    }

    #[test]
    fn threads_append_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path(), Durability::Process).unwrap();
        thread::scope(|scope| {
            for thread in 0..4 {
                let outbox = outbox.clone();
                scope.spawn(move || (0..250).for_each(|n| outbox.append(&event(&format!("{thread}-{n}")))));
            }
        });
        let length = fs::metadata(outbox.path()).unwrap().len();
        assert_eq!(lock(&outbox.0.writer).length, length);
        drop(outbox);
        assert_eq!(Outbox::open(dir.path(), Durability::Process).unwrap().produced(), 1_000);
    }

    #[test]
    fn processes_append_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        thread::scope(|scope| {
            for process in 0..4 {
                let outbox = Outbox::open(dir.path(), Durability::Process).unwrap();
                scope.spawn(move || (0..250).for_each(|n| outbox.append(&event(&format!("{process}-{n}")))));
            }
        });
        let mut reader = OutboxReader::open(&dir.path().join(FILE_NAME)).unwrap();
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
        let writer = Writer { file, length: 0, torn: false };
        let outbox = Outbox::new("/dev/full".into(), Durability::Process, writer, 0);
        outbox.append(&event("a"));
        outbox.append(&event("b"));
        let ledger = outbox.ledger();
        assert_eq!((ledger.produced, ledger.waiting, ledger.dropped_total()), (2, 0, 2));
        let reason = ledger.dropped.keys().next().unwrap();
        assert!(reason.contains("No space left"), "{reason}");
    }

    #[test]
    fn without_a_file_everything_counts_as_dropped() {
        let outbox = Outbox::discarding(Path::new("nowhere"));
        outbox.append(&event("a"));
        assert_eq!((outbox.ledger().waiting, outbox.ledger().dropped_total()), (0, 1));
    }
}
