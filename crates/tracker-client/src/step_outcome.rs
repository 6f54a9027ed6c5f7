//! What became of a step of a delivery.

use std::{path::PathBuf, time::Duration};

use daglight_run_bundle::outbox::{CursorError, OutboxError};

use crate::call::CallError;

/// Why a delivery stopped, or waits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The outbox cannot be read.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The progress of an earlier delivery cannot be read.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The server does not answer, or refuses.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The run's version or start is missing in the outbox, or its line cannot be read, and the manifest beside it does not
    /// have them either.
    #[error(
        "the outbox {} lacks the version and start of its run, and no manifest beside it contains them: the events stay \
         in the outbox",
        path.display()
    )]
    NoRun {
        /// The outbox.
        path: PathBuf,
    },
    /// A request was cut off, and what comes next would be undone if the server is still at it.
    #[error("waiting until a request that was cut off can no longer take effect")]
    InFlight,
}

impl DeliveryError {
    /// Whether the same step may succeed later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Call(error) => error.is_temporary(),
            Self::InFlight => true,
            Self::Outbox(_) | Self::Cursor(_) | Self::NoRun { .. } => false,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether there is a server that answers at all.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Call(CallError::ServerFailed { .. } | CallError::Busy { .. }))
    }

    pub(crate) fn timed_out(&self) -> bool {
        matches!(self, Self::Call(error) if error.timed_out())
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It delivered something. `more`: the outbox has more to read right now.
    Delivered { more: bool },
    /// There was nothing to deliver.
    UpToDate,
}
