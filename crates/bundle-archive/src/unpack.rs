//! Reading an archive that anyone may have made.

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

/// How the archives are called that `bundle pack` and people make.
const ENDINGS: [&str; 2] = [".tar.gz", ".tgz"];
/// The first bytes of a file under gzip.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Bytes of a path: longer ones have an entry of their own in front, which is read into memory.
const MAX_PATH_BYTES: u64 = 1_024;

/// How many times its size an archive may hold: files of runs have a fifth to a fiftieth of it, and only what was made to fill
/// disks has more than this.
const MAX_RATIO: u64 = 200;
/// Bytes up to which a ratio says nothing: 64 MiB.
const FREE_BYTES: u64 = 64 << 20;

/// Bytes in which the name of the first file is found.
const FIRST_BYTES: u64 = 4_096;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all, unpacked: 8 GiB.
    pub bytes: u64,
    /// Files: 100,000.
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
    /// A file of it cannot be written.
    #[error("cannot unpack {name}")]
    Write {
        /// The file.
        name: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It holds something that is not a file of a run.
    #[error("{} holds {name:?}, which is not a file of a run: it was not packed by daglight bundle pack", path.display())]
    Foreign {
        /// The archive.
        path: PathBuf,
        /// The name of the entry.
        name: String,
    },
    /// It holds more than it may.
    #[error("{} holds more than {} files or {} bytes", path.display(), limits.files, limits.bytes)]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// The limits.
        limits: Limits,
    },
    /// It holds many times more than its size, as no bundle does.
    #[error("{} holds more than {} times its size, as no packed bundle does", path.display(), MAX_RATIO)]
    Ratio {
        /// The archive.
        path: PathBuf,
    },
    /// It holds no bundle.
    #[error("{} holds no run bundle: it has no manifest of a run", path.display())]
    NoBundle {
        /// The archive.
        path: PathBuf,
    },
}

/// Whether a file is compressed as a packed bundle is.
pub fn is_archive(path: &Path) -> bool {
    let mut beginning = [0; MAGIC.len()];
    // Asked first, because reading from a FIFO waits for somebody to write into it.
    let is_file = path.metadata().is_ok_and(|metadata| metadata.is_file());
    is_file
        && File::open(path).and_then(|mut file| file.read_exact(&mut beginning)).is_ok()
        && beginning == MAGIC
}

/// Why a file that is called as an archive of `bundle pack` cannot be opened, so that nobody knows whether it is one. `None` for every
/// other file.
pub fn unopened_archive(path: &Path) -> Option<UnpackError> {
    let name = path.file_name()?.to_string_lossy();
    if !ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return None;
    }
    let source = File::open(path).err().filter(|error| error.kind() != io::ErrorKind::NotFound)?;
    Some(UnpackError::Read { path: path.to_owned(), source })
}

/// The folder that a packed bundle holds, which is named after its run, by the first of its files. `None` where a file is not a packed
/// bundle; whether all of it is whole is for [`unpack`] to say.
pub fn packed_folder(path: &Path) -> Option<String> {
    if !is_archive(path) {
        return None;
    }
    let file = File::open(path).ok()?;
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(file)).take(FIRST_BYTES));
    // Raw, as `unpack` reads them.
    let first = archive.entries().ok()?.raw(true).next()?.ok()?;
    let name = String::from_utf8_lossy(&first.path_bytes()).into_owned();
    let (folder, below) = name.split_once('/')?;
    (Bundle::is_file_of_a_run(below) && !matches!(folder, "" | "." | "..")).then(|| folder.to_owned())
}

/// Unpacks an archive into a folder, which is empty and its user's alone. Where it fails, the folder holds a part of it, and is to
/// be thrown away.
///
/// # Errors
///
/// When the archive cannot be read, holds anything but the files of one run, or more than the limits, or a file cannot be
/// written.
pub fn unpack(path: &Path, into: &Path, limits: Limits) -> Result<Bundle, UnpackError> {
    let unreadable = |source| UnpackError::Read { path: path.to_owned(), source };
    let foreign = |name: &str| UnpackError::Foreign { path: path.to_owned(), name: name.to_owned() };
    let too_large = || UnpackError::TooLarge { path: path.to_owned(), limits };
    let file = File::open(path).map_err(unreadable)?;
    // What the archive says of sizes is not believed: no more than this is ever decompressed. Headers are 512 bytes a file.
    let expected = file.metadata().map_err(unreadable)?.len().saturating_mul(MAX_RATIO).max(FREE_BYTES);
    let most = limits.bytes.min(expected).saturating_add(limits.files.saturating_mul(4_096));
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(file)).take(most));
    let mut folder: Option<String> = None;
    let mut long_path: Option<String> = None;
    let (mut files, mut bytes, mut seen) = (0, 0_u64, HashSet::new());
    // Raw: otherwise a long path is read into memory, however long it says it is.
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
        // By the sizes in the headers, before a byte of the content is written. Headers that lie about them are caught
        // by the limit on what is decompressed, and by `written` below.
        if files > limits.files || bytes > limits.bytes {
            return Err(too_large());
        }
        if bytes > expected {
            return Err(UnpackError::Ratio { path: path.to_owned() });
        }
        let below = name.split_once('/').filter(|(first, below)| {
            let is_first = folder.get_or_insert_with(|| (*first).to_owned()) == first;
            // The folder is not among the paths that are written, but its name shows what was meant.
            is_first && !matches!(*first, "" | "." | "..") && Bundle::is_file_of_a_run(below)
        });
        // A second entry of one name would replace the first after it was checked, which is how archives hide what
        // they install.
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
    // To its very end, where the checksum of the compression is: an archive that was cut there is not whole.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    let bundle = Bundle::open(into).map_err(|_| UnpackError::NoBundle { path: path.to_owned() })?;
    Ok(bundle.unpacked_from(path))
}

/// The content of a file in the archive, and whether the archive broke off in it.
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
