//! Creating an archive of a bundle.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use daglight_guarded_files::FileBelow;
use daglight_run_bundle::{Bundle, Fault, FileEntry, FileUse, Manifest, ReadError, sha256_of};
use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use crate::{unpack::has_name_of_archive, without_sql};

/// What to pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackOptions {
    /// Leaves out SQL and plans: the plans as text, the details of operators and previews of rows in plan files, `db.query.text`
    /// of spans, the command line of signals, and the values of parameters. Completely left out are the tracker's outbox and the
    /// lineage events, which contain the code of nodes, the progress of nodes, the data summaries, which contain values like the
    /// plans do, and the report, which can be made again. The texts of errors, warnings and checks are also left out of the
    /// manifest, spans and logs, because they quote the statement. Names and tags stay.
    pub without_sql: bool,
}

/// The result of packing.
#[derive(Debug)]
#[non_exhaustive]
pub struct Packed {
    /// The files in the archive, in order, without the manifest, which is the last one.
    pub files: Vec<FileEntry>,
    /// Files that were left out: to exclude SQL, or because they are not regular files.
    pub left_out: Vec<String>,
    /// Files that cannot be read, with the cause. The archive lists them as missing.
    pub unreadable: Vec<(String, io::Error)>,
    /// The faults of the bundle. The archive has the same faults.
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
    /// The path does not end like that of a compressed tar archive, so other programs would misunderstand the file.
    #[error("the archive is a compressed tar: expected a name that ends in .tar.gz or .tgz, not {}", path.display())]
    Named {
        /// The path.
        path: PathBuf,
    },
    /// Something already exists at the path.
    #[error("{} already exists: expected the name of a new file", path.display())]
    Exists {
        /// The path of the archive.
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
    /// The same options, with or without SQL.
    #[must_use]
    pub fn without_sql(self, without_sql: bool) -> Self {
        Self { without_sql }
    }
}

/// Writes an archive of the bundle to a new file at `to`, which only its user can access. Growing files, such as those of a running
/// run, are packed with their content at the time they are opened. If it fails, no archive is left.
///
/// # Errors
///
/// When the manifest or a file cannot be read, something exists at `to`, or it cannot be written.
pub fn pack(bundle: &Bundle, to: &Path, options: PackOptions) -> Result<Packed, PackError> {
    if !has_name_of_archive(to) {
        return Err(PackError::Named { path: to.to_owned() });
    }
    let failed = |source| PackError::Write { path: to.to_owned(), source };
    let manifest = Manifest::read(bundle)
        .map_err(|source| PackError::Manifest { dir: bundle.shown(bundle.dir()), source })?;
    let archive = new_file(to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => PackError::Exists { path: to.to_owned() },
        _ => failed(source),
    })?;
    let packed = write(bundle, manifest, BufWriter::new(archive), options, to);
    if packed.is_err() {
        // The first error is the reason; a leftover partial archive would be the lesser problem.
        let _ = std::fs::remove_file(to);
    }
    packed
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    // `create_new`, so that a link that someone has placed at the path is not followed, and an existing archive is never lost
    // because of a mistyped name.
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
    // The manifest is the last one of them, and is rewritten here.
    let manifest_path = files.pop().unwrap_or_default();
    for path in files {
        if options.without_sql && without_sql::is_left_out(&path) {
            packed.left_out.push(path);
            continue;
        }
        let unreadable = |source| PackError::Read { path: bundle.shown(&bundle.dir().join(&path)), source };
        let mut file = match FileBelow::new(bundle.dir(), &path).open() {
            // A run that ends in the meantime removes it.
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
        // Read twice, for the hash and for the archive: the header of an entry precedes its content, and a file of gigabytes is not
        // kept in memory for it.
        (sha256, size_bytes) = sha256_of((&mut file).take(size)).map_err(unreadable)?;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        append(&mut archive, &format!("{folder}/{path}"), file.take(size_bytes), size_bytes)
            .map_err(failed)?;
        packed.files.push(FileEntry { path, size_bytes, sha256: Some(sha256) });
    }
    // The bundle's own list has the hashes from the end of the run. Without SQL, or after `sync`, the files differ, and their
    // recipient would see damage although nothing is wrong.
    manifest.files = listed(&manifest, &packed);
    if options.without_sql {
        manifest = without_sql::strip_manifest(&manifest).map_err(io::Error::from).map_err(failed)?;
    }
    let text = manifest.to_copy(bundle).map_err(io::Error::from).map_err(failed)?;
    append(&mut archive, &format!("{folder}/{manifest_path}"), &*text, text.len() as u64).map_err(failed)?;
    // Finished explicitly instead of by dropping: a drop cannot report that the last block did not fit on the disk, and the archive
    // would be truncated silently.
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
        // Closing the run removes them, so nothing is missing.
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

/// The same bundle results in the same archive: no times and no users.
fn append(archive: &mut Builder<impl Write>, path: &str, content: impl Read, size: u64) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content)
}
