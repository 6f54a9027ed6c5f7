//! Writing the lines of an outbox, also on a disk that becomes full and has space again.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use super::{event::Event, record::encode, recorded::UNREADABLE};
use crate::{reserve::Reserve, sums::count_items};

/// Disk space that is kept for the end of a run.
pub(crate) const RESERVE_BYTES: usize = 64 << 10;

/// How much of it may be used by what comes before the end; the rest is for the end, and for the delivery's progress.
const RESERVE_BEFORE_END: usize = RESERVE_BYTES / 2;

/// Lines that wait in memory for space on the disk.
const MAX_UNWRITTEN_BYTES: usize = 4 << 20;

/// A line, and the items in it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    pub(crate) items: u64,
    /// Whether it ends the run.
    pub(crate) is_end: bool,
}

/// What became of a line.
#[derive(Debug)]
pub(crate) enum Written {
    /// It is in the file, which ends there.
    To(u64),
    /// It waits in memory until there is space.
    Waits(io::Error),
    /// It is lost.
    Lost(io::Error),
}

/// Appends lines to the file of an outbox.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Option<File>,
    length: u64,
    /// The file ends with a piece of a line that could not be cut off: what comes next starts with a line feed.
    torn: bool,
    /// Such pieces, each of which a reader counts as a line that it cannot read.
    pieces: u64,
    /// Lines that could not be written yet, in their order.
    unwritten: VecDeque<Line>,
    unwritten_bytes: usize,
    /// How many of them are on their way to the server, the first ones.
    handed_out: usize,
    /// What is lost and was not written down yet, by reason.
    unrecorded: BTreeMap<String, u64>,
    /// Everything that is lost, by reason.
    lost: BTreeMap<String, u64>,
    reserve: Option<Reserve>,
    has_ended: bool,
}

impl Writer {
    /// A writer at the end of a file that is `length` bytes long, and lacks what is `lost`.
    pub(crate) fn new(file: Option<File>, length: u64, lost: BTreeMap<String, u64>) -> Self {
        Self {
            file,
            length,
            torn: false,
            pieces: 0,
            unwritten: VecDeque::new(),
            unwritten_bytes: 0,
            handed_out: 0,
            unrecorded: BTreeMap::new(),
            lost,
            reserve: None,
            has_ended: false,
        }
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Everything that is lost, by reason.
    pub(crate) fn lost(&self) -> BTreeMap<String, u64> {
        let mut lost = self.lost.clone();
        if self.pieces > 0 {
            count_items(&mut lost, UNREADABLE, self.pieces);
        }
        lost
    }

    /// Lines in the file that are not records.
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Space for the end of the run.
    pub(crate) fn keep(&mut self, reserve: Reserve) {
        self.reserve = Some(reserve);
    }

    /// Appends a line, after those that wait.
    pub(crate) fn write(&mut self, line: Line) -> Written {
        if self.file.is_none() {
            let error = io::Error::other("it could not be opened");
            self.lose(&error, line.items);
            return Written::Lost(error);
        }
        let is_end = line.is_end;
        // What waits goes first, also for the price of this line's failing: the file keeps the order of events.
        let result = self.catch_up(usize::MAX).and_then(|()| self.append(&line.bytes));
        let written = match result {
            Ok(()) => Written::To(self.length),
            Err(error) if is_end => self.write_end(line, error),
            Err(error) => self.wait(line, error),
        };
        if is_end {
            self.has_ended = true;
            // What is left of it is of no more use than the space.
            self.reserve = None;
        }
        written
    }

    /// The run ends on a full disk: the reserve is for that. What waits goes in front of the end as far as there is space.
    fn write_end(&mut self, line: Line, error: io::Error) -> Written {
        // Taken once: after this its space is the disk's again, and a second end, as of a run that is closed by
        // someone else, has only what the disk has.
        if self.reserve.take().is_none() {
            return self.wait(line, error);
        }
        // Others who wait for space may have taken what was given free, and what they cannot use they give back.
        let _ = self.catch_up(RESERVE_BEFORE_END);
        let written = match self.append(&line.bytes) {
            Ok(()) => Written::To(self.length),
            // In memory it is still worth something: the delivery hands it to the server without the disk.
            Err(error) => return self.wait(line, error),
        };
        let _ = self.record_losses();
        written
    }

    fn wait(&mut self, line: Line, error: io::Error) -> Written {
        // The end always has room: without it the run would be closed as one whose process died.
        if self.unwritten_bytes + line.bytes.len() > MAX_UNWRITTEN_BYTES && !line.is_end {
            self.lose(&error, line.items);
            return Written::Lost(error);
        }
        self.unwritten_bytes += line.bytes.len();
        self.unwritten.push_back(line);
        Written::Waits(error)
    }

    /// Writes up to so many bytes of what waits, and what was lost.
    fn catch_up(&mut self, mut bytes: usize) -> io::Result<()> {
        if self.handed_out > 0 {
            return Ok(());
        }
        while let Some(line) = self.unwritten.pop_front() {
            // The budget is for the end that follows: what waits may be far more than the reserve was, and would take
            // the end's place.
            if line.bytes.len() > bytes {
                self.unwritten.push_front(line);
                return Ok(());
            }
            if let Err(error) = self.append(&line.bytes) {
                self.unwritten.push_front(line);
                return Err(error);
            }
            bytes -= line.bytes.len();
            self.unwritten_bytes -= line.bytes.len();
        }
        self.record_losses()
    }

    /// Counts what cannot be recorded.
    pub(crate) fn lose(&mut self, error: &io::Error, items: u64) {
        self.lose_for(&format!("the outbox could not be written: {error}"), items);
    }

    fn lose_for(&mut self, reason: &str, items: u64) {
        // Twice: what the counts say in the end, and what the file does not say yet.
        for lost in [&mut self.lost, &mut self.unrecorded] {
            count_items(lost, reason, items);
        }
    }

    /// Writes down what is lost, so that every reader of the file counts it.
    pub(crate) fn record_losses(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        // One line for each reason and not for each event: on a full disk thousands are lost for the same one, and
        // their lines would not fit either.
        while let Some((reason, items)) = self.unrecorded.pop_first() {
            let event: Event = Event::Lost { reason: reason.clone(), items };
            let mut line = Vec::new();
            let written =
                encode(&event, &mut line).map_err(io::Error::from).and_then(|()| self.append(&line));
            if let Err(error) = written {
                // Kept for the next attempt. A count that was taken out and not written would be a loss that no reader
                // of the file sees.
                self.unrecorded.insert(reason, items);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The lines that the disk has no space for, once the run has ended: the server can have them all the same. They stay
    /// here until [`Writer::taken`].
    pub(crate) fn hand_out(&mut self) -> Vec<Line> {
        // While the run goes on, lines that wait are written as soon as there is space. Sent past the file, they would
        // overtake lines that are still in it.
        if !self.has_ended || self.handed_out > 0 || self.catch_up(usize::MAX).is_ok() {
            return Vec::new();
        }
        self.handed_out = self.unwritten.len();
        self.unwritten.iter().cloned().collect()
    }

    /// The server has so many of the lines that were handed out.
    pub(crate) fn taken(&mut self, lines: usize) {
        // The counts are the server's answer to lines that were handed out earlier, and another thread may have given
        // them back meanwhile.
        let lines = lines.min(self.handed_out).min(self.unwritten.len());
        self.handed_out -= lines;
        for line in self.unwritten.drain(..lines) {
            self.unwritten_bytes -= line.bytes.len();
        }
    }

    /// Nobody sends the lines that were handed out any more.
    pub(crate) fn give_back(&mut self) {
        self.handed_out = 0;
    }

    /// What still waits when nothing more will be done is written, or counts as lost. Lines that are on their way to the
    /// server are neither, until they are taken or given back.
    pub(crate) fn write_or_drop(&mut self) {
        if self.handed_out > 0 {
            return;
        }
        if let Err(error) = self.catch_up(usize::MAX) {
            // All of them, and not the last: a file with a gap in the middle would show a node that ended without
            // having begun.
            let items = self.unwritten.drain(..).map(|line| line.items).sum();
            self.unwritten_bytes = 0;
            self.lose(&error, items);
            let _ = self.record_losses();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Appends bytes, all or none of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { file: Some(file), length, torn, pieces, .. } = self else {
            return Err(io::Error::other("it could not be opened"));
        };
        // The line feed ends the torn piece, and comes in one `write` with the line: alone it could itself be what
        // has no space left.
        let whole = if *torn { Cow::Owned([b"\n", bytes].concat()) } else { Cow::Borrowed(bytes) };
        match file.write_all(&whole) {
            Ok(()) => {
                *length += whole.len() as u64;
                *torn = false;
                Ok(())
            }
            Err(error) => {
                // Where the file cannot be read, its length shows whether a piece of the line is in it.
                // A disk that becomes full in the middle of a write keeps the beginning of it.
                let is_whole = cut_off(file, *length, &whole)
                    .unwrap_or_else(|_| file.metadata().is_ok_and(|metadata| metadata.len() == *length));
                if !is_whole {
                    *torn = true;
                    *pieces += 1;
                    *length = file.metadata().map_or(*length, |metadata| metadata.len());
                }
                Err(error)
            }
        }
    }
}

/// Takes back the piece of a line that was written last. False where something else stands there.
fn cut_off(file: &mut File, length: u64, line: &[u8]) -> io::Result<bool> {
    let mut piece = Vec::new();
    file.seek(SeekFrom::Start(length))?;
    file.take(line.len() as u64 + 1).read_to_end(&mut piece)?;
    // Another process may have appended meanwhile, as `sync` does, and its line must not be cut off.
    let is_ours = line.starts_with(&piece);
    if is_ours && !piece.is_empty() {
        file.set_len(length)?;
    }
    Ok(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_not_lost() {
        // A file that cannot be written.
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = Writer::new(Some(File::open(file.path()).unwrap()), 0, BTreeMap::new());
        writer.write(Line { bytes: b"end\n".to_vec(), items: 1, is_end: true });
        assert_eq!(writer.hand_out().len(), 1);
        writer.write_or_drop();
        assert_eq!(writer.lost(), BTreeMap::new());
        writer.give_back();
        writer.write_or_drop();
        assert_eq!(writer.lost().values().sum::<u64>(), 1);
    }
}
