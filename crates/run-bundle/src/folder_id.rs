//! Which folder a path leads to.

use std::{fs, io, path::Path};

/// Identifies a folder for as long as it exists, wherever it is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FolderId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FolderId {
    /// The folder at a path.
    ///
    /// # Errors
    ///
    /// When there is none, or the path cannot be followed.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            #[cfg(unix)]
            device: std::os::unix::fs::MetadataExt::dev(&found),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&found),
        })
    }
}
