//! The possible faults of a bundle.

use std::{fmt, io};

use crate::{layout::MANIFEST, run_state::RunState, versioned::ReadError, warning::Warning};

/// A fault of a bundle, in one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The manifest cannot be read, so nothing can be compared with it.
    Manifest(ReadError),
    /// A file that the manifest lists cannot be read.
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        problem: io::Error,
    },
    /// A file is shorter than before.
    Shorter {
        /// The file.
        path: String,
        /// Its size according to the manifest.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// A file that should no longer change is longer than before.
    Longer {
        /// The file.
        path: String,
        /// Its size according to the manifest.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// The content of a file has changed.
    Changed {
        /// The file.
        path: String,
    },
    /// The manifest does not list an existing file of the run.
    Unlisted {
        /// The file.
        path: String,
    },
    /// The folder contains something that no run writes.
    Foreign {
        /// The file or folder.
        path: String,
    },
    /// A file does not conform to its format.
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// According to the manifest the run is still going, but it is not.
    Unclosed {
        /// How it ended, as far as its other files say.
        state: RunState,
    },
    /// A signal file holds fewer items than were written to it.
    Lacking {
        /// The file.
        path: String,
        /// What its items are called.
        items: String,
        /// How many there were at the end of the run, according to the manifest; or at least how many there must be according to
        /// the outbox.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// Some recorded items did not get into the bundle, according to the manifest.
    Lost {
        /// What is counted: signal and destination.
        account: String,
        /// How much of it, and why.
        lost: String,
    },
    /// The run warned that part of it did not get into the bundle.
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
            Self::Unclosed { state } => match state {
                RunState::ProcessEnded => {
                    write!(f, "{MANIFEST}: the run was not closed, and its process has ended")
                }
                RunState::Unknown | RunState::Running => {
                    write!(f, "{MANIFEST}: the run was not closed, and nothing shows that its process lives")
                }
                RunState::Success | RunState::Failure | RunState::Interrupted => {
                    write!(f, "{MANIFEST}: the run ended ({}), which only the outbox says", state.in_words())
                }
            },
            Self::Warned { warning } => write!(f, "the run warned: {warning}"),
            Self::Lost { account, lost } => write!(f, "{account}: {lost}"),
        }
    }
}

impl Fault {
    /// The affected file, as a path relative to the bundle.
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
