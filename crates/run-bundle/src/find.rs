//! Looking for bundles below a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use daglight_run_identity::RunId;

use crate::{
    layout::{MANIFEST, RUN_BUNDLE},
    parallel::in_parallel,
};

/// How many levels of folders are searched for bundles.
pub(crate) const MAX_DEPTH: usize = 8;

/// What was found below a folder.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The bundles with their runs, unordered.
    pub(crate) runs: Vec<(RunId, PathBuf)>,
    /// Folders that should be or contain bundles, and may not be read.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
    /// Links to folders, which are not followed.
    pub(crate) links: Vec<PathBuf>,
}

impl Found {
    /// The folders of the bundles, the oldest run first.
    pub(crate) fn into_bundles(mut self) -> impl Iterator<Item = PathBuf> {
        // Run ids are ordered by time.
        self.runs.sort();
        self.runs.into_iter().map(|(_, dir)| dir)
    }
}

/// Looks for bundles below a folder. `run_of` returns the run of a folder that is a bundle.
///
/// # Errors
///
/// When the folder itself cannot be listed.
pub(crate) fn find_below(dir: &Path, run_of: &(dyn Fn(&Path) -> Option<RunId> + Sync)) -> io::Result<Found> {
    let mut found = Found::default();
    let Subfolders { mut folders, links } = subfolders(dir)?;
    found.links.extend(links);
    // Level by level instead of folder by folder: threads that start threads would outnumber the cores by far.
    for level in 1..=MAX_DEPTH {
        let looked_at = in_parallel(&folders, |dir| match run_of(dir) {
            Some(run) => LookedAt::Bundle(run),
            None => match unreadable(dir) {
                Some(cause) => LookedAt::Unreadable(cause),
                // Any other folder that may not be read contains no bundle of this user.
                None if level < MAX_DEPTH => LookedAt::Folders(subfolders(dir).unwrap_or_default()),
                None => LookedAt::Folders(Subfolders::default()),
            },
        });
        let mut below = Vec::new();
        for (folder, looked_at) in folders.into_iter().zip(looked_at) {
            match looked_at {
                LookedAt::Bundle(run) => found.runs.push((run, folder)),
                LookedAt::Folders(Subfolders { folders, links }) => {
                    below.extend(folders);
                    found.links.extend(links);
                }
                LookedAt::Unreadable(cause) => found.unreadable.push((folder, cause)),
            }
        }
        folders = below;
    }
    Ok(found)
}

/// What a folder is.
enum LookedAt {
    Bundle(RunId),
    Folders(Subfolders),
    Unreadable(io::Error),
}

/// Why a folder may not be read whose name is that of a bundle or of a folder with bundles.
fn unreadable(dir: &Path) -> Option<io::Error> {
    let name = dir.file_name()?.to_str()?;
    if name.parse::<RunId>().is_ok() {
        return denied(dir).map(|(_, cause)| cause);
    }
    let cause =
        (name == RUN_BUNDLE).then(|| fs::read_dir(dir).and_then(|_| fs::metadata(dir.join("."))))?.err()?;
    (cause.kind() == io::ErrorKind::PermissionDenied).then_some(cause)
}

/// The file that is needed to tell whether a folder is a bundle and may not be read, and why: a folder may be listed although its
/// files cannot be opened.
pub(crate) fn denied(dir: &Path) -> Option<(PathBuf, io::Error)> {
    let (path, cause) = match fs::read_dir(dir) {
        Ok(_) => (dir.join(MANIFEST), fs::File::open(dir.join(MANIFEST)).err()?),
        Err(cause) => (dir.to_owned(), cause),
    };
    (cause.kind() == io::ErrorKind::PermissionDenied).then_some((path, cause))
}

/// The folders in a folder, and the links to folders.
#[derive(Debug, Default)]
struct Subfolders {
    folders: Vec<PathBuf>,
    links: Vec<PathBuf>,
}

fn subfolders(dir: &Path) -> io::Result<Subfolders> {
    let mut found = Subfolders::default();
    for entry in fs::read_dir(dir)?.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.folders.push(entry.path()),
            Ok(kind) if kind.is_symlink() && entry.path().is_dir() => found.links.push(entry.path()),
            _ => {}
        }
    }
    Ok(found)
}
