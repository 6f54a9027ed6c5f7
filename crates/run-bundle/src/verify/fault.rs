//! What can be wrong with a bundle.

use std::{fmt, io};

use crate::{layout::MANIFEST, versioned::ReadError, warning::Warning};

/// Something that is wrong with a bundle, in one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The manifest cannot be read, and so nothing can be compared with it.
    Manifest(ReadError),
    /// A file that the manifest lists cannot be read.
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        problem: io::Error,
    },
    /// A file is shorter than it was.
    Shorter {
        /// The file.
        path: String,
        /// Its size by the manifest.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// A file that does not change any more is longer than it was.
    Longer {
        /// The file.
        path: String,
        /// Its size by the manifest.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// A file has another content than it had.
    Changed {
        /// The file.
        path: String,
    },
    /// A file of a run is there that the manifest does not list.
    Unlisted {
        /// The file.
        path: String,
    },
    /// Something is in the folder that no run writes.
    Foreign {
        /// The file or folder.
        path: String,
    },
    /// A file holds what is not of its format.
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The manifest says that the run goes on, and it does not.
    Unclosed {
        /// Whether that is certain. Otherwise nothing shows that its process lives.
        process_is_gone: bool,
    },
    /// A signal file holds fewer items than were written to it.
    Lacking {
        /// The file.
        path: String,
        /// What its items are called.
        items: String,
        /// How many there were at the end of the run, by the manifest; or must be there for what the outbox proves.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// Some of what was recorded did not get into the bundle, as the manifest says.
    Lost {
        /// What is counted: signal and destination.
        account: String,
        /// How much of it, and why.
        lost: String,
    },
    /// The run warned that something of it did not get into the bundle.
    Warned {
        /// The warning in the manifest.
        warning: Warning,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(error) => {
                write!(f, "{error}")?;
                match std::error::Error::source(error) {
                    Some(cause) => write!(f, ": {cause}"),
                    None => Ok(()),
                }
            }
            Self::Unreadable { path, problem } => write!(f, "{path}: cannot be read: {problem}"),
            Self::Shorter { path, expected, found } => {
                write!(f, "{path}: {found} bytes, expected {expected}")
            }
            Self::Longer { path, expected, found } => write!(f, "{path}: {found} bytes, expected {expected}"),
            Self::Changed { path } => write!(f, "{path}: has another SHA-256 than the manifest says"),
            Self::Unlisted { path } => write!(f, "{path}: is not in the manifest"),
            Self::Foreign { path } => write!(f, "{path}: is not a file of a run"),
            Self::Damaged { path, problem } => write!(f, "{path}: {problem}"),
            Self::Lacking { path, items, expected, found } => {
                write!(f, "{path}: {found} {items}, expected {expected}")
            }
            Self::Unclosed { process_is_gone } => {
                let process = if *process_is_gone {
                    "its process has ended"
                } else {
                    "nothing shows that its process lives"
                };
                write!(f, "{MANIFEST}: the run was not closed, and {process}")
            }
            Self::Warned { warning } => write!(f, "the run warned: {warning}"),
            Self::Lost { account, lost } => write!(f, "{account}: {lost}"),
        }
    }
}

impl Fault {
    /// The file that it is about, by its path below the bundle.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Manifest(_) | Self::Unclosed { .. } => Some(MANIFEST),
            Self::Unreadable { path, .. }
            | Self::Shorter { path, .. }
            | Self::Longer { path, .. }
            | Self::Changed { path }
            | Self::Unlisted { path }
            | Self::Foreign { path }
            | Self::Damaged { path, .. }
            | Self::Lacking { path, .. } => Some(path),
            Self::Lost { .. } | Self::Warned { .. } => None,
        }
    }
}
