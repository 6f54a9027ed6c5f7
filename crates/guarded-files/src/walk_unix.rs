//! Opening a file below a folder, one component at a time, on systems with `openat`.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, FileType, Permissions},
    io::{self, Write as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Component, Path},
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, fsync, mkdirat, openat, renameat, statat, unlinkat},
    io::Errno,
};

use crate::{
    durability::Durability,
    entry::{Entry, EntryKind},
    temporary,
    unfit::{Unfit, check_regular},
};

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// An open folder handle, and a name in that folder.
struct Place {
    folder: OwnedFd,
    name: OsString,
}

/// Opens a regular file for reading, without waiting for the other end of a pipe.
pub(crate) fn open(root: &Path, below: &Path) -> io::Result<File> {
    let place = Place::of(root, below)?;
    place.check_kind()?;
    // Checked again on the open file: the name may refer to something else by now.
    regular(place.open(OFlags::RDONLY)?)
}

/// Opens a regular file for reading and appending, and creates it if it is missing.
pub(crate) fn append(root: &Path, below: &Path) -> io::Result<File> {
    let place = Place::of(root, below)?;
    match place.create(OFlags::RDWR | OFlags::APPEND) {
        // Created exclusively first, because `O_CREAT` alone would follow a link that someone placed there in between.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return created,
    }
    only_one(&place, OFlags::RDWR | OFlags::APPEND)
}

/// Opens an existing regular file for writing from its start.
pub(crate) fn existing(root: &Path, below: &Path) -> io::Result<File> {
    only_one(&Place::of(root, below)?, OFlags::WRONLY)
}

/// Opens a regular file without another hard link.
fn only_one(place: &Place, flags: OFlags) -> io::Result<File> {
    place.check_kind()?;
    let file = regular(place.open(flags)?)?;
    // A hard link is someone else's file under our name: appending would change theirs, and no check for symbolic links detects it.
    if file.metadata()?.nlink() > 1 {
        return Err(Unfit::SeveralNames.into());
    }
    Ok(file)
}

/// Writes a temporary file in the same folder and renames it.
pub(crate) fn replace(root: &Path, below: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let Place { folder, name } = Place::of(root, below)?;
    // In the same folder instead of a temporary one: `rename` works only within a file system.
    let (mut file, beside) = create_beside(&folder, &name)?;
    let written = file
        .write_all(content)
        // Before the rename: otherwise a power failure could leave the new name with an empty file.
        .and_then(|()| durability.make_durable(&file))
        .and_then(|()| Ok(renameat(&folder, &beside, &folder, &name)?));
    if written.is_err() {
        // Removing it may fail as well, but the first error is the one to report.
        let _ = unlinkat(&folder, &beside, AtFlags::empty());
        return written;
    }
    match durability {
        Durability::Process => Ok(()),
        Durability::Disk => sync_folder(&folder),
    }
}

/// Creates a temporary file in the folder of the one that it will replace.
///
/// `tempfile` chooses the name, and another one if that is taken. It cannot do more here: it creates, renames
/// (`NamedTempFile::persist`) and cleans up by path, and anyone who may write to a folder on that path could replace it with a link
/// in between. So it gets a path without a relevant folder, and everything else happens relative to the open folder handle.
fn create_beside(folder: &OwnedFd, name: &OsStr) -> io::Result<(File, OsString)> {
    let beginning = temporary::beginning(name);
    let made = temporary::builder(&beginning)
        .disable_cleanup(true)
        .make_in("/", |path| create_at(folder, path.file_name().ok_or(Unfit::Outside)?, OFlags::WRONLY))?;
    let (file, path) = made.into_parts();
    let name = path.file_name().ok_or(Unfit::Outside)?.to_owned();
    Ok((file, name))
}

/// Makes a rename durable, which is a change of the folder and not of the file.
fn sync_folder(folder: &OwnedFd) -> io::Result<()> {
    match fsync(folder) {
        // The error of file systems that cannot synchronise a folder, such as some network file systems.
        Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        synced => Ok(synced?),
    }
}

/// Removes anything but a folder.
pub(crate) fn remove(root: &Path, below: &Path) -> io::Result<()> {
    Place::of(root, below)?.unlink(AtFlags::empty())
}

/// Removes an empty folder. An empty `below` is the folder itself.
pub(crate) fn remove_folder(root: &Path, below: &Path) -> io::Result<()> {
    Place::of(root, below)?.unlink(AtFlags::REMOVEDIR)
}

/// Creates a private folder, unless it exists.
pub(crate) fn create_folder(root: &Path, below: &Path) -> io::Result<bool> {
    let place = Place::of(root, below)?;
    match mkdirat(&place.folder, &place.name, Mode::from(FOLDER_MODE)) {
        Ok(()) => {
            // The umask may have removed bits of the owner. Some file systems do not support modes.
            let _ =
                rustix::fs::chmodat(&place.folder, &place.name, Mode::from(FOLDER_MODE), AtFlags::empty());
            Ok(true)
        }
        // Opened once to check its type: a link or a file with the name must be an error here, instead of with the first file that
        // is written below it.
        Err(Errno::EXIST) => open_folder(&place.folder, Path::new(&place.name)).map(|_| false),
        Err(error) => Err(error.into()),
    }
}

/// The entries of a folder, unsorted. Links are listed as such.
pub(crate) fn entries(root: &Path, below: &Path) -> io::Result<Vec<Entry>> {
    let mut folder = open_root(root)?;
    for name in names(below)? {
        folder = open_folder(&folder, Path::new(&name))?;
    }
    let mut entries = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        // It may have been deleted in the meantime.
        let Ok(stat) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::RegularFile => {
                EntryKind::File { size_bytes: u64::try_from(stat.st_size).unwrap_or(0) }
            }
            rustix::fs::FileType::Directory => EntryKind::Folder,
            _ => EntryKind::Other,
        };
        entries.push(Entry { name: os_string(name.to_bytes()), kind });
    }
    Ok(entries)
}

/// Opens a file that a user has named; links are followed.
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    // Before opening, as below a folder: opening a tape rewinds it, and opening a FIFO may wake its writer.
    check_regular(std::fs::metadata(path)?.file_type())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    regular(rustix::fs::open(path, flags, Mode::empty())?.into())
}

impl Place {
    fn of(root: &Path, below: &Path) -> io::Result<Self> {
        let mut names = names(below)?;
        let name = names.pop().ok_or(Unfit::Outside)?;
        let mut folder = open_root(root)?;
        for name in names {
            // One component at a time, each relative to the handle of the previous one: a path that is checked and then used again
            // can be changed in between.
            folder = open_folder(&folder, Path::new(&name))?;
        }
        Ok(Self { folder, name })
    }

    /// Rejects what must not even be opened: opening some devices has side effects.
    fn check_kind(&self) -> io::Result<()> {
        let stat = statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
            rustix::fs::FileType::RegularFile => Ok(()),
            rustix::fs::FileType::Directory => Err(Unfit::Folder.into()),
            rustix::fs::FileType::Symlink => Err(Unfit::Link.into()),
            _ => Err(Unfit::Special.into()),
        }
    }

    fn open(&self, flags: OFlags) -> io::Result<File> {
        // Non-blocking, because opening a pipe for reading waits for a writer, and for writing waits for a reader.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(openat(&self.folder, &self.name, flags, Mode::empty())?.into())
    }

    fn create(&self, flags: OFlags) -> io::Result<File> {
        create_at(&self.folder, &self.name, flags)
    }

    fn unlink(&self, flags: AtFlags) -> io::Result<()> {
        Ok(unlinkat(&self.folder, &self.name, flags)?)
    }
}

/// Creates a private file.
fn create_at(folder: &OwnedFd, name: &OsStr, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file: File = openat(folder, name, flags, Mode::from(FILE_MODE))?.into();
    // As for folders.
    let _ = file.set_permissions(Permissions::from_mode(FILE_MODE));
    Ok(file)
}

/// The folder to which everything is relative. A user has given it, so links on the way to it are followed.
fn open_root(root: &Path) -> io::Result<OwnedFd> {
    // A relative path with a single component has an empty parent, which `open` does not accept as the working directory.
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    Ok(rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn open_folder(folder: impl AsFd, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&folder, name, flags, Mode::empty()).map_err(|error| {
        // Systems return different errors for a link here.
        let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_mode);
        match stat.map(rustix::fs::FileType::from_raw_mode) {
            Ok(rustix::fs::FileType::Symlink) => Unfit::Link.into(),
            _ => error.into(),
        }
    })
}

fn names(below: &Path) -> io::Result<Vec<OsString>> {
    let name = |component| match component {
        Component::Normal(name) => Ok(name.to_owned()),
        _ => Err(Unfit::Outside.into()),
    };
    // `..` is rejected instead of resolved: its result depends on links that may change before the path is used.
    below.components().map(name).collect()
}

fn regular(file: File) -> io::Result<File> {
    // Checked on the handle: the name may refer to something else since it was checked, but what was opened is what is read.
    let kind: FileType = file.metadata()?.file_type();
    check_regular(kind)?;
    Ok(file)
}

fn os_string(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes.to_owned())
}
