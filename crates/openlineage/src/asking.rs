//! Whether a destination is there, asked without an event.

use daglight_capture_policy::in_one_line;
use daglight_http_transport::TransportError;

use crate::{http::HttpSender, local, target::Target};

/// Why no events can be delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoReceiver {
    /// The client cannot be made.
    #[error("cannot set up the connection to the receiver of OpenLineage")]
    Transport(#[from] TransportError),
    /// What the receiver says, or why it says nothing; without credentials.
    #[error("{said}")]
    Answer {
        /// In words.
        said: String,
    },
}

/// Asks a receiver by a request with nothing in it, which no receiver takes for an event: it shows that the address, the path and the
/// key are right. Of a file it shows that events can be written to it. Blocks, and must not be called on a thread of an asynchronous runtime.
///
/// # Errors
/// When the receiver cannot be reached, does not accept this key, or is not such a receiver, or when the file cannot be written.
pub fn check_receiver(target: &Target) -> Result<(), NoReceiver> {
    match target {
        Target::Http(target) => HttpSender::new(target)?.ask().map_err(|said| NoReceiver::Answer { said }),
        Target::File { path, append } => {
            local::check(path, *append).map_err(|error| NoReceiver::Answer { said: in_one_line(&error) })
        }
        Target::Console => Ok(()),
    }
}
