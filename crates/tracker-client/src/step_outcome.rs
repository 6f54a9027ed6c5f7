//! The outcome of a step of a delivery.

use std::{path::PathBuf, time::Duration};

use daglight_run_bundle::outbox::{CursorError, OutboxError};

use crate::call::CallError;

/// Why a delivery has stopped, or is waiting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The outbox cannot be read.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The progress of an earlier delivery cannot be read.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The server does not respond, or rejects the request.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The run's version or start is missing or unreadable in the outbox, and the manifest next to it does not have them either.
    #[error(
        "the outbox {} lacks the version and start of its run, and no manifest beside it contains them: the events stay \
         in the outbox",
        path.display()
    )]
    NoRun {
        /// The outbox.
        path: PathBuf,
    },
    /// A request was cut off, and if the server is still processing it, it would undo the next step.
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

    /// Whether there is a server that responds at all.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self, Self::Call(CallError::ServerFailed { .. } | CallError::Busy { .. }))
    }

    pub(crate) fn timed_out(&self) -> bool {
        matches!(self, Self::Call(error) if error.timed_out())
    }
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It delivered something. `more`: the outbox has more to read at the moment.
    Delivered { more: bool },
    /// There was nothing to deliver.
    UpToDate,
}
