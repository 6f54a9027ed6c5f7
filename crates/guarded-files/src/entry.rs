//! The entries of a folder.

use std::ffi::OsString;

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// Its type.
    pub kind: EntryKind,
}

/// The type of a folder entry.
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
