//! Events in files of the user's and on the console.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use chrono::Utc;

/// Files of one microsecond that are told apart by a number.
const MAX_SAME_NAME: u32 = 1_000;

/// Why an event is not in its file.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub(crate) struct LocalError {
    path: PathBuf,
    source: io::Error,
}

/// Appends the event to the file, or creates a separate file for it: the path, the time, and `.json`.
pub(crate) fn write(path: &Path, append: bool, event: &[u8]) -> Result<(), LocalError> {
    let failed = |source| LocalError { path: path.to_owned(), source };
    // Opened for each event, as the user may move the file away in between; a link is followed, because it is the user's.
    let mut file = match append {
        true => File::options().append(true).create(true).open(path),
        false => new_file(path).map(|(file, _)| file),
    }
    .map_err(failed)?;
    file.write_all(&line(event)).map_err(failed)
}

/// Checks that events could be written, and leaves nothing behind.
pub(crate) fn check(path: &Path, append: bool) -> Result<(), LocalError> {
    let failed = |source| LocalError { path: path.to_owned(), source };
    if append && path.exists() {
        return File::options().append(true).open(path).map(drop).map_err(failed);
    }
    // Of another name than the file: a run may begin with it at this moment.
    let (_, probe) = new_file(path).map_err(failed)?;
    fs::remove_file(probe).map_err(failed)
}

/// Writes the event to standard error: standard output has the rows.
pub(crate) fn print(event: &[u8]) -> Result<(), LocalError> {
    let failed = |source| LocalError { path: PathBuf::from("standard error"), source };
    io::stderr().lock().write_all(&line(event)).map_err(failed)
}

fn line(event: &[u8]) -> Vec<u8> {
    [event, b"\n"].concat()
}

#[expect(clippy::disallowed_methods, reason = "a file is called by the time at which it is made")]
fn new_file(path: &Path) -> io::Result<(File, PathBuf)> {
    let time = Utc::now().format("%Y%m%d-%H%M%S.%6f");
    let mut number = 0;
    loop {
        let ending = if number == 0 { String::new() } else { format!("-{number}") };
        let mut name = path.as_os_str().to_owned();
        name.push(format!("-{time}{ending}.json"));
        let name = PathBuf::from(name);
        match File::options().write(true).create_new(true).open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_SAME_NAME => {
                number += 1
            }
            result => return result.map(|file| (file, name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn events_are_in_one_file_or_in_one_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        write(&path, true, b"1").unwrap();
        write(&path, true, b"2").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n");
        for event in 0..20 {
            write(&path, false, event.to_string().as_bytes()).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 21);
        let error = write(&dir.path().join("no/folder"), true, b"1").unwrap_err();
        assert!(error.to_string().contains("no/folder"), "{error}");
    }
}
