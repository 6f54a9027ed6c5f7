//! HTTP for the clients of Daglight, in one place.
//!
//! | module | decides |
//! |---|---|
//! | [`Trust`], [`ClientIdentity`] | which servers are trusted, and what the client presents |
//! | [`client_builder`] | proxies (none for this machine), redirects (none), the user agent |
//! | [`Backoff`], [`retry_after`] | how long to wait before the next attempt |
//! | [`whole_body`], [`beginning_of_body`] | how much of an answer is read |
//! | [`gzipped`], [`GzipOffer`] | compressed requests |
//! | [`shown_url`] | what of a URL may be shown |
//! | [`connection_error`] | what an error of a connection says about proxies |
//!
//! The HTTP client is that of `reqwest`, even in public signatures, because a client is what users of this crate want. Errors and
//! TLS types are not exposed: [`TransportError`] has them as sources.
//!
//! What is sent, and the interpretation of responses, belongs to `daglight-tracker-client` and `daglight-otel-bridge`.

mod client;
mod tls;
mod system_roots;
mod pem;
mod header;
mod error;
mod proxy;

mod gzip;
mod body;
mod backoff;
mod retry_after;
mod url;

pub use backoff::Backoff;
pub use body::{BodyError, beginning_of_body, whole_body};
pub use client::{USER_AGENT, build, client_builder, execute, is_loopback, on_own_thread, took_too_long};
pub use error::TransportError;
pub use gzip::{GzipOffer, gzipped};
pub use header::secret_header;
pub use pem::{MAX_CERTIFICATE_BYTES, PemError, check_certificates, check_key};
pub use proxy::connection_error;
pub use retry_after::{MAX_RETRY_AFTER, retry_after};
pub use system_roots::check_system_roots;
pub use tls::{Authorities, ClientIdentity, Trust};
pub use url::shown_url;
