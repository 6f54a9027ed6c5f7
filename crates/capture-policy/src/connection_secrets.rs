//! The credentials of connections, which a server or a proxy may repeat in its responses.

use std::env;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;

use crate::{
    credentials::{Authority, authority},
    redact::Redactor,
};

/// The variables for proxies; each is also read in lower case.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"];

impl Redactor {
    /// A redactor for the responses of a connection: it knows the values of the headers that are sent, and the credentials in `url`
    /// and in the proxies from the environment.
    pub fn of_connection<'v>(headers: impl IntoIterator<Item = &'v str>, url: &str) -> Self {
        let redactor = Self::default();
        headers.into_iter().for_each(|value| redactor.hide_header(value));
        redactor.hide_url(url);
        redactor.hide_proxies();
        redactor
    }

    /// Hides the value of a header from now on, and the credential in it: the token after `Bearer`, or user and password after
    /// `Basic`. See [`Redactor::hide`].
    pub fn hide_header(&self, value: &str) {
        let value = value.trim();
        self.hide(value);
        let Some((scheme, token)) = value.split_once(' ') else { return };
        self.hide(token.trim());
        let decoded =
            BASE64_STANDARD.decode(token.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(pair) = decoded.filter(|_| scheme.eq_ignore_ascii_case("basic")) {
            self.hide_user(&pair);
        }
    }

    /// Hides the user and password of a URL from now on, everywhere.
    pub fn hide_url(&self, url: &str) {
        let Some((_, place)) = url.split_once("://") else { return };
        let Authority { user, .. } = authority(place);
        let Some(pair) = user.map(|range| &place[range]) else { return };
        self.hide_user(pair);
        let decoded = percent_decode_str(pair).decode_utf8_lossy();
        if decoded != pair {
            self.hide_user(&decoded);
        }
        // The form in which a client sends it to a proxy.
        self.hide(&BASE64_STANDARD.encode(decoded.as_bytes()));
    }

    /// Hides the user and password of the proxies from the environment from now on.
    #[expect(
        clippy::disallowed_methods,
        reason = "hides what the HTTP client reads from the variables of the process"
    )]
    pub fn hide_proxies(&self) {
        for name in PROXIES {
            for name in [name.to_owned(), name.to_lowercase()] {
                if let Ok(url) = env::var(name) {
                    // The address of a proxy may lack a scheme.
                    let url = if url.contains("://") { url } else { format!("http://{url}") };
                    self.hide_url(&url);
                }
            }
        }
    }

    /// `user:password`, or only a token.
    fn hide_user(&self, pair: &str) {
        self.hide(pair);
        if let Some((_, password)) = pair.split_once(':') {
            self.hide(password);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_sends_is_not_shown_when_it_comes_back() {
        let headers = ["Basic YW5uOmh1bnRlcg==", "Bearer zqmk token", "plainword", "x"];
        let redactor = Redactor::of_connection(headers, "https://me:p%40ss%2Fword@host/x");
        for said in [
            "YW5uOmh1bnRlcg==",
            "ann:hunter",
            "hunter",
            "zqmk token",
            "plainword",
            "me:p%40ss%2Fword",
            "p@ss/word",
        ] {
            let shown = redactor.text(&format!("you sent '{said}', x"));
            assert_eq!(shown, "you sent '[redacted]', x", "{said}");
        }
    }
}
