//! Reading an archive from an untrusted source.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use daglight_guarded_files::{FileBelow, create_private_folder};
use daglight_run_bundle::Bundle;
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

/// The file extensions of archives from `bundle pack` and from users.
const ENDINGS: [&str; 2] = [".tar.gz", ".tgz"];
/// The first bytes of a gzip file.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The maximum length of a path in bytes: longer ones are stored in an entry before the file, which is read into memory.
const MAX_PATH_BYTES: u64 = 1_024;

/// The maximum compression ratio: the files of runs are compressed to between a fifth and a fiftieth, and only files made to fill
/// disks exceed this.
const MAX_RATIO: u64 = 200;
/// The size up to which the ratio is not checked: 64 MiB.
const FREE_BYTES: u64 = 64 << 20;

/// How many bytes are read to find the name of the first file.
const FIRST_BYTES: u64 = 4_096;

/// The limits for the content of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The total unpacked size in bytes: 8 GiB.
    pub bytes: u64,
    /// The number of files: 100,000.
    pub files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 8 << 30, files: 100_000 }
    }
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// It cannot be read, or is not an archive.
    #[error("cannot read the packed bundle {}", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is not compressed like a packed bundle, or empty.
    #[error("{} is not a packed bundle: expected an archive (.tar.gz) of a bundle, from daglight bundle pack", path.display())]
    NotPacked {
        /// The file.
        path: PathBuf,
    },
    /// A file of it cannot be written.
    #[error("cannot unpack {name}")]
    Write {
        /// The file.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It contains something other than a file of a run.
    #[error("{} holds {name:?}, which is not a file of a run: it was not packed by daglight bundle pack", path.display())]
    Foreign {
        /// The archive.
        path: PathBuf,
        /// The name of the entry.
        name: String,
    },
    /// It exceeds the limits.
    #[error("{} holds more than {} files or {} bytes", path.display(), limits.files, limits.bytes)]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// The limits.
        limits: Limits,
    },
    /// Its compression ratio is higher than that of any bundle.
    #[error("{} holds more than {} times its size, as no packed bundle does", path.display(), MAX_RATIO)]
    Ratio {
        /// The archive.
        path: PathBuf,
    },
    /// It contains no bundle.
    #[error("{} holds no run bundle: it has no manifest of a run", path.display())]
    NoBundle {
        /// The archive.
        path: PathBuf,
    },
}

/// Whether a file is compressed like a packed bundle.
pub fn is_archive(path: &Path) -> bool {
    let mut beginning = [0; MAGIC.len()];
    // Checked first, because reading from a FIFO waits for a writer.
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    is_file
        && File::open(path).and_then(|mut file| file.read_exact(&mut beginning)).is_ok()
        && beginning == MAGIC
}

/// Whether a file has the name of a packed bundle, whatever it contains. One that was cut off may be empty.
pub fn is_named_archive(path: &Path) -> bool {
    // A folder may have any name.
    path.metadata().is_ok_and(|metadata| metadata.is_file()) && has_name_of_archive(path)
}

/// Whether a path ends like that of a packed bundle.
pub(crate) fn has_name_of_archive(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Why a file with the name of an archive from `bundle pack` cannot be opened, so that it is unknown whether it is one. `None` for
/// every other file.
pub fn unopened_archive(path: &Path) -> Option<UnpackError> {
    if !has_name_of_archive(path) {
        return None;
    }
    let source = File::open(path).err().filter(|error| error.kind() != io::ErrorKind::NotFound)?;
    Some(UnpackError::Read { path: path.to_owned(), source })
}

/// The folder in a packed bundle, which is named after its run, according to the first file. `None` if the file is not a packed
/// bundle; whether it is intact is checked by [`unpack`].
pub fn packed_folder(path: &Path) -> Option<String> {
    if !is_archive(path) {
        return None;
    }
    let file = File::open(path).ok()?;
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(file)).take(FIRST_BYTES));
    // Raw, as in `unpack`.
    let first = archive.entries().ok()?.raw(true).next()?.ok()?;
    let name = String::from_utf8_lossy(&first.path_bytes()).into_owned();
    let (folder, below) = name.split_once('/')?;
    (Bundle::is_file_of_a_run(below) && !matches!(folder, "" | "." | "..")).then(|| folder.to_owned())
}

/// Unpacks an archive into a folder, which must be empty and private. If it fails, the folder contains a part of it, and must be
/// discarded.
///
/// # Errors
///
/// When the archive cannot be read, contains anything but the files of one run, or exceeds the limits, or a file cannot be written.
pub fn unpack(path: &Path, into: &Path, limits: Limits) -> Result<Bundle, UnpackError> {
    let unreadable = |source| UnpackError::Read { path: path.to_owned(), source };
    let foreign = |name: &str| UnpackError::Foreign { path: path.to_owned(), name: name.to_owned() };
    let too_large = || UnpackError::TooLarge { path: path.to_owned(), limits };
    let file = File::open(path).map_err(unreadable)?;
    if !is_archive(path) {
        return Err(UnpackError::NotPacked { path: path.to_owned() });
    }
    // The sizes in the archive are not trusted: no more than this is ever decompressed. Headers take 512 bytes per file.
    let expected = file.metadata().map_err(unreadable)?.len().saturating_mul(MAX_RATIO).max(FREE_BYTES);
    let most = limits.bytes.min(expected).saturating_add(limits.files.saturating_mul(4_096));
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(file)).take(most));
    let mut folder: Option<String> = None;
    let mut long_path: Option<String> = None;
    let (mut files, mut bytes, mut seen) = (0, 0_u64, HashSet::new());
    // Raw: otherwise a long path would be read into memory, with any length that it claims.
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let size = entry.size();
        let name = match long_path.take() {
            Some(name) => name,
            None => String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
        };
        match entry.header().entry_type() {
            EntryType::GNULongName if size <= MAX_PATH_BYTES => {
                let mut text = String::new();
                entry.read_to_string(&mut text).map_err(unreadable)?;
                long_path = Some(text.trim_end_matches('\0').to_owned());
                continue;
            }
            EntryType::Regular => {}
            _ => return Err(foreign(&name)),
        }
        files += 1;
        bytes = bytes.saturating_add(size);
        // According to the sizes in the headers, before any content is written. False headers are caught by the limit on
        // decompression, and by `written` below.
        if files > limits.files || bytes > limits.bytes {
            return Err(too_large());
        }
        if bytes > expected {
            return Err(UnpackError::Ratio { path: path.to_owned() });
        }
        let below = name.split_once('/').filter(|(first, below)| {
            let is_first = folder.get_or_insert_with(|| (*first).to_owned()) == first;
            // The folder itself is not written, but its name shows the intention.
            is_first && !matches!(*first, "" | "." | "..") && Bundle::is_file_of_a_run(below)
        });
        // A second entry with the same name would replace the first one after it was checked: a way to hide what an archive
        // installs.
        let Some((_, below)) = below.filter(|(_, below)| seen.insert((*below).to_owned())) else {
            return Err(foreign(&name));
        };
        let mut content = Content { entry: &mut entry, is_broken: false };
        let written = write(into, below, &mut content);
        let written = written.map_err(|source| match content.is_broken {
            true => unreadable(source),
            false => UnpackError::Write { name: name.clone(), source },
        })?;
        if written != size {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    // To the very end, where the checksum of the compression is: otherwise truncation there would go unnoticed.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    let bundle = Bundle::open(into).map_err(|_| UnpackError::NoBundle { path: path.to_owned() })?;
    Ok(bundle.unpacked_from(path))
}

/// The content of a file in the archive, and whether the archive was truncated in it.
struct Content<R> {
    entry: R,
    is_broken: bool,
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.entry.read(to);
        self.is_broken |= read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        read
    }
}

fn write(into: &Path, below: &str, entry: &mut impl Read) -> io::Result<u64> {
    if let Some((folder, _)) = below.rsplit_once('/') {
        create_private_folder(into, folder)?;
    }
    io::copy(entry, &mut FileBelow::new(into, below).append()?)
}
