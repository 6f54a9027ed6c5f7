//! Why a client cannot be created.

use std::{error::Error, io, path::PathBuf};

/// The cause of a [`TransportError`], from any library.
type Cause = Box<dyn Error + Send + Sync>;

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// A file of certificates or of a key contains none, or could not be read.
    #[error("cannot read the certificates for TLS")]
    Certificates {
        /// The cause.
        source: Cause,
    },
    /// The path in a variable cannot contain certificates.
    #[error("{variable} names {}, which cannot be read for the certificates of TLS", path.display())]
    Variable {
        /// The variable.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// TLS could not be set up, for example because the system has no certificates.
    #[error("cannot set up TLS")]
    Tls {
        /// The cause.
        source: Cause,
    },
    /// The HTTP client could not be built.
    #[error("cannot build the HTTP client")]
    Client {
        /// The cause.
        source: Cause,
    },
    /// The thread that builds the client could not be started.
    #[error("cannot start a thread to build the client")]
    Thread {
        /// The cause.
        source: io::Error,
    },
    /// The thread that builds the client panicked.
    #[error("the thread that builds the client panicked")]
    Panicked,
}

impl TransportError {
    pub(crate) fn certificates(source: impl Into<Cause>) -> Self {
        Self::Certificates { source: source.into() }
    }

    pub(crate) fn tls(source: impl Into<Cause>) -> Self {
        Self::Tls { source: source.into() }
    }
}
