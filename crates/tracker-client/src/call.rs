//! A single request to the server, and its possible outcomes.

use std::{
    error::Error,
    io::{self, BufReader, Read as _},
    time::{Duration, SystemTime},
};

use daglight_http_transport::{
    Backoff, BodyError, GzipOffer, beginning_of_body, execute, retry_after, took_too_long, whole_body,
};
use reqwest::{
    StatusCode,
    blocking::{RequestBuilder, Response},
};
use serde::de::{DeserializeOwned, Error as _};

use crate::connection::{Connection, remedy};

const MAX_MESSAGE_CHARS: usize = 300;

/// The maximum number of bytes read of an error response: more than the page of a server in debug mode.
const MAX_REFUSAL_BYTES: u64 = 1 << 20;

/// The maximum number of bytes read of a response, 64 MiB after decompression: it is held in memory as a whole. A list of 10,000
/// runs has about 20 MiB.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// The maximum size of a response that is parsed as it arrives, 1 GiB: most of it is skipped.
const MAX_STREAM_BYTES: u64 = 1 << 30;

/// The pauses between attempts if a server is unreachable or busy.
pub(crate) const fn new_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
}

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The connection failed: the server has not seen the request.
    #[error("{call}: no connection to {server}")]
    Unreachable {
        /// The request.
        call: &'static str,
        /// The server's base URL.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The response did not arrive completely: the request may or may not have been carried out.
    #[error("{call}: no answer from {server}")]
    NoAnswer {
        /// The request.
        call: &'static str,
        /// The server's base URL.
        server: String,
        /// Whether it timed out, so that the server may still be processing it.
        timed_out: bool,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server had an internal problem; the request may or may not have been carried out.
    #[error("{call}: the server failed with {status}: {message}")]
    ServerFailed {
        /// The request.
        call: &'static str,
        /// The HTTP status, of 500 and above.
        status: u16,
        /// The message of the server.
        message: String,
        /// When the server asks for a retry.
        retry_after: Option<Duration>,
    },
    /// The server is busy, and has not carried out the request.
    #[error("{call}: the server is busy ({status})")]
    Busy {
        /// The request.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// When the server asks for a retry.
        retry_after: Option<Duration>,
    },
    /// The server rejects this request permanently.
    #[error("{call}: refused with {status}: {message}; {remedy}")]
    Refused {
        /// The request.
        call: &'static str,
        /// The HTTP status, below 500.
        status: u16,
        /// The message of the server.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// The server is of another kind: it does not answer as a Hamilton server does when it is asked for a sign of life.
    #[error(
        "{server} is not a Hamilton server: its answer to GET {server}/api/v1/phone_home is {found}, and that of a Hamilton server a \
         JSON object with a `message`; set tracker.api_url (HAMILTON_API_URL) to the address of one, and check proxies in between"
    )]
    OtherServer {
        /// The server's base URL.
        server: String,
        /// The answer, in words.
        found: String,
        /// Why it is not that of a Hamilton server, where its status does not say so.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The response is not one that a Hamilton server sends.
    #[error(
        "{call}: the answer of {server} is not that of a Hamilton server: check tracker.api_url, and proxies in between"
    )]
    Garbage {
        /// The request.
        call: &'static str,
        /// The server's base URL.
        server: String,
        /// The problem with it.
        #[source]
        source: serde_json::Error,
    },
}

impl CallError {
    /// Whether the request may have been carried out.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::ServerFailed { .. } | Self::Garbage { .. })
    }

    /// Whether the server, or a proxy in front of it, may still carry out the request later. It reports that its database is locked
    /// only after it has given up.
    pub(crate) fn may_commit_late(&self) -> bool {
        self.is_ambiguous() && !self.is_locked()
    }

    fn is_locked(&self) -> bool {
        // SQLite reports this after its own timeout, with the transaction rolled back: nothing of the request will be carried out.
        matches!(self, Self::ServerFailed { message, .. } if message.contains("database is locked"))
    }

    /// Whether no server was reachable at the address, so that the next one there may be another.
    pub(crate) fn was_away(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the server does not have the object of the request.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::OtherServer { .. })
    }

    /// Whether servers of any kind answer like this, so that it may not be a Hamilton server.
    pub(crate) fn may_be_of_other_server(&self) -> bool {
        matches!(self, Self::Refused { status: 404 | 405, .. } | Self::Garbage { .. })
    }

    /// The same error for a request that every Hamilton server carries out for everybody.
    pub(crate) fn of_sign_of_life(self, server: &str) -> Self {
        let (found, source) = match self {
            Self::Refused { status: status @ (404 | 405), .. } => (format!("the status {status}"), None),
            Self::Garbage { source, .. } => ("something else".to_owned(), Some(source)),
            other => return other,
        };
        Self::OtherServer { server: server.to_owned(), found, source }
    }

    /// Whether the problem is the content, as opposed to the sender or the address.
    pub(crate) fn is_about_payload(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 413 | 422, .. })
    }

    /// Whether the server failed for a reason that may be the content.
    pub(crate) fn may_be_about_payload(&self) -> bool {
        matches!(self, Self::ServerFailed { status: 500, .. }) && !self.is_locked()
    }

    /// Whether the server, or one behind a proxy, may still be processing the request.
    pub(crate) fn may_go_on(&self) -> bool {
        // These two come from a proxy that gave up waiting. Its server may not have.
        matches!(self, Self::NoAnswer { .. } | Self::ServerFailed { status: 502 | 504, .. })
    }

    pub(crate) fn timed_out(&self) -> bool {
        matches!(self, Self::NoAnswer { timed_out: true, .. })
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ServerFailed { retry_after, .. } | Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Sends requests, and names them in errors.
pub(crate) struct Caller<'a> {
    pub(crate) call: &'static str,
    pub(crate) connection: &'a Connection,
    pub(crate) gzip: &'a GzipOffer,
}

impl Caller<'_> {
    /// Sends a request and parses its response as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let body = self.body(request)?;
        serde_json::from_slice(&body).map_err(|source| self.garbage(source))
    }

    /// Sends a request whose response is empty.
    pub(crate) fn nothing(&self, request: RequestBuilder) -> Result<(), CallError> {
        let body = self.body(request)?;
        // A proxy that requires a login responds with 200 and a page. If that counted as success, the records would count as
        // delivered.
        if body.is_empty() { Ok(()) } else { Err(self.other_answer("an empty answer was expected")) }
    }

    /// Sends a request and parses its response as JSON while it arrives, without holding all of it.
    pub(crate) fn json_stream<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let answer = BufReader::new(self.answer(request)?.take(MAX_STREAM_BYTES));
        serde_json::from_reader(answer)
            .map_err(|error| if error.is_io() { self.broken(error) } else { self.garbage(error) })
    }

    /// Sends a request and reads its whole response, whose limit applies after decompression.
    fn body(&self, request: RequestBuilder) -> Result<Vec<u8>, CallError> {
        whole_body(self.answer(request)?, MAX_ANSWER_BYTES).map_err(|error| match error {
            BodyError::CutOff { source } => self.interrupted(source),
            too_long => self.garbage(serde_json::Error::custom(too_long)),
        })
    }

    /// The id in a response, where the API document also allows none.
    pub(crate) fn id(&self, id: Option<i64>) -> Result<i64, CallError> {
        id.ok_or_else(|| self.garbage(serde_json::Error::missing_field("id")))
    }

    /// A response that can be parsed, but is not valid for this request.
    pub(crate) fn other_answer(&self, what: &'static str) -> CallError {
        self.garbage(serde_json::Error::custom(what))
    }

    /// Sends a request that must succeed.
    #[expect(
        clippy::disallowed_methods,
        reason = "a pause may be given as a date: it counts from the answer"
    )]
    pub(crate) fn answer(&self, request: RequestBuilder) -> Result<Response, CallError> {
        let response = self.send(request).map_err(|error| self.failed(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let (call, code) = (self.call, status.as_u16());
        // Both mean that nothing was done, although they are in the class of client errors.
        if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) {
            return Err(CallError::Busy { call, status: code, retry_after });
        }
        // The message is only helpful for people: without it, the status still counts.
        let body = beginning_of_body(response, MAX_REFUSAL_BYTES);
        let message = message(&self.connection.without_credentials(&String::from_utf8_lossy(&body)));
        if status.is_server_error() {
            return Err(CallError::ServerFailed { call, status: code, message, retry_after });
        }
        Err(CallError::Refused { call, status: code, message, remedy: remedy(self.connection, code) })
    }

    /// Sends a request, compressed if the server supports that.
    fn send(&self, request: RequestBuilder) -> reqwest::Result<Response> {
        let (client, request) = request.build_split();
        let request = request?;
        // A server that does not support the encoding responds with 400 or 415 before it reads the body, so it is safe to send the
        // request again.
        if let Some(compressed) = self.gzip.compress(&request) {
            let response = execute(&client, compressed, self.connection.request_limit())?;
            if !self.gzip.is_refused(&response) {
                return Ok(response);
            }
        }
        let response = execute(&client, request, self.connection.request_limit())?;
        self.gzip.learn(response.headers());
        Ok(response)
    }

    fn failed(&self, error: reqwest::Error) -> CallError {
        let (call, server) = (self.call, self.connection.api_url().to_owned());
        let timed_out = error.is_timeout();
        // There was no connection, so the server cannot have seen the request: this is the only failure after which a create may be
        // repeated without asking.
        let is_connect = error.is_connect();
        let source = self.connection.error(error);
        if is_connect {
            return CallError::Unreachable { call, server, source };
        }
        CallError::NoAnswer { call, server, timed_out, source }
    }

    /// The response ended early.
    fn broken(&self, error: serde_json::Error) -> CallError {
        self.interrupted(error.into())
    }

    fn interrupted(&self, error: io::Error) -> CallError {
        let timed_out = took_too_long(&error);
        let server = self.connection.api_url().to_owned();
        CallError::NoAnswer { call: self.call, server, timed_out, source: error.into() }
    }

    fn garbage(&self, source: serde_json::Error) -> CallError {
        CallError::Garbage { call: self.call, server: self.connection.api_url().to_owned(), source }
    }
}

/// The message in the body of an error response: the `detail` of its JSON, or the last line of a stack trace or page.
fn message(body: &str) -> String {
    let detail = serde_json::from_str::<serde_json::Value>(body).ok().and_then(|body| {
        let detail = body.get("detail")?;
        Some(detail.as_str().map_or_else(|| detail.to_string(), str::to_owned))
    });
    let message = detail.unwrap_or_else(|| {
        // The error page of a proxy or of Django in debug mode: its last line is markup.
        let is_page = body.trim_start().starts_with('<');
        let line = body.lines().rev().map(str::trim).find(|line| !line.is_empty() && !is_page);
        line.unwrap_or("no message").to_owned()
    });
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert_eq!(message(body), expected);
    }

    #[test]
    fn a_servers_message_is_found() {
        check(r#"{"detail": "Not found"}"#, "Not found");
        check(
            r#"{"detail":[{"loc":["body"],"msg":"Field required"}]}"#,
            r#"[{"loc":["body"],"msg":"Field required"}]"#,
        );
        check(
            "Traceback\n  File\nIntegrityError: UNIQUE constraint\n\n",
            "IntegrityError: UNIQUE constraint",
        );
        check("<!doctype html>\n<h1>Server Error</h1>", "no message");
        check("", "no message");
    }
}
