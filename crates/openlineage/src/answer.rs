//! What became of an event that was sent.

use std::time::Duration;

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The destination has it.
    Taken,
    /// The destination does not want it, now or later.
    Refused {
        /// Why, in the same words for all events of that kind.
        reason: String,
        /// What the destination says, or nothing.
        said: String,
    },
    /// It may be sent again.
    Later {
        /// Why.
        error: String,
        /// When, at the earliest.
        after: Option<Duration>,
    },
    /// Nothing can be sent as things are: the configuration is wrong, or the receiver is another one.
    Never {
        /// Why.
        error: String,
    },
}

impl Answer {
    /// With the name of the destination in the error, if it has one.
    pub(crate) fn named(self, destination: &str) -> Self {
        let named = |error: String| format!("{destination}: {error}");
        match self {
            Self::Later { error, after } => Self::Later { error: named(error), after },
            Self::Never { error } => Self::Never { error: named(error) },
            other => other,
        }
    }
}
