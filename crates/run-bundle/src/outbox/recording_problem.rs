//! What can go wrong when an event is recorded.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why an event was not recorded properly. The run goes on, and the counts include what is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingProblem {
    /// The event cannot be encoded as a line of the outbox, and is dropped.
    #[error("an event of this run cannot be recorded, and counts as dropped")]
    Refused {
        /// The outbox.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written at the moment, usually because the disk is full.
    #[error(
        "the outbox cannot be written: the run and its delivery to servers go on, and records wait for space; what \
         does not fit into memory is not written; the finish report counts it. Free space there, or choose \
         another folder (--output-dir, DAGLIGHT_OUTPUT_DIR)"
    )]
    Unwritten {
        /// The outbox.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The event is in the file, but would not survive a power failure.
    #[error("the outbox cannot be synchronised with the disk")]
    Unsynced {
        /// The outbox.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl RecordingProblem {
    /// The outbox, and the error from the system.
    pub fn cause(&self) -> (&Path, &io::Error) {
        match self {
            Self::Refused { path, source }
            | Self::Unwritten { path, source }
            | Self::Unsynced { path, source } => (path, source),
        }
    }
}
