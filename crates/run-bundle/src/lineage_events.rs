//! `openlineage.jsonl`: the lineage events of a run, one line each, written before any of them is sent.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use daglight_guarded_files::{Durability, FileBelow, Line, Lines};
use serde::Serialize;

use crate::{
    bundle::Bundle,
    json_lines::{MAX_LINE_BYTES, ends_with_line_feed},
    layout::LINEAGE_EVENTS,
    versioned::WriteError,
};

/// The events of a run that is still going.
///
/// # Format
/// Each line is an [OpenLineage][spec] event exactly as it is sent, so that every tool for such events can read the file. The
/// version is that of the specification, which each event names in `schemaURL`. A line is written in one call, in append mode.
///
/// [spec]: https://openlineage.io/docs/spec/object-model
#[derive(Debug)]
pub struct LineageEvents {
    path: PathBuf,
    durability: Durability,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    produced: u64,
    /// Events that are missing in the file, by reason.
    lost: BTreeMap<String, u64>,
}

impl LineageEvents {
    /// Opens the file of a bundle, and creates it if it is missing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(bundle: &Bundle) -> Result<Self, WriteError> {
        let path = bundle.lineage_events();
        let file = FileBelow::new(bundle.dir(), LINEAGE_EVENTS)
            .append()
            .map_err(|source| WriteError::Io { path: path.clone(), source })?;
        let writer = Mutex::new(Writer { file, produced: 0, lost: BTreeMap::new() });
        Ok(Self { path, durability: bundle.durability(), writer })
    }

    /// Appends an event. An event that cannot be written is counted.
    ///
    /// # Errors
    /// When it could not be written to the file.
    pub fn append(&self, event: &impl Serialize) -> Result<(), WriteError> {
        let mut writer = self.writer();
        writer.produced += 1;
        let written = serde_json::to_vec(event)
            .map_err(io::Error::from)
            .and_then(|line| writer.write(line))
            .and_then(|()| self.durability.make_durable(&writer.file));
        written.map_err(|source| {
            let reason = format!("{LINEAGE_EVENTS} could not be written: {source}");
            *writer.lost.entry(reason).or_default() += 1;
            WriteError::Io { path: self.path.clone(), source }
        })
    }

    /// Events that were created, including those that could not be written.
    pub fn produced(&self) -> u64 {
        self.writer().produced
    }

    /// Events that could not be written, by reason.
    pub fn lost(&self) -> BTreeMap<String, u64> {
        self.writer().lost.clone()
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn write(&mut self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        let length = self.file.metadata()?.len();
        if !ends_with_line_feed(&mut self.file)? {
            // A process that was killed, or a full disk, left part of a line.
            line.insert(0, b'\n');
        }
        let written = self.file.write_all(&line);
        if written.is_err() {
            // Best effort: a partial line would count as damaged.
            let _ = self.file.set_len(length);
        }
        written
    }
}

/// The next item of the file.
#[derive(Debug, PartialEq, Eq)]
pub enum LineageLine<'a> {
    /// A line.
    Event {
        /// The text of the event, without its line feed.
        text: &'a [u8],
        /// The offset after its line feed.
        end: u64,
    },
    /// A line that is too long to be one of ours.
    TooLong {
        /// The offset after it.
        end: u64,
    },
    /// Nothing for now: the rest of the file is not a complete line.
    End,
}

/// Reads the events from an offset on, one at a time.
// Not `JsonLines`: an event is sent byte by byte as it is in the file, and in a growing file a partial line is not torn but
// unfinished.
#[derive(Debug)]
pub struct LineageReader {
    lines: Lines<File>,
    offset: u64,
}

impl LineageReader {
    /// Opens the events in the folder of a bundle at the line that starts at `offset`. `None` if there is no such file: the run
    /// recorded no events.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(bundle_dir: &Path, offset: u64) -> io::Result<Option<Self>> {
        let mut file = match FileBelow::new(bundle_dir, LINEAGE_EVENTS).open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(Some(Self { lines: Lines::new(file, MAX_LINE_BYTES), offset }))
    }

    /// The next line.
    ///
    /// # Errors
    /// When the file cannot be read.
    #[expect(clippy::should_implement_trait, reason = "a line borrows from what reads it")]
    pub fn next(&mut self) -> io::Result<LineageLine<'_>> {
        Ok(match self.lines.next()? {
            None | Some(Line::Torn(_)) => LineageLine::End,
            Some(Line::TooLong { ended: false, .. }) => LineageLine::End,
            Some(Line::TooLong { bytes, .. }) => {
                self.offset += bytes;
                LineageLine::TooLong { end: self.offset }
            }
            Some(Line::Whole(text)) => {
                self.offset += text.len() as u64 + 1;
                LineageLine::Event { text, end: self.offset }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use daglight_run_identity::RunId;
    use serde_json::json;

    use super::*;

    fn bundle() -> (tempfile::TempDir, Bundle) {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        (out, bundle)
    }

    #[test]
    fn what_is_appended_is_read_from_any_offset() {
        let (_out, bundle) = bundle();
        assert!(LineageReader::open(bundle.dir(), 0).unwrap().is_none());
        let events = LineageEvents::open(&bundle).unwrap();
        events.append(&json!({ "a": 1 })).unwrap();
        events.append(&json!({ "b": 2 })).unwrap();
        let mut reader = LineageReader::open(bundle.dir(), 0).unwrap().unwrap();
        assert_eq!(reader.next().unwrap(), LineageLine::Event { text: br#"{"a":1}"#, end: 8 });
        let mut reader = LineageReader::open(bundle.dir(), 8).unwrap().unwrap();
        assert_eq!(reader.next().unwrap(), LineageLine::Event { text: br#"{"b":2}"#, end: 16 });
        assert_eq!(reader.next().unwrap(), LineageLine::End);
        assert_eq!((events.produced(), events.lost().len()), (2, 0));
    }

    #[test]
    fn a_part_of_a_line_is_not_the_beginning_of_the_next() {
        let (_out, bundle) = bundle();
        fs::write(bundle.lineage_events(), b"{\"torn").unwrap();
        LineageEvents::open(&bundle).unwrap().append(&json!(1)).unwrap();
        assert_eq!(fs::read(bundle.lineage_events()).unwrap(), b"{\"torn\n1\n");
    }
}
