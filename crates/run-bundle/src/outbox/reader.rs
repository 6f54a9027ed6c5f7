//! Reading an outbox, regardless of what happened to it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use daglight_guarded_files::{FileBelow, MAX_SKIPPED_BYTES};
use serde_json::Value;

use super::{
    event::Event,
    record::{MAX_RECORD_BYTES, OUTBOX_VERSION, Record, decode},
};

/// Why an outbox cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The file cannot be opened, read or written.
    #[error("cannot use the outbox {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not empty, but holds nothing that belongs in an outbox: zeros, for example, after a power failure.
    #[error("the outbox {} is damaged: none of it can be read, so that what waits in it is unknown", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer Daglight.
    #[error("the outbox {} has version {found}; this Daglight knows up to {OUTBOX_VERSION}: use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// Memory that is kept for the next line after a long one.
const KEPT_LINE_BYTES: usize = 1 << 20;

/// The next item of an outbox.
#[derive(Debug, PartialEq)]
pub enum Read {
    /// An event, and where its line ends.
    Event {
        /// The event.
        event: Box<Event<Value>>,
        /// The offset after its line feed.
        end: u64,
    },
    /// A line that is torn, was changed, or is unknown to this version.
    Unreadable {
        /// The offset after its line feed.
        end: u64,
    },
    /// Nothing for now.
    End {
        /// Whether the file ends with part of a line, which may still be completed.
        unfinished: bool,
    },
}

/// Reads an outbox line by line, even while it grows. Holds one line at a time.
#[derive(Debug)]
pub struct OutboxReader {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    /// Where the line in `line` starts.
    start: u64,
    /// Bytes already skipped of a line that is too long to be kept.
    skipped: u64,
}

impl OutboxReader {
    /// Opens an outbox at its first event.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer version.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        let file = FileBelow::deep(path, 2)
            .open()
            .map_err(|source| OutboxError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(64 << 10, file),
            line: Vec::new(),
            start: 0,
            skipped: 0,
        })
    }

    /// Goes to the line that starts at `offset`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn seek(&mut self, offset: u64) -> Result<(), OutboxError> {
        self.line.clear();
        self.skipped = 0;
        self.start = offset;
        self.file.seek(SeekFrom::Start(offset)).map(drop).map_err(|source| self.failed(source))
    }

    /// The next event.
    ///
    /// # Errors
    /// When the file cannot be read, or contains a header of a newer version.
    pub fn read(&mut self) -> Result<Read, OutboxError> {
        loop {
            if !self.fill_line()? {
                return Ok(Read::End { unfinished: self.skipped > 0 || !self.line.is_empty() });
            }
            let end = self.start + self.skipped + self.line.len() as u64;
            // A line that is too long is skipped to its end and counts as unreadable.
            let whole = std::mem::take(&mut self.skipped) == 0;
            self.start = end;
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let record = if whole { decode(line) } else { None };
            let blank = whole && line.is_empty();
            self.line.clear();
            // One large attribute must not take up memory for the rest of a long run.
            self.line.shrink_to(KEPT_LINE_BYTES);
            match record {
                Some(Record::Event(event)) => return Ok(Read::Event { event, end }),
                Some(Record::Header(header)) if header.version > OUTBOX_VERSION => {
                    return Err(OutboxError::Newer { path: self.path.clone(), found: header.version });
                }
                // Each process that appends writes a header, so a header can also occur in the middle.
                Some(Record::Header(_)) => {}
                // A line feed that ended a torn line.
                None if blank => {}
                None => return Ok(Read::Unreadable { end }),
            }
        }
    }

    /// The record in the last line of the file, if that has no line feed yet.
    pub(crate) fn piece(&self) -> Option<Record> {
        // If the line is too long, only its end is in memory, which could look like a record by chance.
        if self.skipped == 0 { decode(&self.line) } else { None }
    }

    /// Reads up to and including the line feed; returns false if the file ends before.
    // Not with `Lines`, which reads complete files. Here the end of the file is the position of the writer, and an incomplete line
    // is continued with the next call.
    fn fill_line(&mut self) -> Result<bool, OutboxError> {
        loop {
            // One byte more than the limit, so that a line of exactly the maximum length is not mistaken for one that is too long.
            let room = (MAX_RECORD_BYTES + 1 - self.line.len()) as u64;
            // Appends to an incomplete line from before: the writer may be in the middle of it.
            let read = (&mut self.file).take(room).read_until(b'\n', &mut self.line);
            let read = read.map_err(|source| self.failed(source))?;
            if self.line.ends_with(b"\n") {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            if self.line.len() > MAX_RECORD_BYTES {
                // Dropped as it is read, so that memory holds at most one record.
                self.skipped += self.line.len() as u64;
                self.line.clear();
            }
            // Not an outbox but a file of zeros, perhaps a sparse one: it is not worth searching for its end.
            if self.skipped > MAX_SKIPPED_BYTES {
                return Ok(false);
            }
        }
    }

    fn failed(&self, source: io::Error) -> OutboxError {
        OutboxError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use chrono::DateTime;

    use super::*;
    use crate::outbox::record::{Header, encode};

    /// An outbox of nodes `0`, `1`, `2`, ...
    fn outbox(nodes: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&Header::current(), &mut bytes).unwrap();
        for node in 0..nodes {
            let event: Event = Event::TaskStarted { node: node.to_string(), time: DateTime::UNIX_EPOCH };
            encode(&event, &mut bytes).unwrap();
        }
        bytes
    }

    fn node(event: Event<Value>) -> String {
        match event {
            Event::TaskStarted { node, .. } => node,
            other => panic!("{other:?}"),
        }
    }

    /// The nodes that can be read, the number of unreadable lines, and whether the last line is incomplete.
    fn read(bytes: &[u8]) -> (Vec<String>, usize, bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut reader = OutboxReader::open(file.path()).unwrap();
        let (mut nodes, mut unreadable, mut last_end) = (Vec::new(), 0, 0);
        loop {
            let end = match reader.read().unwrap() {
                Read::Event { event, end } => {
                    nodes.push(node(*event));
                    end
                }
                Read::Unreadable { end } => {
                    unreadable += 1;
                    end
                }
                Read::End { unfinished } => return (nodes, unreadable, unfinished),
            };
            assert!(end > last_end && end <= bytes.len() as u64);
            last_end = end;
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], nodes: &[&str], unreadable: usize, unfinished: bool) {
        assert_eq!(read(bytes), (nodes.iter().map(|&node| node.into()).collect(), unreadable, unfinished));
    }

    #[test]
    fn whole_torn_and_foreign_files() {
        let whole = outbox(3);
        check(&whole, &["0", "1", "2"], 0, false);
        check(&whole[..whole.len() - 1], &["0", "1"], 0, true);
        check(b"", &[], 0, false);
        check(b"\n\n\n", &[], 0, false);
        check(&[0; 100], &[], 0, true);
        check(b"{}\n[]\nnull\n\xff\xfe\n", &[], 4, false);
        check(&[&whole[..], b"\n", &outbox(1)[..]].concat(), &["0", "1", "2", "0"], 0, false);
        check(&[b"{\"crc32\":\"\n", &whole[..]].concat(), &["0", "1", "2"], 1, false);
    }

    #[test]
    fn reading_goes_on_where_a_line_grows() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes = outbox(1);
        let mut reader = OutboxReader::open(file.path()).unwrap();
        for piece in bytes.chunks(7) {
            assert!(matches!(reader.read().unwrap(), Read::End { .. }));
            file.write_all(piece).unwrap();
        }
        let Read::Event { event, end } = reader.read().unwrap() else { panic!("no event") };
        assert_eq!((node(*event), end), ("0".to_owned(), bytes.len() as u64));
        assert_eq!(reader.read().unwrap(), Read::End { unfinished: false });
        reader.seek(0).unwrap();
        assert!(matches!(reader.read().unwrap(), Read::Event { .. }));
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let length = MAX_RECORD_BYTES as u64 + 12_345;
        file.as_file().set_len(length).unwrap();
        let mut reader = OutboxReader::open(file.path()).unwrap();
        assert_eq!(reader.read().unwrap(), Read::End { unfinished: true });
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(&[b"\n", &outbox(1)[..]].concat()).unwrap();
        assert_eq!(reader.read().unwrap(), Read::Unreadable { end: length + 1 });
        assert!(matches!(reader.read().unwrap(), Read::Event { .. }));
        assert!(reader.line.capacity() <= 2 * MAX_RECORD_BYTES + 2);
    }

    #[test]
    fn damage_costs_only_the_lines_that_it_hits() {
        let whole = outbox(20);
        let lines = whole.iter().filter(|byte| **byte == b'\n').count();
        for seed in 0..500 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut bytes = whole.clone();
            let wounds = 1 + random.usize(..4);
            for _ in 0..wounds {
                let at = random.usize(..bytes.len());
                match random.usize(..5) {
                    0 => bytes[at] ^= 1 << random.usize(..8),
                    1 => bytes.truncate(at + 1),
                    2 => bytes.insert(at, b'\n'),
                    3 => drop(bytes.remove(at)),
                    _ => bytes[at] = random.u8(..),
                }
            }
            let cut = lines - bytes.iter().filter(|byte| **byte == b'\n').count().min(lines);
            let (nodes, unreadable, _) = read(&bytes);
            let numbers: Vec<usize> = nodes.iter().map(|node| node.parse().unwrap()).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b), "seed {seed}: {numbers:?}");
            assert!(unreadable <= 2 * wounds, "seed {seed}");
            assert!(nodes.len() + 2 * wounds + cut >= 20, "seed {seed}: {} nodes", nodes.len());
        }
    }
}
