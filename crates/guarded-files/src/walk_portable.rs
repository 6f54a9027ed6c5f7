//! Opening a file below a folder on systems without `openat`: every component is checked, and then the path is used.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Component, Path, PathBuf},
};

use crate::{
    durability::Durability,
    entry::{Entry, EntryKind},
    temporary,
    unfit::{Unfit, check_regular},
};

pub(crate) fn open(root: &Path, below: &Path) -> io::Result<File> {
    let path = checked(root, below)?;
    check_regular(fs::symlink_metadata(&path)?.file_type())?;
    File::open(path)
}

pub(crate) fn append(root: &Path, below: &Path) -> io::Result<File> {
    let path = checked(root, below)?;
    let mut options = File::options();
    options.read(true).append(true);
    match options.clone().create_new(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return created,
    }
    check_regular(fs::symlink_metadata(&path)?.file_type())?;
    options.open(path)
}

pub(crate) fn existing(root: &Path, below: &Path) -> io::Result<File> {
    let path = checked(root, below)?;
    check_regular(fs::symlink_metadata(&path)?.file_type())?;
    File::options().write(true).open(path)
}

/// The folder is not synchronised: without `openat` there is no folder handle for that either.
pub(crate) fn replace(root: &Path, below: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let path = checked(root, below)?;
    let beginning = temporary::beginning(path.file_name().unwrap_or_default());
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut beside = temporary::builder(&beginning).tempfile_in(folder)?;
    beside.write_all(content)?;
    durability.make_durable(beside.as_file())?;
    beside.persist(&path)?;
    Ok(())
}

pub(crate) fn remove(root: &Path, below: &Path) -> io::Result<()> {
    fs::remove_file(checked(root, below)?)
}

pub(crate) fn remove_folder(root: &Path, below: &Path) -> io::Result<()> {
    fs::remove_dir(checked(root, below)?)
}

pub(crate) fn create_folder(root: &Path, below: &Path) -> io::Result<bool> {
    let path = checked(root, below)?;
    match fs::create_dir(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::symlink_metadata(&path)?.file_type() {
                kind if kind.is_dir() => Ok(false),
                kind if kind.is_symlink() => Err(Unfit::Link.into()),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

pub(crate) fn entries(root: &Path, below: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(checked(root, below)?)?.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        let kind = match metadata.file_type() {
            kind if kind.is_file() => EntryKind::File { size_bytes: metadata.len() },
            kind if kind.is_dir() => EntryKind::Folder,
            _ => EntryKind::Other,
        };
        entries.push(Entry { name: entry.file_name(), kind });
    }
    Ok(entries)
}

pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    check_regular(fs::metadata(path)?.file_type())?;
    File::open(path)
}

fn checked(root: &Path, below: &Path) -> io::Result<PathBuf> {
    let mut path = root.to_owned();
    let mut components = below.components().peekable();
    while let Some(component) = components.next() {
        let Component::Normal(name) = component else { return Err(Unfit::Outside.into()) };
        path.push(name);
        if components.peek().is_some() && fs::symlink_metadata(&path)?.file_type().is_symlink() {
            return Err(Unfit::Link.into());
        }
    }
    Ok(path)
}
