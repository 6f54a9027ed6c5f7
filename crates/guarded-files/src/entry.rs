//! What is in a folder.

use std::ffi::OsString;

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is.
    pub kind: EntryKind,
}

/// What is in a folder under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its size.
        size_bytes: u64,
    },
    /// A folder.
    Folder,
    /// A link, a pipe, a socket or a device.
    Other,
}
