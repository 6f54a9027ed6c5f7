//! Reading JSON lines files in bounded memory, with the same tolerance for damage everywhere.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use daglight_guarded_files::{FileBelow, Line, Lines};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The maximum length of a line, 64 MiB: no run writes longer ones.
pub const MAX_LINE_BYTES: u64 = 64 << 20;

/// The lines of a file, one at a time. This type decides for all readers of a bundle what counts as a line, what is skipped as
/// damaged, and what is the unfinished part of a line.
#[derive(Debug)]
pub struct JsonLines<R = File>(Lines<R>);

/// The next item of a JSON lines file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonLine<T> {
    /// A line that was parsed. The last one may lack its line feed: it was written completely except for that.
    Value(T),
    /// A line that was not parsed; reading continues after it.
    Damaged {
        /// The problem with it.
        problem: String,
    },
    /// An incomplete line at the end of the file: the process died while writing it, or is still writing it.
    Torn,
}

/// A line with its number and its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedLine<T> {
    /// Its number, from 1.
    pub number: u64,
    /// Its length in bytes, including the line feed.
    pub bytes: u64,
    /// Its content.
    pub line: JsonLine<T>,
}

impl JsonLines {
    /// Opens a file below its folder.
    ///
    /// # Errors
    ///
    /// When the file does not exist, cannot be read, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(path, 0)
    }

    /// Opens a file below its folder at the start of a line, `offset` bytes after its beginning. Lines are numbered from there.
    ///
    /// # Errors
    ///
    /// Like [`JsonLines::open`].
    pub fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = FileBelow::at(path).open()?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self::of(file))
    }
}

impl<R: Read> JsonLines<R> {
    /// The lines of a reader, from its current position.
    pub fn of(from: R) -> Self {
        Self(Lines::new(from, MAX_LINE_BYTES))
    }

    /// The number of the next line, from 1.
    pub fn next_number(&self) -> u64 {
        self.0.number() + 1
    }

    /// The next line, parsed with `parse`; `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn next_with<T>(
        &mut self,
        parse: impl FnOnce(&str) -> serde_json::Result<T>,
    ) -> io::Result<Option<NumberedLine<T>>> {
        let number = self.next_number();
        // UTF-8 is validated for the whole line at once, which is many times faster than for each string.
        let parse = |line: &[u8]| match std::str::from_utf8(line) {
            Ok(line) => parse(line).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let (bytes, line) = match self.0.next()? {
            None => return Ok(None),
            Some(Line::Whole(line)) => {
                let parsed =
                    parse(line).map_or_else(|problem| JsonLine::Damaged { problem }, JsonLine::Value);
                (line.len() as u64 + 1, parsed)
            }
            Some(Line::Torn(line)) => {
                // If it parses, it is complete: the writer died between the line and its line feed, and nothing is missing.
                (line.len() as u64, parse(line).map_or(JsonLine::Torn, JsonLine::Value))
            }
            Some(Line::TooLong { bytes, ended }) => {
                let rest = if ended { "" } else { ", and what follows is not read" };
                let problem = format!("it has more than {MAX_LINE_BYTES} bytes{rest}");
                (bytes, JsonLine::Damaged { problem })
            }
        };
        Ok(Some(NumberedLine { number, bytes, line }))
    }
}

/// How much of a file could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileReading {
    /// The file's name in the bundle.
    pub file: String,
    /// Its size; 0 for a file that is not there.
    pub size_bytes: u64,
    /// Lines that were understood.
    pub lines: u64,
    /// Lines that were not.
    pub unreadable_lines: u64,
    /// Bytes behind the last whole line: the process died while it wrote.
    pub torn_bytes: u64,
    /// What was wrong first.
    pub problem: Option<String>,
}

impl FileReading {
    /// Whether everything that was written was parsed.
    pub fn is_whole(&self) -> bool {
        self.problem.is_none()
    }

    fn note(&mut self, problem: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some(problem());
        }
    }
}

/// Passes every line to `take`. Lines that it rejects, a torn end and a missing file are counted; nothing is an error.
pub fn read_lines(path: &Path, mut take: impl FnMut(&str) -> serde_json::Result<()>) -> FileReading {
    let mut reading = FileReading {
        file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        ..FileReading::default()
    };
    let mut lines = match JsonLines::open(path) {
        Ok(lines) => lines,
        Err(error) => {
            reading.note(|| match error.kind() {
                io::ErrorKind::NotFound => "the file is not there".to_owned(),
                _ => format!("cannot be opened: {error}"),
            });
            return reading;
        }
    };
    loop {
        let number = lines.next_number();
        match lines.next_with(&mut take) {
            Ok(None) => break,
            Ok(Some(NumberedLine { bytes, line, .. })) => {
                reading.size_bytes += bytes;
                match line {
                    JsonLine::Value(()) => reading.lines += 1,
                    JsonLine::Damaged { problem } => {
                        reading.unreadable_lines += 1;
                        // Only the first one is named, the others are counted: a file of garbage has millions.
                        reading.note(|| format!("line {number} is damaged: {problem}"));
                    }
                    JsonLine::Torn => {
                        reading.torn_bytes = bytes;
                        reading.note(|| {
                            format!("line {number} is torn: the process died while it wrote, or still writes")
                        });
                    }
                }
            }
            Err(error) => {
                reading.note(|| format!("line {number} cannot be read: {error}"));
                break;
            }
        }
    }
    reading
}

/// Opens a file for appending whole lines. An incomplete line that a dead process left at its end is removed, unless only its line
/// feed is missing, that is, unless `is_line` accepts it.
///
/// # Errors
///
/// When the file cannot be read or written.
pub fn open_at_last_line(path: &Path, is_line: impl Fn(&[u8]) -> bool) -> io::Result<File> {
    // All lines are read, because only that shows where the torn one starts.
    let mut file = FileBelow::at(path).append()?;
    let mut whole_bytes = 0;
    let mut lines = Lines::new(&file, MAX_LINE_BYTES);
    let ends_with_line_feed = loop {
        match lines.next()? {
            None => break true,
            Some(Line::Whole(line)) => whole_bytes += line.len() as u64 + 1,
            Some(Line::TooLong { bytes, ended: true }) => whole_bytes += bytes,
            Some(Line::TooLong { ended: false, .. }) => break false,
            Some(Line::Torn(line)) if is_line(line) => break false,
            Some(Line::Torn(_)) => {
                file.set_len(whole_bytes)?;
                break true;
            }
        }
    };
    if !ends_with_line_feed {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether a file that is open for appending ends with a complete line, so that the next append starts a new line. True for an
/// empty file.
pub(crate) fn ends_with_line_feed(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    // The position that this leaves does not matter: the file is in append mode, where each write goes to its end.
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    #[track_caller]
    fn check(content: &[u8], lines: u64, unreadable_lines: u64, torn_bytes: u64, problem: Option<&str>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("otel_logs.json");
        std::fs::write(&path, content).unwrap();
        let reading = read_lines(&path, |line| serde_json::from_str::<IgnoredAny>(line).map(drop));
        let expected = FileReading {
            file: "otel_logs.json".into(),
            size_bytes: content.len() as u64,
            lines,
            unreadable_lines,
            torn_bytes,
            problem: reading.problem.clone(),
        };
        assert_eq!(reading, expected);
        assert_eq!(reading.problem.is_some(), problem.is_some(), "{reading:?}");
        assert!(reading.problem.unwrap_or_default().contains(problem.unwrap_or_default()));
    }

    #[test]
    fn what_is_not_readable_is_counted() {
        check(b"", 0, 0, 0, None);
        check(b"{}\n{}\n", 2, 0, 0, None);
        check(b"{}\n{}", 2, 0, 0, None);
        check(b"{}\n{\"a", 1, 0, 3, Some("line 2 is torn"));
        check(b"{}\n{\"a\n{}\n\0\0\n", 2, 2, 0, Some("line 2 is damaged"));
        check(b"\"\xff\"\n{}\n", 1, 1, 0, Some("line 1 is damaged"));
    }

    #[test]
    fn a_line_ends_where_its_line_feed_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("otel_logs.json");
        for (content, expected) in
            [("", true), ("\n", true), ("{}\n", true), ("{}", false), ("{}\n{\"a", false)]
        {
            std::fs::write(&path, content).unwrap();
            let mut file = File::options().read(true).append(true).open(&path).unwrap();
            assert_eq!(ends_with_line_feed(&mut file).unwrap(), expected, "{content:?}");
        }
    }

    #[test]
    fn a_missing_file_is_reported_as_missing() {
        let reading = read_lines(Path::new("/nowhere/otel_traces.json"), |_| Ok(()));
        assert_eq!(reading.problem.as_deref(), Some("the file is not there"));
    }
}
