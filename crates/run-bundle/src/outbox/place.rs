//! Where an outbox is: its folder, and the files in it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use daglight_guarded_files::{FileBelow, create_private_folder};

use crate::layout::{OUTBOX, RESERVE};

/// The outbox of a `tracker` folder.
pub fn outbox_path(tracker_dir: &Path) -> PathBuf {
    tracker_dir.join(OUTBOX)
}

/// Removes what a process that was killed has left behind to keep space for the end of its run. Best effort: what stays
/// costs space and nothing else.
pub fn remove_reserve(tracker_dir: &Path) {
    let _ = tracker_file(tracker_dir, RESERVE).remove();
}

/// A file of a `tracker` folder. Neither the file nor the folder may be a link.
pub(super) fn tracker_file(tracker_dir: &Path, name: &str) -> FileBelow {
    FileBelow::deep(&tracker_dir.join(name), 2)
}

/// Makes the folder, which nobody but the user may enter.
pub(super) fn create_folder(tracker_dir: &Path) -> io::Result<()> {
    let (Some(bundle), Some(name)) = (tracker_dir.parent(), tracker_dir.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    if !bundle.as_os_str().is_empty() {
        fs::create_dir_all(bundle)?;
    }
    // The folders above are the user's and have the rights that were chosen for them. From here on they hold values of the data.
    create_private_folder(bundle, name).map(drop)
}

/// The folders of a bundle, from its `tracker` folder up to the one that all bundles are in.
const BUNDLE_FOLDERS: usize = 4;

/// Makes the entries durable that lead to a new file. Best effort: some systems cannot synchronise a folder.
pub(super) fn sync_folders(tracker_dir: &Path) {
    // A new file is an entry of its folder, and on most file systems it is gone after a loss of power unless the
    // folder was synchronised as well (fsync(2)).
    for folder in tracker_dir.ancestors().take(BUNDLE_FOLDERS) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}
