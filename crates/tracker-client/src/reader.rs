//! Reading an outbox, whatever has happened to it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    Event,
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
    /// The file was written by a newer Daglight.
    #[error("the outbox {} has version {found}; this Daglight knows up to {OUTBOX_VERSION}: use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// What comes next in an outbox.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    /// An event, and where its line ends.
    Event { event: Box<Event<Value>>, end: u64 },
    /// A line that is torn, was changed, or holds nothing that this version knows; and where it ends.
    Unreadable { end: u64 },
    /// Nothing for now. `unfinished`: there is a piece of a line, which may become one.
    End { unfinished: bool },
}

/// Reads an outbox line by line, also while it grows. Holds one line at a time.
#[derive(Debug)]
pub(crate) struct OutboxReader {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    /// Where the line in `line` starts.
    start: u64,
    /// Bytes of a line that is too long to be kept.
    skipped: u64,
}

impl OutboxReader {
    /// Opens an outbox at its first event.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer version.
    pub(crate) fn open(path: &Path) -> Result<Self, OutboxError> {
        let file = File::open(path).map_err(|source| OutboxError::Io { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(64 << 10, file),
            line: Vec::new(),
            start: 0,
            skipped: 0,
        })
    }

    /// Goes to the line that starts at `offset`.
    pub(crate) fn seek(&mut self, offset: u64) -> Result<(), OutboxError> {
        self.line.clear();
        self.skipped = 0;
        self.start = offset;
        self.file.seek(SeekFrom::Start(offset)).map(drop).map_err(|source| self.failed(source))
    }

    /// The next event.
    ///
    /// # Errors
    /// When the file cannot be read, or a header of a newer version comes.
    pub(crate) fn read(&mut self) -> Result<Read, OutboxError> {
        loop {
            if !self.fill_line()? {
                return Ok(Read::End { unfinished: self.skipped > 0 || !self.line.is_empty() });
            }
            let end = self.start + self.skipped + self.line.len() as u64;
            let whole = std::mem::take(&mut self.skipped) == 0;
            self.start = end;
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let record = if whole { decode(line) } else { None };
            let blank = whole && line.is_empty();
            self.line.clear();
            match record {
                Some(Record::Event(event)) => return Ok(Read::Event { event, end }),
                Some(Record::Header(header)) if header.version > OUTBOX_VERSION => {
                    return Err(OutboxError::Newer { path: self.path.clone(), found: header.version });
                }
                Some(Record::Header(_)) => {}
                None if blank => {}
                None => return Ok(Read::Unreadable { end }),
            }
        }
    }

    /// Reads on until the line feed, which it keeps; false when the file ends before.
    fn fill_line(&mut self) -> Result<bool, OutboxError> {
        loop {
            let room = (MAX_RECORD_BYTES + 1 - self.line.len()) as u64;
            let read = (&mut self.file).take(room).read_until(b'\n', &mut self.line);
            let read = read.map_err(|source| self.failed(source))?;
            if self.line.ends_with(b"\n") {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            if self.line.len() > MAX_RECORD_BYTES {
                self.skipped += self.line.len() as u64;
                self.line.clear();
            }
        }
    }

    fn failed(&self, source: io::Error) -> OutboxError {
        OutboxError::Io { path: self.path.clone(), source }
    }
}
