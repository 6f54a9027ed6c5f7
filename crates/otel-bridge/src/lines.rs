//! Reading signal files back, one line at a time.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Why a signal file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is none that a run writes.
    #[error("{} line {line} is no OTLP/JSON", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why not.
        source: serde_json::Error,
    },
}

/// Gives each whole line to `each`; the part of a line that a killed process may leave at the end is passed over.
/// False when there is no file.
pub(crate) fn for_each_line<T, E>(path: &Path, mut each: impl FnMut(T) -> Result<(), E>) -> Result<bool, E>
where
    T: for<'de> Deserialize<'de>,
    E: From<ReadError>,
{
    let unreadable = |source| ReadError::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unreadable(error).into()),
    };
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(unreadable)?;
        if !line.ends_with(b"\n") {
            break;
        }
        let value = serde_json::from_slice(&line).map_err(|source| ReadError::Line {
            path: path.to_owned(),
            line: number,
            source,
        })?;
        each(value)?;
    }
    Ok(true)
}
