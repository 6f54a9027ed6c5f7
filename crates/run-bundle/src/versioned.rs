//! Reading and replacing files with a format version.

use std::{
    borrow::Cow,
    fmt, io,
    path::{Path, PathBuf},
};

use daglight_guarded_files::{Durability, FileBelow};
use serde::{
    Deserializer as _, Serialize,
    de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor},
};

use crate::{
    bundle::Bundle,
    layout::MAX_FILE_BYTES,
    seal::{Seal, seal, sealed, sealed_as},
};

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
    /// The file does not have the format that its name implies.
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
        /// The newest version that this Daglight knows.
        known: u32,
    },
}

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
    /// The existing file was written by a newer Daglight.
    #[error(
        "{} has format {found} and stays as it is: this version of Daglight knows formats up to {known}",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this Daglight knows.
        known: u32,
    },
}

impl ReadError {
    /// The error, with paths as they should be shown to a user who has named the bundle.
    #[must_use]
    pub(crate) fn shown_in(mut self, bundle: &Bundle) -> Self {
        let (Self::Io { path, .. } | Self::Damaged { path, .. } | Self::Newer { path, .. }) = &mut self;
        *path = bundle.shown(path);
        self
    }

    /// Whether the file does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a file whose `format_version` is at most `known`.
pub(crate) fn read<T: DeserializeOwned>(path: PathBuf, known: u32) -> Result<T, ReadError> {
    read_within(path, known, MAX_FILE_BYTES)
}

/// Like [`read`], for a file with at most `max_bytes`.
pub(crate) fn read_within<T: DeserializeOwned>(
    path: PathBuf,
    known: u32,
    max_bytes: u64,
) -> Result<T, ReadError> {
    read_sealed(path, known, max_bytes).map(|(value, _)| value)
}

/// Like [`read_within`], and also returns the state of the checksum in the file.
pub(crate) fn read_sealed<T: DeserializeOwned>(
    path: PathBuf,
    known: u32,
    max_bytes: u64,
) -> Result<(T, Seal), ReadError> {
    match FileBelow::at(&path).read(max_bytes) {
        Ok(text) => {
            // Checked before the rest is read: a later version may have other fields, and would look like a damaged file.
            check_version(&path, &text, known)?;
            let value =
                serde_json::from_slice(&text).map_err(|source| ReadError::Damaged { path, source })?;
            Ok((value, seal(&text)))
        }
        Err(source) => Err(ReadError::Io { path, source }),
    }
}

/// Replaces a file of a bundle as a whole, with a checksum in it, unless a newer version wrote the existing one.
pub(crate) fn write(
    bundle: &Bundle,
    path: &Path,
    value: &impl Serialize,
    known: u32,
) -> Result<(), WriteError> {
    write_as(bundle, path, value, known, Seal::Whole)
}

/// Like [`write`], for a file that was read before, whose checksum state is kept: a wrong one stays wrong.
pub(crate) fn write_as(
    bundle: &Bundle,
    path: &Path,
    value: &impl Serialize,
    known: u32,
    before: Seal,
) -> Result<(), WriteError> {
    // A damaged or unreadable file is replaced: nobody could use its content, and a run must be able to end regardless of it.
    if let Ok(text) = FileBelow::at(path).read(MAX_FILE_BYTES)
        && let Err(ReadError::Newer { found, .. }) = check_version(path, &text, known)
    {
        return Err(WriteError::Newer { path: path.to_owned(), found, known });
    }
    bundle.replace(path, &sealed_as(to_json(path, value)?, before))
}

impl Bundle {
    /// Replaces a file of the bundle as a whole, as durably as the bundle is set to ([`Bundle::durable`]): a reader sees either the
    /// old file or the new one, never a part, even if the process is killed.
    ///
    /// # Errors
    ///
    /// When the file cannot be written, or is not in this bundle.
    pub fn replace(&self, path: &Path, content: &[u8]) -> Result<(), WriteError> {
        // Opened relative to the folder of the bundle, whose own path may contain links; within the folder no link is followed.
        let below = path.strip_prefix(self.dir()).unwrap_or(path);
        put(&FileBelow::new(self.dir(), below), content, self.durability())
    }

    /// Like [`Bundle::replace`], with indented JSON.
    ///
    /// # Errors
    ///
    /// Like [`Bundle::replace`].
    pub fn replace_json(&self, path: &Path, value: &impl Serialize) -> Result<(), WriteError> {
        self.replace(path, &to_json(path, value)?)
    }
}

/// Replaces a file with indented JSON and a checksum, without waiting for the disk.
pub(crate) fn replace_json(path: &Path, value: &impl Serialize) -> Result<(), WriteError> {
    put(&FileBelow::at(path), &sealed_json(path, value)?, Durability::Process)
}

fn put(file: &FileBelow, content: &[u8], durability: Durability) -> Result<(), WriteError> {
    file.replace(content, durability).map_err(|source| WriteError::Io { path: file.path(), source })
}

/// Indented JSON with a checksum in it.
fn sealed_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    Ok(sealed(to_json(path, value)?))
}

fn to_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    let mut content = serde_json::to_vec_pretty(value)
        .map_err(|error| WriteError::Io { path: path.to_owned(), source: error.into() })?;
    // For people who view it in a terminal, and for tools that append or compare by line.
    content.push(b'\n');
    Ok(content)
}

fn check_version(path: &Path, text: &[u8], known: u32) -> Result<(), ReadError> {
    match format_version(text) {
        Ok(found) if found > known => Err(ReadError::Newer { path: path.to_owned(), found, known }),
        Ok(_) => Ok(()),
        Err(source) => Err(ReadError::Damaged { path: path.to_owned(), source }),
    }
}

/// The version of a file or a line. Parsing stops after it, because it is among the first fields, and listing a thousand bundles
/// reads a thousand manifests.
pub(crate) fn format_version(text: &[u8]) -> serde_json::Result<u32> {
    struct UpToVersion<'v>(&'v mut Option<u32>);

    impl<'de> Visitor<'de> for UpToVersion<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with a format_version")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut fields: M) -> Result<(), M::Error> {
            while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
                if name == "format_version" {
                    *self.0 = Some(fields.next_value()?);
                    // An error is the way to stop parsing before the end of the document.
                    return Ok(());
                }
                fields.next_value::<IgnoredAny>()?;
            }
            Err(M::Error::missing_field("format_version"))
        }
    }

    let mut found = None;
    let read = serde_json::Deserializer::from_slice(text).deserialize_map(UpToVersion(&mut found));
    match (found, read) {
        (Some(version), _) => Ok(version),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(serde_json::Error::missing_field("format_version")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use daglight_run_identity::RunId;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        format_version: u32,
        name: String,
    }

    fn file() -> File {
        File { format_version: 2, name: "a".into() }
    }

    fn bundle() -> (tempfile::TempDir, Bundle, PathBuf) {
        let out = tempfile::tempdir().unwrap();
        let bundle = Bundle::create(out.path(), RunId::new()).unwrap();
        let path = bundle.dir().join("a.json");
        (out, bundle, path)
    }

    #[test]
    fn a_newer_file_is_neither_read_nor_replaced() {
        let (_out, bundle, path) = bundle();
        let newer = r#"{"format_version": 3, "unheard_of": true}"#;
        fs::write(&path, newer).unwrap();
        let error = read::<File>(path.clone(), 2).unwrap_err();
        assert!(matches!(error, ReadError::Newer { found: 3, known: 2, .. }), "{error}");
        assert!(matches!(write(&bundle, &path, &file(), 2), Err(WriteError::Newer { found: 3, .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
    }

    #[test]
    fn the_version_is_read_wherever_it_stands() {
        let check = |text: &str, expected: Option<u32>| {
            assert_eq!(format_version(text.as_bytes()).ok(), expected, "{text}");
        };
        check(r#"{"format_version": 3, "rest": [broken"#, Some(3));
        check(r#"{"a": {"format_version": 9}, "b\u0041": [1], "format_version": 2}"#, Some(2));
        check(r#"{"a": 1}"#, None);
        check(r#"{"format_version": "3"}"#, None);
        check(r#"{"format_version": -1}"#, None);
        check(r#"[{"format_version": 3}]"#, None);
        check("", None);
        check(r#"{"a": "#, None);
    }

    #[test]
    fn a_damaged_file_is_reported_and_replaced() {
        let (_out, bundle, path) = bundle();
        assert!(read::<File>(path.clone(), 2).unwrap_err().is_not_found());
        fs::write(&path, "{\"format").unwrap();
        assert!(matches!(read::<File>(path.clone(), 2), Err(ReadError::Damaged { .. })));
        write(&bundle, &path, &file(), 2).unwrap();
        assert_eq!(read::<File>(path, 2).unwrap(), file());
    }

    #[test]
    fn a_file_is_replaced_and_nothing_stays_beside_it() {
        let (_out, bundle, path) = bundle();
        let before = fs::read_dir(bundle.dir()).unwrap().count();
        bundle.replace_json(&path, &1).unwrap();
        bundle.clone().durable(Durability::Disk).replace_json(&path, &[2]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[\n  2\n]\n");
        assert_eq!(fs::read_dir(bundle.dir()).unwrap().count(), before + 1);
    }

    #[test]
    fn a_failure_names_the_file() {
        let error = replace_json(Path::new("/nowhere/at/all.json"), &1).unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nowhere/at/all.json");
    }

    #[test]
    fn what_is_elsewhere_is_not_written() {
        let (out, bundle, _) = bundle();
        let elsewhere = out.path().join("a.json");
        assert!(bundle.replace(&elsewhere, b"1").is_err());
        assert!(!elsewhere.exists());
    }
}
