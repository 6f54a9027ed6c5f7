//! Writing the lines of an outbox, even if the disk becomes full and has space again later.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
};

use super::{event::Event, record::encode, recorded::UNREADABLE};
use crate::{reserve::Reserve, sums::count_items};

/// Disk space that is reserved for the end of a run.
pub(crate) const RESERVE_BYTES: usize = 64 << 10;

/// How much of it may be used by lines before the end; the rest is for the end itself, and for the delivery progress.
const RESERVE_BEFORE_END: usize = RESERVE_BYTES / 2;

/// The maximum size of the lines that wait in memory for disk space.
const MAX_UNWRITTEN_BYTES: usize = 4 << 20;

/// A line, and the number of its items.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    pub(crate) items: u64,
    /// Whether it ends the run.
    pub(crate) is_end: bool,
}

/// The result of writing a line.
#[derive(Debug)]
pub(crate) enum Written {
    /// It is in the file, which now ends at this offset.
    To(u64),
    /// It waits in memory until there is disk space.
    Waits(io::Error),
    /// It is lost.
    Lost(io::Error),
}

/// Appends lines to the file of an outbox.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Option<File>,
    length: u64,
    /// The file ends with an incomplete line that could not be removed: the next line must start with a line feed.
    torn: bool,
    /// The number of such incomplete lines, each of which a reader counts as unreadable.
    pieces: u64,
    /// Lines that could not be written yet, in order.
    unwritten: VecDeque<Line>,
    unwritten_bytes: usize,
    /// How many of them, counted from the front, are on their way to the server.
    handed_out: usize,
    /// Losses that are not recorded in the file yet, by reason.
    unrecorded: BTreeMap<String, u64>,
    /// All losses, by reason.
    lost: BTreeMap<String, u64>,
    reserve: Option<Reserve>,
    has_ended: bool,
}

impl Writer {
    /// A writer at the end of a file with `length` bytes, which lacks the items in `lost`.
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

    /// All losses, by reason.
    pub(crate) fn lost(&self) -> BTreeMap<String, u64> {
        let mut lost = self.lost.clone();
        if self.pieces > 0 {
            count_items(&mut lost, UNREADABLE, self.pieces);
        }
        lost
    }

    /// The number of lines in the file that are not records.
    pub(crate) fn pieces(&self) -> u64 {
        self.pieces
    }

    /// Keeps the reserved space for the end of the run.
    pub(crate) fn keep(&mut self, reserve: Reserve) {
        self.reserve = Some(reserve);
    }

    /// Appends a line, after the waiting ones.
    pub(crate) fn write(&mut self, line: Line) -> Written {
        if self.file.is_none() {
            let error = io::Error::other("it could not be opened");
            self.lose(&error, line.items);
            return Written::Lost(error);
        }
        let is_end = line.is_end;
        // Waiting lines go first, even if this line then fails: the file keeps the order of events.
        let result = self.catch_up(usize::MAX).and_then(|()| self.append(&line.bytes));
        let written = match result {
            Ok(()) => Written::To(self.length),
            Err(error) if is_end => self.write_end(line, error),
            Err(error) => self.wait(line, error),
        };
        if is_end {
            self.has_ended = true;
            // The rest of it only wastes space now.
            self.reserve = None;
        }
        written
    }

    /// Writes the end of the run to a full disk, using the reserve. Waiting lines are written before it as far as there is space.
    fn write_end(&mut self, line: Line, error: io::Error) -> Written {
        // Used only once: after that its space is free for all, and a second end, such as for a run that someone else closes, has
        // only what the disk has.
        if self.reserve.take().is_none() {
            return self.wait(line, error);
        }
        // Other programs that wait for space may have taken what was freed, and may release what they cannot use.
        let _ = self.catch_up(RESERVE_BEFORE_END);
        let written = match self.append(&line.bytes) {
            Ok(()) => Written::To(self.length),
            // It is still useful in memory: the delivery can hand it to the server without the disk.
            Err(error) => return self.wait(line, error),
        };
        let _ = self.record_losses();
        written
    }

    fn wait(&mut self, line: Line, error: io::Error) -> Written {
        // There is always room for the end: without it, the run would be closed as one whose process died.
        if self.unwritten_bytes + line.bytes.len() > MAX_UNWRITTEN_BYTES && !line.is_end {
            self.lose(&error, line.items);
            return Written::Lost(error);
        }
        self.unwritten_bytes += line.bytes.len();
        self.unwritten.push_back(line);
        Written::Waits(error)
    }

    /// Writes up to `bytes` bytes of the waiting lines, and the recorded losses.
    fn catch_up(&mut self, mut bytes: usize) -> io::Result<()> {
        if self.handed_out > 0 {
            return Ok(());
        }
        while let Some(line) = self.unwritten.pop_front() {
            // The limit protects the end that follows: the waiting lines may need far more space than the reserve has.
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

    /// Counts items that cannot be recorded.
    pub(crate) fn lose(&mut self, error: &io::Error, items: u64) {
        self.lose_for(&format!("the outbox could not be written: {error}"), items);
    }

    fn lose_for(&mut self, reason: &str, items: u64) {
        // Counted twice: for the final counts, and for what the file does not say yet.
        for lost in [&mut self.lost, &mut self.unrecorded] {
            count_items(lost, reason, items);
        }
    }

    /// Records the losses in the file, so that every reader counts them.
    pub(crate) fn record_losses(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        // One line for each reason instead of each event: on a full disk thousands are lost for the same reason, and their lines
        // would not fit either.
        while let Some((reason, items)) = self.unrecorded.pop_first() {
            let event: Event = Event::Lost { reason: reason.clone(), items };
            let mut line = Vec::new();
            let written =
                encode(&event, &mut line).map_err(io::Error::from).and_then(|()| self.append(&line));
            if let Err(error) = written {
                // Kept for the next attempt. If a count were removed without being written, no reader of the file would see the
                // loss.
                self.unrecorded.insert(reason, items);
                return Err(error);
            }
        }
        Ok(())
    }

    /// The lines that do not fit on the disk, after the end of the run: the server can get them all the same. They stay here until
    /// [`Writer::taken`].
    pub(crate) fn hand_out(&mut self) -> Vec<Line> {
        // While the run is going, waiting lines are written as soon as there is space. If they were sent directly, they would
        // overtake lines that are still in the file.
        if !self.has_ended || self.handed_out > 0 || self.catch_up(usize::MAX).is_ok() {
            return Vec::new();
        }
        self.handed_out = self.unwritten.len();
        self.unwritten.iter().cloned().collect()
    }

    /// The server has accepted this many of the lines that were handed out.
    pub(crate) fn taken(&mut self, lines: usize) {
        // The count is the server's answer to lines that were handed out earlier; another thread may have given them back
        // meanwhile.
        let lines = lines.min(self.handed_out).min(self.unwritten.len());
        self.handed_out -= lines;
        for line in self.unwritten.drain(..lines) {
            self.unwritten_bytes -= line.bytes.len();
        }
    }

    /// The lines that were handed out are no longer being sent.
    pub(crate) fn give_back(&mut self) {
        self.handed_out = 0;
    }

    /// Writes the remaining lines, or counts them as lost, when nothing more will be done. Lines on their way to the server are
    /// skipped until they are taken or given back.
    pub(crate) fn write_or_drop(&mut self) {
        if self.handed_out > 0 {
            return;
        }
        if let Err(error) = self.catch_up(usize::MAX) {
            // All of them instead of only the last ones: with a gap in the middle of the file, a node could end without having
            // started.
            let items = self.unwritten.drain(..).map(|line| line.items).sum();
            self.unwritten_bytes = 0;
            self.lose(&error, items);
            let _ = self.record_losses();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Appends all of the bytes or none of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { file: Some(file), length, torn, pieces, .. } = self else {
            return Err(io::Error::other("it could not be opened"));
        };
        // The line feed that ends a torn line is written in one call with the new line: written separately, it might use up the
        // last space.
        let whole = if *torn { Cow::Owned([b"\n", bytes].concat()) } else { Cow::Borrowed(bytes) };
        match file.write_all(&whole) {
            Ok(()) => {
                *length += whole.len() as u64;
                *torn = false;
                Ok(())
            }
            Err(error) => {
                // A disk that becomes full during a write keeps the beginning of it. If the file cannot be read, its length shows
                // whether part of the line is in it.
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

/// Removes the incomplete line that was written last. Returns false if the file ends with something else.
fn cut_off(file: &mut File, length: u64, line: &[u8]) -> io::Result<bool> {
    let mut piece = Vec::new();
    file.seek(SeekFrom::Start(length))?;
    file.take(line.len() as u64 + 1).read_to_end(&mut piece)?;
    // Another process, such as `sync`, may have appended meanwhile, and its line must not be cut off.
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
        // A file that cannot be written to.
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
