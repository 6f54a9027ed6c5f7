//! Access control: only programs and pages of this machine, with a token if required.
//!
//! A browser lets any page send requests to this machine. So a request for another host name is rejected, because that name may
//! have been made to resolve to this machine (DNS rebinding), and so is a request that was caused by another page.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// The cookie for the token of a browser.
const COOKIE: &str = "daglight_token";
/// The query parameter for the token.
const PARAMETER: &str = "token";
/// The minimum length of a token.
const MIN_CHARS: usize = 8;

/// The secret that a request has to contain.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// A token of letters, digits, `-`, `_` and `.`; at least eight of them. `None` for any other text.
    pub fn new(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        (is_plain && text.len() >= MIN_CHARS).then(|| Self(text.into()))
    }

    /// Whether a text is the token. The time is independent of where they differ.
    fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        // All bytes are compared, so that the time does not reveal how many were right.
        let differing = own.iter().zip(other).fold(0, |differing, (a, b)| differing | (a ^ b));
        own.len() == other.len() && differing == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Passes on requests that are allowed, and adds headers to every response that keep it on this machine.
pub(crate) async fn guarded(State(token): State<Option<Token>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&request, token.as_ref()) {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(request: &Request, token: Option<&Token>) -> Option<Response> {
    let headers = request.headers();
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let allowed = [(header::ALLOW, "GET, HEAD")];
        return Some(
            (StatusCode::METHOD_NOT_ALLOWED, allowed, "these pages can only be read\n").into_response(),
        );
    }
    // The requested host name. A page of another site can make its own name resolve to this machine, which then appears here. If
    // the request line contains an absolute URL, its host takes precedence over the header (RFC 9112, 3.2.2).
    let of_line = request.uri().authority().map(|host| host.as_str());
    let of_header = text(headers, &header::HOST);
    let is_own = of_line.into_iter().chain(of_header).all(is_loopback);
    let Some(host) = of_line.or(of_header).filter(|_| is_own) else {
        let why = "these pages are for this machine alone: ask for 127.0.0.1 or localhost\n";
        return Some((StatusCode::FORBIDDEN, why).into_response());
    };
    // Browsers send requests from any page to any address. Their statement about the origin is the only evidence.
    if is_of_another_page(headers, host) {
        return Some((StatusCode::FORBIDDEN, "another page has asked for this\n").into_response());
    }
    // After the two checks above, which also apply without a token.
    let token = token?;
    let query = request.uri().query().unwrap_or_default();
    let mut named = query.split('&').filter_map(|pair| pair.split_once('='));
    if let Some((_, given)) = named.find(|(name, _)| *name == PARAMETER) {
        return Some(match token.is(&decoded(given)) {
            // The address with the token must not stay in the history.
            true => keep_token(request.uri().path(), &token.0),
            false => unauthorized(),
        });
    }
    let bearer = text(headers, &header::AUTHORIZATION).and_then(of_bearer);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut kept = cookies.flat_map(|value| value.split("; ")).filter_map(|cookie| cookie.split_once('='));
    // The header is for programs, the cookie for the browser that has opened the printed address.
    let is_known = bearer.is_some_and(|given| token.is(given))
        || kept.any(|(name, given)| name == COOKIE && token.is(given));
    (!is_known).then(unauthorized)
}

/// The value of a bearer header; schemes are case-insensitive (RFC 9110, 11.1).
fn of_bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

/// A query value with percent-encoding decoded: `%2D` is `-`. Encodings of characters that are not in tokens are unchanged.
fn decoded(value: &str) -> String {
    let mut parts = value.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(u8::is_ascii_graphic) {
            Some(byte) => text.extend([char::from(byte)].into_iter().chain(part[2..].chars())),
            None => text.extend(['%'].into_iter().chain(part.chars())),
        }
    }
    text
}

fn keep_token(path: &str, token: &str) -> Response {
    // `SameSite=Strict`, so that links on other pages do not carry it; `HttpOnly`, so that a script injected into a page could not
    // read it.
    let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict");
    // One slash: with two, it would be another host.
    let path = format!("/{}", path.trim_start_matches('/'));
    (StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, path)]).into_response()
}

fn unauthorized() -> Response {
    let why = "a token is wanted: open the address that `daglight serve` has printed, or send the header \
               `Authorization: Bearer TOKEN`\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], why).into_response()
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    // With two of them, it is unclear which one counts.
    if values.next().is_some() { None } else { first.to_str().ok() }
}

/// Whether a host is this machine, by a name that cannot be made to resolve elsewhere. The port may differ if it is forwarded.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':').or_else(|| port.is_empty().then_some("0"))),
        None => host.split_once(':').map_or((host, Some("0")), |(name, port)| (name, Some(port))),
    };
    let is_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
    // No other name, even if it currently resolves to this machine: its owner can make it resolve to another one for the browser's
    // next request.
    let is_known = name.eq_ignore_ascii_case("localhost") || ["127.0.0.1", "::1"].contains(&name);
    is_port && is_known
}

/// Whether a page from another origin has caused a request, according to the browser.
fn is_of_another_page(headers: &HeaderMap, host: &str) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    // `none` is an address that was typed or opened from outside. Browsers set the header, and scripts cannot
    // (https://www.w3.org/TR/fetch-metadata/).
    let is_foreign_site = site.is_some_and(|site| site != b"same-origin" && site != b"none");
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let own = format!("http://{host}");
    is_foreign_site || origin.is_some_and(|origin| !origin.eq_ignore_ascii_case(own.as_bytes()))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[track_caller]
    fn check(headers: &[(&str, &str)], path: &str, token: Option<&str>, expected: Option<u16>) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let token = token.map(|token| Token::new(token).unwrap());
        let refused = refusal(&request.body(Body::empty()).unwrap(), token.as_ref());
        assert_eq!(refused.map(|response| response.status().as_u16()), expected, "{headers:?} {path}");
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["127.0.0.1", "127.0.0.1:8123", "localhost:1", "LOCALHOST", "[::1]:80", "[::1]"] {
            check(&[("host", host)], "/", None, None);
        }
        for host in [
            "evil.example",
            "evil.example:8123",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost:x",
            "127.0.0.1:80:80",
            "127.0.0.1@evil.example",
            "192.168.0.1",
            "0.0.0.0",
            "127.0.0.2",
            "[::2]",
            "[::1]x",
            "",
            "localhost.",
        ] {
            check(&[("host", host)], "/", None, Some(403));
        }
        check(&[], "/", None, Some(403));
        check(&[("host", "localhost")], "http://evil.example/", None, Some(403));
        check(&[("host", "evil.example")], "http://localhost/", None, Some(403));
        check(&[("host", "localhost:81")], "http://localhost:81/", None, None);
        check(&[("host", "localhost"), ("host", "evil.example")], "/", None, Some(403));
    }

    #[test]
    fn requests_that_another_page_caused_are_refused() {
        let asked = |header, expected| check(&[("host", "localhost:80"), header], "/", None, expected);
        asked(("origin", "http://localhost:80"), None);
        for origin in
            ["http://evil.example", "null", "https://localhost:80", "http://localhost:81", "http://localhost"]
        {
            asked(("origin", origin), Some(403));
        }
        asked(("sec-fetch-site", "same-origin"), None);
        asked(("sec-fetch-site", "none"), None);
        for site in ["cross-site", "same-site", "x"] {
            asked(("sec-fetch-site", site), Some(403));
        }
    }

    #[test]
    fn nothing_but_reading_is_answered() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
            let request = Request::builder().method(method).header("host", "localhost");
            let refused = refusal(&request.body(Body::empty()).unwrap(), None).unwrap();
            assert_eq!(refused.status(), 405, "{method}");
        }
    }

    #[test]
    fn a_token_is_wanted_in_the_address_a_header_or_the_cookie() {
        const TOKEN: Option<&str> = Some("abcdefgh-1");
        let host = ("host", "localhost");
        check(&[host], "/", TOKEN, Some(401));
        check(&[host], "/?token=abcdefgh-2", TOKEN, Some(401));
        check(&[host], "/?token=abcdefgh-1", TOKEN, Some(303));
        check(&[host, ("authorization", "Bearer abcdefgh-1")], "/", TOKEN, None);
        for authorization in ["bearer abcdefgh-1", "BEARER abcdefgh-1", "Bearer  abcdefgh-1"] {
            check(&[host, ("authorization", authorization)], "/", TOKEN, None);
        }
        for authorization in ["abcdefgh-1", "Basic abcdefgh-1", "Bearer", "Bearerabcdefgh-1"] {
            check(&[host, ("authorization", authorization)], "/", TOKEN, Some(401));
        }
        for path in ["/?token=abcdefgh%2D1", "/?token=abcdefgh%2d1", "/?a=b&token=%61bcdefgh-%31"] {
            check(&[host], path, TOKEN, Some(303));
        }
        for path in ["/?token=abcdefgh%252D1", "/?token=abcdefgh%2", "/?token=%", "/?token=%C3%A4%zz"] {
            check(&[host], path, TOKEN, Some(401));
        }
        check(&[host, ("authorization", "Bearer abcdefgh-")], "/", TOKEN, Some(401));
        check(&[host, ("authorization", "Bearer abcdefgh-11")], "/", TOKEN, Some(401));
        check(&[host, ("cookie", "x=1; daglight_token=abcdefgh-1")], "/", TOKEN, None);
        check(&[host, ("cookie", "x=abcdefgh-1")], "/", TOKEN, Some(401));
        check(&[("host", "evil.example")], "/?token=abcdefgh-1", TOKEN, Some(403));
        assert_eq!(keep_token("//evil.example/", "abcdefgh-1").headers()["location"], "/evil.example/");
        assert!(Token::new("short").is_none() && Token::new("abcdefgh;1").is_none());
        assert!(!format!("{:?}", Token::new("abcdefgh-1")).contains("abcdefgh"));
    }
}
