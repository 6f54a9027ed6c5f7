//! Reading a file of JSON lines in bounded memory, with an account of what was not readable.

use std::{io, path::Path};

use daglight_guarded_files::{FileBelow, Line, Lines};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longer lines are not lines that a run writes: 64 MiB.
const MAX_LINE_BYTES: u64 = 64 << 20;

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
    /// Whether all that was written has been understood.
    pub fn is_whole(&self) -> bool {
        self.problem.is_none()
    }

    fn note(&mut self, problem: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some(problem());
        }
    }
}

/// Gives every whole line to `take`. A line that is refused, a torn end and a file that is not there are in the
/// account; nothing is an error.
pub(crate) fn read_lines(path: &Path, mut take: impl FnMut(&str) -> serde_json::Result<()>) -> FileReading {
    // Checked here for the whole line at once, which is many times faster than text by text.
    let mut take = |line: &[u8]| match std::str::from_utf8(line) {
        Ok(line) => take(line).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let mut reading = FileReading {
        file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        ..FileReading::default()
    };
    let file = match FileBelow::at(path).open() {
        Ok(file) => file,
        Err(error) => {
            reading.note(|| match error.kind() {
                io::ErrorKind::NotFound => "the file is not there".to_owned(),
                _ => format!("cannot be opened: {error}"),
            });
            return reading;
        }
    };
    let mut lines = Lines::new(file, MAX_LINE_BYTES);
    loop {
        let number = lines.number() + 1;
        match lines.next() {
            Ok(None) => break,
            Ok(Some(Line::Whole(line))) => {
                reading.size_bytes += line.len() as u64 + 1;
                match take(line) {
                    Ok(()) => reading.lines += 1,
                    Err(error) => {
                        reading.unreadable_lines += 1;
                        reading.note(|| format!("line {number} is damaged: {error}"));
                    }
                }
            }
            Ok(Some(Line::Torn(line))) => {
                reading.size_bytes += line.len() as u64;
                if take(line).is_ok() {
                    // The line was written whole, only its end was not.
                    reading.lines += 1;
                } else {
                    reading.torn_bytes = line.len() as u64;
                    reading.note(|| {
                        format!("line {number} is torn: the process died while it wrote, or still writes")
                    });
                }
            }
            Ok(Some(Line::TooLong { bytes, ended })) => {
                reading.size_bytes += bytes;
                reading.unreadable_lines += 1;
                let rest = if ended { "" } else { ", and what follows is not read" };
                reading.note(|| format!("line {number} has more than {MAX_LINE_BYTES} bytes{rest}"));
            }
            Err(error) => {
                reading.note(|| format!("line {number} cannot be read: {error}"));
                break;
            }
        }
    }
    reading
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
    fn a_file_that_is_not_there_is_said_to_be() {
        let reading = read_lines(Path::new("/nowhere/otel_traces.json"), |_| Ok(()));
        assert_eq!(reading.problem.as_deref(), Some("the file is not there"));
    }
}
