//! Sending one event, whatever the destination is.

use std::time::Duration;

use daglight_capture_policy::in_one_line;
use daglight_http_transport::TransportError;

use crate::{
    answer::Answer,
    http::HttpSender,
    local::{print, write},
    target::Target,
};

/// Requests to a receiver that are open at once.
const MAX_REQUESTS: usize = 16;

/// Sends events to a target. Blocks; it must be made, used and dropped outside of asynchronous code.
pub(crate) enum Sender {
    Http(Box<HttpSender>),
    Local(Target),
}

impl Sender {
    pub(crate) fn new(target: &Target) -> Result<Self, TransportError> {
        Ok(match target {
            Target::Http(target) => Self::Http(Box::new(HttpSender::new(target)?)),
            other => Self::Local(other.clone()),
        })
    }

    /// How many events may be on their way at once: a file has them in their order.
    pub(crate) fn most_at_once(&self) -> usize {
        match self {
            Self::Http(_) => MAX_REQUESTS,
            Self::Local(_) => 1,
        }
    }

    /// Sends an event, a line of JSON, within `limit`.
    pub(crate) fn send(&self, event: &[u8], limit: Duration) -> Answer {
        let written = match self {
            // A message about what waits stands alone, and has to say who is away.
            Self::Http(sender) => return sender.send(event, limit).named(sender.receiver()),
            Self::Local(Target::File { path, append }) => write(path, *append, event),
            Self::Local(_) => print(event),
        };
        match written {
            Ok(()) => Answer::Taken,
            Err(error) => Answer::Later { error: in_one_line(&error), after: None },
        }
    }
}
