//! The lines of an untrusted file.

use std::io::{self, BufRead as _, BufReader, Read};

/// How many bytes of an overlong line are skipped before the rest of a file is given up, 1 GiB: beyond that it is not a file of
/// lines, and it is not worth searching a sparse one for its end.
pub const MAX_SKIPPED_BYTES: u64 = 1 << 30;

/// Memory that is kept for the next line after a long one.
const KEPT_LINE_BYTES: usize = 1 << 20;

/// Reads lines in memory that is bounded by the maximum line length.
#[derive(Debug)]
pub struct Lines<R> {
    reader: BufReader<R>,
    max_line_bytes: u64,
    line: Vec<u8>,
    number: u64,
    gave_up: bool,
}

/// The next item in a file of lines.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A complete line, without its line feed.
    Whole(&'a [u8]),
    /// The last line, without a line feed: its writer died, or is still writing.
    Torn(&'a [u8]),
    /// A line that exceeds the limit.
    TooLong {
        /// The number of skipped bytes.
        bytes: u64,
        /// Whether the next line was found. Otherwise the rest of the file is not read.
        ended: bool,
    },
}

impl<R: Read> Lines<R> {
    /// Reads lines of up to `max_line_bytes`, without the line feed.
    pub fn new(file: R, max_line_bytes: u64) -> Self {
        let reader = BufReader::with_capacity(256 << 10, file);
        Self { reader, max_line_bytes, line: Vec::new(), number: 0, gave_up: false }
    }

    /// The number of the last line that was read, starting at 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line. `None` at the end of the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    #[expect(clippy::should_implement_trait, reason = "a line borrows from what reads it")]
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if self.gave_up {
            return Ok(None);
        }
        self.line.clear();
        self.line.shrink_to(KEPT_LINE_BYTES);
        // One byte for the line feed: a line of exactly the maximum length is complete.
        let read = (&mut self.reader).take(self.max_line_bytes + 1).read_until(b'\n', &mut self.line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.line.ends_with(b"\n") {
            return Ok(Some(Line::Whole(&self.line[..self.line.len() - 1])));
        }
        if read <= self.max_line_bytes {
            return Ok(Some(Line::Torn(&self.line)));
        }
        self.line.clear();
        let (skipped, ended) = skip_line(&mut self.reader)?;
        self.gave_up = !ended;
        Ok(Some(Line::TooLong { bytes: read + skipped, ended }))
    }
}

/// Skips the rest of a line, up to the limit.
fn skip_line<R: Read>(reader: &mut BufReader<R>) -> io::Result<(u64, bool)> {
    let mut rest = reader.take(MAX_SKIPPED_BYTES);
    let mut skipped = 0;
    loop {
        let bytes = rest.fill_buf()?;
        if bytes.is_empty() {
            return Ok((skipped, false));
        }
        // Most skipped blocks have none, and this check is far faster than finding the position.
        let has_feed = bytes.contains(&b'\n');
        let feed = if has_feed { bytes.iter().position(|byte| *byte == b'\n') } else { None };
        let used = feed.map_or(bytes.len(), |feed| feed + 1);
        rest.consume(used);
        skipped += used as u64;
        if feed.is_some() {
            return Ok((skipped, true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_distinguished_by_how_they_end() {
        let mut lines = Lines::new(&b"a\n\n12345\n123456\nb\nc"[..], 5);
        assert_eq!(lines.next().unwrap(), Some(Line::Whole(b"a")));
        assert_eq!(lines.next().unwrap(), Some(Line::Whole(b"")));
        assert_eq!(lines.next().unwrap(), Some(Line::Whole(b"12345")));
        assert_eq!(lines.next().unwrap(), Some(Line::TooLong { bytes: 7, ended: true }));
        assert_eq!(lines.next().unwrap(), Some(Line::Whole(b"b")));
        assert_eq!(lines.next().unwrap(), Some(Line::Torn(b"c")));
        assert_eq!(lines.next().unwrap(), None);
        assert_eq!(lines.number(), 6);
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut lines = Lines::new(io::repeat(0), 64);
        let expected = Line::TooLong { bytes: 65 + MAX_SKIPPED_BYTES, ended: false };
        assert_eq!(lines.next().unwrap(), Some(expected));
        assert_eq!(lines.next().unwrap(), None);
        assert!(lines.line.capacity() < 1 << 20);
    }
}
