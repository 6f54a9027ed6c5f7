//! The HTTP client for servers on this machine.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::blocking::Client;

/// A blocking client that goes round any proxy and gives up after 30 seconds.
///
/// # Errors
/// When the client cannot be made.
pub fn http_client() -> Result<Client> {
    // A second call is refused, which is fine: the first one did it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().context("making an HTTP client")
}
