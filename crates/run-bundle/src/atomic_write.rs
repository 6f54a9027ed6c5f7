//! Files that are replaced as a whole.

use std::{
    io,
    path::{Path, PathBuf},
};

use daglight_guarded_files::FileBelow;
use serde::Serialize;

/// Why a file of the bundle could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A newer Daglight wrote the file that is there.
    #[error(
        "{} has format {found} and stays as it is: this version of Daglight knows formats up to {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that is known here.
        known: u32,
    },
}

/// Writes beside and renames: a reader sees the old file or the new one, never a part, also when the process is killed.
/// It is not synced: what must survive a power loss is in the outbox, and the start of a run does not wait for a disk.
///
/// # Errors
///
/// When the file cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    FileBelow::at(path).replace(content).map_err(|source| WriteError::Io { path: path.to_owned(), source })
}

/// [`replace`] with indented JSON.
///
/// # Errors
///
/// As [`replace`].
pub fn replace_json(path: &Path, value: &impl Serialize) -> Result<(), WriteError> {
    let mut content = serde_json::to_vec_pretty(value)
        .map_err(|error| WriteError::Io { path: path.to_owned(), source: error.into() })?;
    content.push(b'\n');
    replace(path, &content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        replace_json(&path, &1).unwrap();
        replace_json(&path, &[2]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\n  2\n]\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_file() {
        let error = replace(Path::new("/nowhere/at/all.json"), b"").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nowhere/at/all.json");
    }
}
