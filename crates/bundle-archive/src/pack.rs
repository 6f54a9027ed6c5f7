//! Making an archive of a bundle.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use daglight_guarded_files::FileBelow;
use daglight_run_bundle::{Bundle, Fault, FileEntry, FileUse, Manifest, ReadError, sha256_of};
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use crate::without_sql;

/// What is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackOptions {
    /// Leave the text of SQL and plans out: of plan files the plans as text and the details of operators, of spans
    /// `db.query.text`, and as a whole the tracker's outbox, which holds the code of nodes, the data summaries, which hold values
    /// as the plans do, and the report, which can be made again. The texts of errors, warnings and checks are left out of the manifest,
    /// spans and logs as well, since they quote the statement.
    pub without_sql: bool,
}

/// What was packed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Packed {
    /// The files in the archive, in its order; the manifest, which is the last, is not among them.
    pub files: Vec<FileEntry>,
    /// Files that were left out: because there should be no SQL, or because they are not regular files.
    pub left_out: Vec<String>,
    /// Files that may not be read, with the cause. The archive lists them as missing.
    pub unreadable: Vec<(String, io::Error)>,
    /// What was wrong with the bundle. The archive has the same faults.
    pub faults: Vec<Fault>,
}

/// Why a bundle could not be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// Its manifest cannot be read.
    #[error("the bundle {} cannot be packed", dir.display())]
    Manifest {
        /// The bundle.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: ReadError,
    },
    /// A file cannot be read.
    #[error("cannot pack {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Something is there already.
    #[error("{} already exists: expected the name of a new file", path.display())]
    Exists {
        /// Where the archive was to be.
        path: PathBuf,
    },
    /// The archive cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl PackOptions {
    /// The same options, without SQL where that is asked for.
    #[must_use]
    pub fn without_sql(self, without_sql: bool) -> Self {
        Self { without_sql }
    }
}

/// Writes an archive of the bundle to a new file at `to`, which belongs to its user alone. Of files that grow, as those of a run
/// that goes on, it has what was there when they were opened. Where it fails, no archive is left.
///
/// # Errors
///
/// When the manifest or a file cannot be read, there is something at `to` already, or it cannot be written.
pub fn pack(bundle: &Bundle, to: &Path, options: PackOptions) -> Result<Packed, PackError> {
    let failed = |source| PackError::Write { path: to.to_owned(), source };
    let manifest = Manifest::read(bundle)
        .map_err(|source| PackError::Manifest { dir: bundle.shown(bundle.dir()), source })?;
    let archive = new_file(to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => PackError::Exists { path: to.to_owned() },
        _ => failed(source),
    })?;
    let packed = write(bundle, manifest, BufWriter::new(archive), options, to);
    if packed.is_err() {
        // The first error says why; that a part of an archive stays would be the lesser one.
        let _ = std::fs::remove_file(to);
    }
    packed
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    // `create_new`, so that a link that somebody has put at the name is not followed, and an archive that is there is
    // never lost to a mistyped name.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn write(
    bundle: &Bundle,
    mut manifest: Manifest,
    archive: impl Write,
    options: PackOptions,
    to: &Path,
) -> Result<Packed, PackError> {
    let failed = |source| PackError::Write { path: to.to_owned(), source };
    let folder = manifest.identity.run_id.to_string();
    let mut archive = Builder::new(GzEncoder::new(archive, Compression::default()));
    let mut packed = Packed {
        files: Vec::new(),
        left_out: bundle.not_files(),
        unreadable: Vec::new(),
        faults: bundle.verify(),
    };
    let mut files = bundle.files();
    // The manifest is the last one of them, and written here anew.
    let manifest_path = files.pop().unwrap_or_default();
    for path in files {
        if options.without_sql && without_sql::is_left_out(&path) {
            packed.left_out.push(path);
            continue;
        }
        let unreadable = |source| PackError::Read { path: bundle.shown(&bundle.dir().join(&path)), source };
        let mut file = match FileBelow::new(bundle.dir(), &path).open() {
            // A run that ends meanwhile takes it away.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_transient(&path) => continue,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                packed.unreadable.push((path, error));
                continue;
            }
            opened => opened.map_err(unreadable)?,
        };
        let (sha256, size_bytes);
        if options.without_sql && without_sql::is_changed(&path) {
            let size = file.metadata().map_err(unreadable)?.len();
            let mut stripped = tempfile::tempfile().map_err(failed)?;
            without_sql::strip(&path, file.take(size), &mut stripped).map_err(unreadable)?;
            file = stripped;
        }
        let size = file.metadata().map_err(unreadable)?.len();
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        // Read twice, for the hash and for the archive: the header of an entry is in front of its content, and a file
        // of gigabytes is not kept in memory for it.
        (sha256, size_bytes) = sha256_of((&mut file).take(size)).map_err(unreadable)?;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        append(&mut archive, &format!("{folder}/{path}"), file.take(size_bytes), size_bytes)
            .map_err(failed)?;
        packed.files.push(FileEntry { path, size_bytes, sha256: Some(sha256) });
    }
    // The bundle's own list has hashes from the end of the run. Without SQL, or after `sync`, the files are others,
    // and whoever unpacks them would see damage where nothing is wrong.
    manifest.files = listed(&manifest, &packed);
    if options.without_sql {
        manifest = without_sql::strip_manifest(&manifest).map_err(io::Error::from).map_err(failed)?;
    }
    let text = manifest.to_copy(bundle).map_err(io::Error::from).map_err(failed)?;
    append(&mut archive, &format!("{folder}/{manifest_path}"), &*text, text.len() as u64).map_err(failed)?;
    // Finished by hand and not by dropping: a drop has no way to report that the last block did not fit on the disk,
    // and the archive would be cut without a word.
    let mut archive = archive.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
    archive.flush().map_err(failed)?;
    Ok(packed)
}

/// The files as the manifest of the archive lists them: intact files as they are now, damaged files as they were, so that the
/// damage is still detected after unpacking.
fn listed(manifest: &Manifest, packed: &Packed) -> Vec<FileEntry> {
    let is_damaged = |path: &str| packed.faults.iter().any(|fault| fault.path() == Some(path));
    let was = |path: &str| manifest.files.iter().find(|entry| entry.path == path).cloned();
    let of_files = packed.files.iter().filter_map(|entry| match is_damaged(&entry.path) {
        true => was(&entry.path),
        // Closing the run removes them, and nothing is missing then.
        false if is_transient(&entry.path) => None,
        false => Some(entry.clone()),
    });
    let is_gone = |entry: &&FileEntry| {
        is_damaged(&entry.path)
            && packed.files.iter().all(|file| file.path != entry.path)
            && !packed.left_out.contains(&entry.path)
    };
    of_files.chain(manifest.files.iter().filter(is_gone).cloned()).collect()
}

fn is_transient(path: &str) -> bool {
    let entry = FileEntry { path: path.to_owned(), size_bytes: 0, sha256: None };
    entry.file_use() == FileUse::Transient
}

/// The same bundle makes the same archive: no times and no users.
fn append(archive: &mut Builder<impl Write>, path: &str, content: impl Read, size: u64) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content)
}
