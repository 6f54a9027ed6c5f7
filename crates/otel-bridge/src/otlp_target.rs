//! An OTLP endpoint for one signal, as the variables describe it.

use std::time::Duration;

use daglight_capture_policy::Secret;
use daglight_http_transport::ClientIdentity;

/// An OTLP endpoint for one signal.
#[derive(Debug, Clone)]
pub(crate) struct OtlpTarget {
    pub(crate) protocol: OtlpProtocol,
    /// The whole URL: over HTTP, with the signal's path.
    pub(crate) endpoint: String,
    pub(crate) headers: Vec<(String, Secret)>,
    /// How long a request may take, and the later attempts at it in all.
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    pub(crate) tls: TlsFiles,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtlpProtocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

/// The certificates for one endpoint, as PEM; what is `None` is left to the system.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    /// Whom to trust.
    pub(crate) authorities: Option<Vec<u8>>,
    /// What the client presents.
    pub(crate) identity: Option<ClientIdentity>,
}
