//! Reading signal files back, one line at a time.

use std::{
    io,
    path::{Path, PathBuf},
};

use daglight_run_bundle::{JsonLine, JsonLines, NumberedLine};
use serde::Deserialize;

/// How many damaged lines are named; all are counted.
const MOST_NAMED: usize = 10;

/// Why a signal file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Lines of signal files that are not valid OTLP/JSON, and were skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedLines {
    /// Their number.
    pub count: u64,
    /// The first of them, as `FILE:LINE` and the problem.
    pub named: Vec<String>,
}

impl DamagedLines {
    pub(crate) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.named.extend(other.named.into_iter().take(MOST_NAMED.saturating_sub(self.named.len())));
    }

    fn name(&mut self, path: &Path, line: u64, problem: impl std::fmt::Display) {
        self.count += 1;
        if self.named.len() < MOST_NAMED {
            self.named.push(format!("{}:{line} is not valid OTLP/JSON: {problem}", path.display()));
        }
    }
}

/// Passes each line to `each`. A damaged line is skipped. So is an incomplete last line, which a killed process may leave and which
/// does not count as damaged. `None` if the file does not exist.
pub(crate) fn for_each_line<T, E>(
    path: &Path,
    mut each: impl FnMut(T) -> Result<(), E>,
) -> Result<Option<DamagedLines>, E>
where
    T: for<'de> Deserialize<'de>,
    E: From<ReadError>,
{
    let unreadable = |source| ReadError::File { path: path.to_owned(), source };
    let mut lines = match JsonLines::open(path) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error).into()),
    };
    let mut damaged = DamagedLines::default();
    while let Some(NumberedLine { number, line, .. }) =
        lines.next_with(|line| serde_json::from_str(line)).map_err(unreadable)?
    {
        match line {
            JsonLine::Value(value) => each(value)?,
            JsonLine::Damaged { problem } => damaged.name(path, number, problem),
            JsonLine::Torn => {}
        }
    }
    Ok(Some(damaged))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(content: &[u8], read: &[&str], damaged: u64, named: &str) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("otel_logs.json");
        std::fs::write(&path, content).unwrap();
        let mut values = Vec::new();
        let found = for_each_line(&path, |value: Value| {
            values.push(value.to_string());
            Ok::<_, ReadError>(())
        });
        let found = found.unwrap().unwrap();
        assert_eq!(values, read);
        assert_eq!(found.count, damaged);
        assert!(found.named.first().is_none_or(|first| first.contains(named)), "{found:?}");
    }

    #[test]
    fn damaged_lines_are_passed_over_and_named() {
        check(b"1\n2\n", &["1", "2"], 0, "");
        check(b"1\n{\"a\n\0\0\n2\n", &["1", "2"], 2, "otel_logs.json:2 is not valid OTLP/JSON");
        check(b"1\n{\"a", &["1"], 0, "");
        check(b"1\n2", &["1", "2"], 0, "");
        check(&b"x\n".repeat(50), &[], 50, "otel_logs.json:1 ");
    }

    #[test]
    fn a_file_that_is_not_there_has_no_lines() {
        let found = for_each_line(Path::new("/nowhere/a.json"), |_: Value| Ok::<_, ReadError>(()));
        assert_eq!(found.unwrap(), None);
    }
}
