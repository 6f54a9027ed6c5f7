//! The proxy of a request, for the errors of connections.

use std::error::Error;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use crate::{client::is_loopback, url::shown_url};

/// A connection through a proxy has failed: either the proxy cannot be reached, or the server from there.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy} ({variables})")]
struct ThroughProxy {
    /// The URL of the proxy, without its credentials.
    proxy: String,
    /// The variables of the environment that may name it.
    variables: &'static str,
    source: reqwest::Error,
}

/// Why a request to the server of `url` failed, without that URL, which may contain credentials, but with the proxy that the
/// environment names for it: most errors of a connection through a proxy are those of the proxy.
pub fn connection_error(error: reqwest::Error, url: &Url) -> Box<dyn Error + Send + Sync> {
    let source = error.without_url();
    match proxy_of(url, &Matcher::from_system()) {
        Some(proxy) => {
            let variables =
                if url.scheme() == "https" { "HTTPS_PROXY or ALL_PROXY" } else { "HTTP_PROXY or ALL_PROXY" };
            Box::new(ThroughProxy { proxy, variables, source })
        }
        None => Box::new(source),
    }
}

/// The proxy for a server, as [`client_builder`](crate::client_builder) uses it.
fn proxy_of(url: &Url, environment: &Matcher) -> Option<String> {
    let uri = url.as_str().parse().ok().filter(|_| !is_loopback(url))?;
    let proxy = environment.intercept(&uri)?.uri().to_string();
    Some(shown_url(proxy.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_of_a_server_is_shown_without_its_credentials() {
        let environment = Matcher::builder()
            .http("http://me:hunter2@proxy:3128")
            .https("socks5h://me:hunter2@10.0.0.1:1080")
            .no("near.example")
            .build();
        let proxy = |url: &str| proxy_of(&Url::parse(url).unwrap(), &environment);
        assert_eq!(proxy("http://backend:8241/api?x=y").as_deref(), Some("http://proxy:3128"));
        assert_eq!(proxy("https://backend").as_deref(), Some("socks5h://10.0.0.1:1080"));
        for url in ["http://near.example/", "http://127.0.0.1:1/", "http://localhost"] {
            assert_eq!(proxy(url), None, "{url}");
        }
        assert_eq!(proxy_of(&Url::parse("http://backend").unwrap(), &Matcher::builder().build()), None);
    }
}
