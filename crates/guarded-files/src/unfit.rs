//! Why a file is rejected before it is read.

use std::{
    fs::{FileType, Metadata},
    io,
};

/// Why a file must not be read or written. It is the inner error of the returned [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// A symbolic link where none may be followed.
    #[error("it is a symbolic link, and links in a bundle are not followed")]
    Link,
    /// A folder.
    #[error("it is a folder, expected a regular file")]
    Folder,
    /// A pipe, a socket or a device.
    #[error("it is a pipe, a socket or a device, expected a regular file")]
    Special,
    /// A file to be written has another hard link elsewhere.
    #[error("it has more than one hard link, so it is not written to")]
    SeveralNames,
    /// More bytes than such a file may have.
    #[error("it has more than {max_bytes} bytes, which is the limit for such a file")]
    TooLarge {
        /// The limit.
        max_bytes: u64,
    },
    /// Bytes that are not text.
    #[error("it is not valid UTF-8")]
    NotText,
    /// A path that leaves the folder.
    #[error("the path leads out of its folder")]
    Outside,
}

impl From<Unfit> for io::Error {
    fn from(unfit: Unfit) -> Self {
        let kind = match unfit {
            Unfit::TooLarge { .. } => io::ErrorKind::FileTooLarge,
            Unfit::NotText => io::ErrorKind::InvalidData,
            Unfit::Folder => io::ErrorKind::IsADirectory,
            _ => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, unfit)
    }
}

/// Rejects everything but regular files.
pub(crate) fn check_regular(kind: FileType) -> Result<(), Unfit> {
    match kind {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(Unfit::Folder),
        kind if kind.is_symlink() => Err(Unfit::Link),
        _ => Err(Unfit::Special),
    }
}

/// Rejects a file that exceeds the size limit.
pub(crate) fn check_size(metadata: &Metadata, max_bytes: u64) -> Result<(), Unfit> {
    if metadata.len() > max_bytes { Err(Unfit::TooLarge { max_bytes }) } else { Ok(()) }
}
