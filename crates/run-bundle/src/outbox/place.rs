//! The paths of an outbox: its folder, and the files in it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use daglight_guarded_files::{FileBelow, create_private_folder};

use crate::layout::{OUTBOX, RESERVE};

/// The outbox in a `tracker` folder.
pub fn outbox_path(tracker_dir: &Path) -> PathBuf {
    tracker_dir.join(OUTBOX)
}

/// Removes the reserved space that a killed process left behind. Best effort: if it stays, it only costs space.
pub fn remove_reserve(tracker_dir: &Path) {
    let _ = tracker_file(tracker_dir, RESERVE).remove();
}

/// A file of a `tracker` folder. Neither the file nor the folder may be a link.
pub(super) fn tracker_file(tracker_dir: &Path, name: &str) -> FileBelow {
    FileBelow::deep(&tracker_dir.join(name), 2)
}

/// Creates the folder, which only the user may enter.
pub(super) fn create_folder(tracker_dir: &Path) -> io::Result<()> {
    let (Some(bundle), Some(name)) = (tracker_dir.parent(), tracker_dir.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if !bundle.as_os_str().is_empty() {
        fs::create_dir_all(bundle)?;
    }
    // The parent folders belong to the user and have the permissions that were chosen for them. From here on, folders contain
    // values from the data.
    create_private_folder(bundle, name).map(drop)
}

/// The folders of a bundle, from its `tracker` folder up to the one that contains all bundles.
const BUNDLE_FOLDERS: usize = 4;

/// Makes the directory entries durable that lead to a new file. Best effort: some systems cannot synchronise a folder.
pub(super) fn sync_folders(tracker_dir: &Path) {
    // On most file systems the directory entry of a new file is lost in a power failure unless the folder was synchronised as well
    // (fsync(2)).
    for folder in tracker_dir.ancestors().take(BUNDLE_FOLDERS) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}
