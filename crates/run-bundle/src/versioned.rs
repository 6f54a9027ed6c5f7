//! Reading and replacing files that carry the version of their format.

use std::{
    io,
    path::{Path, PathBuf},
};

use daglight_guarded_files::FileBelow;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::atomic_write::{WriteError, replace_json};

/// Bytes of a file of the bundle that is read as a whole, 64 MiB: far more than a run of 100,000 nodes writes.
pub(crate) const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a file of the bundle could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not what its name says.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A newer Daglight wrote the file.
    #[error(
        "{} has format {found}, and this version of Daglight knows formats up to {known}: use a newer one",
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

impl ReadError {
    /// Whether the file is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a file whose `format_version` is at most `known`.
pub(crate) fn read<T: DeserializeOwned>(path: PathBuf, known: u32) -> Result<T, ReadError> {
    read_within(path, known, MAX_FILE_BYTES)
}

/// [`read`] of a file with at most `max_bytes`.
pub(crate) fn read_within<T: DeserializeOwned>(
    path: PathBuf,
    known: u32,
    max_bytes: u64,
) -> Result<T, ReadError> {
    match FileBelow::at(&path).read(max_bytes) {
        Ok(text) => {
            check_version(&path, &text, known)?;
            serde_json::from_slice(&text).map_err(|source| ReadError::Damaged { path, source })
        }
        Err(source) => Err(ReadError::Io { path, source }),
    }
}

/// Replaces a file as a whole, unless a newer version wrote the one that is there.
pub(crate) fn write(path: &Path, value: &impl Serialize, known: u32) -> Result<(), WriteError> {
    if let Ok(text) = FileBelow::at(path).read(MAX_FILE_BYTES)
        && let Err(ReadError::Newer { found, .. }) = check_version(path, &text, known)
    {
        return Err(WriteError::Newer { path: path.to_owned(), found, known });
    }
    replace_json(path, value)
}

fn check_version(path: &Path, text: &[u8], known: u32) -> Result<(), ReadError> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    match serde_json::from_slice(text) {
        Ok(Version { format_version: found }) if found > known => {
            Err(ReadError::Newer { path: path.to_owned(), found, known })
        }
        Ok(_) => Ok(()),
        Err(source) => Err(ReadError::Damaged { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        format_version: u32,
        name: String,
    }

    fn file() -> File {
        File { format_version: 2, name: "a".into() }
    }

    #[test]
    fn a_newer_file_is_neither_read_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let newer = r#"{"format_version": 3, "unheard_of": true}"#;
        fs::write(&path, newer).unwrap();
        let error = read::<File>(path.clone(), 2).unwrap_err();
        assert!(matches!(error, ReadError::Newer { found: 3, known: 2, .. }), "{error}");
        assert!(matches!(write(&path, &file(), 2), Err(WriteError::Newer { found: 3, .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }

    #[test]
    fn a_damaged_file_is_said_to_be_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        assert!(read::<File>(path.clone(), 2).unwrap_err().is_not_found());
        fs::write(&path, "{\"format").unwrap();
        assert!(matches!(read::<File>(path.clone(), 2), Err(ReadError::Damaged { .. })));
        write(&path, &file(), 2).unwrap();
        assert_eq!(read::<File>(path, 2).unwrap(), file());
    }
}
