//! One request to the server, and what can come of it.

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

/// Bytes of a refusal that are read: the page of a server in debug mode, and more.
const MAX_REFUSAL_BYTES: u64 = 1 << 20;

/// Bytes of an answer that are read, 64 MiB after decompression: it is held in memory as a whole. A list of 10,000 runs
/// has some 20 MiB.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// Bytes of an answer that is read while it arrives, 1 GiB: most of it is passed over.
const MAX_STREAM_BYTES: u64 = 1 << 30;

/// Pauses between attempts at a server that is away or busy.
pub(crate) const fn new_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(10))
}

/// Why a request did not do what it should.
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
    /// The answer did not arrive whole: the server may or may not have done what was asked.
    #[error("{call}: no answer from {server}")]
    NoAnswer {
        /// The request.
        call: &'static str,
        /// The server's base URL.
        server: String,
        /// Whether it took too long, so that the server may still be at it.
        timed_out: bool,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server had a problem of its own, and may or may not have done what was asked.
    #[error("{call}: the server failed with {status}: {message}")]
    ServerFailed {
        /// The request.
        call: &'static str,
        /// The HTTP status, of 500 and above.
        status: u16,
        /// What the server says.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server is busy, and has done nothing.
    #[error("{call}: the server is busy ({status})")]
    Busy {
        /// The request.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server does not want this request, now or later.
    #[error("{call}: refused with {status}: {message}; {remedy}")]
    Refused {
        /// The request.
        call: &'static str,
        /// The HTTP status, below 500.
        status: u16,
        /// What the server says.
        message: String,
        /// What to do about it.
        remedy: String,
    },
    /// The answer is not one that a Hamilton server sends.
    #[error(
        "{call}: the answer of {server} is not that of a Hamilton server: check tracker.api_url, and proxies in between"
    )]
    Garbage {
        /// The request.
        call: &'static str,
        /// The server's base URL.
        server: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl CallError {
    /// Whether the server may have done what was asked.
    pub(crate) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::ServerFailed { .. } | Self::Garbage { .. })
    }

    /// Whether the server, or a proxy in front of it, may do later what was asked. That its database is locked it says only
    /// when it has given up.
    pub(crate) fn may_commit_late(&self) -> bool {
        self.is_ambiguous() && !self.is_locked()
    }

    fn is_locked(&self) -> bool {
        // SQLite says so after its own timeout, with the transaction rolled back: nothing of the request is left to
        // happen.
        matches!(self, Self::ServerFailed { message, .. } if message.contains("database is locked"))
    }

    /// Whether there was no server at the address, so that the next one there may be another.
    pub(crate) fn was_away(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Whether the server does not have what the request is about.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }

    /// Whether something about what was sent is wrong, and not who sent it or where.
    pub(crate) fn is_about_payload(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 413 | 422, .. })
    }

    /// Whether the server failed for a reason that can lie in what was sent.
    pub(crate) fn may_be_about_payload(&self) -> bool {
        matches!(self, Self::ServerFailed { status: 500, .. }) && !self.is_locked()
    }

    /// Whether the server, or one behind it, may still be at what was asked.
    pub(crate) fn may_go_on(&self) -> bool {
        // These two are of a proxy that gave up waiting. Its server has not.
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

/// Sends a request, and names it in errors.
pub(crate) struct Caller<'a> {
    pub(crate) call: &'static str,
    pub(crate) connection: &'a Connection,
    pub(crate) gzip: &'a GzipOffer,
}

impl Caller<'_> {
    /// Sends a request and reads its answer as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let body = self.body(request)?;
        serde_json::from_slice(&body).map_err(|source| self.garbage(source))
    }

    /// Sends a request whose answer is empty.
    pub(crate) fn nothing(&self, request: RequestBuilder) -> Result<(), CallError> {
        let body = self.body(request)?;
        // A proxy that wants a login answers 200 with a page. Taken as a success, the records would count as
        // delivered.
        if body.is_empty() { Ok(()) } else { Err(self.other_answer("an empty answer was expected")) }
    }

    /// Sends a request and reads its answer as JSON while it arrives, without holding all of it.
    pub(crate) fn json_stream<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CallError> {
        let answer = BufReader::new(self.answer(request)?.take(MAX_STREAM_BYTES));
        serde_json::from_reader(answer)
            .map_err(|error| if error.is_io() { self.broken(error) } else { self.garbage(error) })
    }

    /// Sends a request and reads its whole answer, however little of it was sent compressed.
    fn body(&self, request: RequestBuilder) -> Result<Vec<u8>, CallError> {
        whole_body(self.answer(request)?, MAX_ANSWER_BYTES).map_err(|error| match error {
            BodyError::CutOff { source } => self.interrupted(source),
            too_long => self.garbage(serde_json::Error::custom(too_long)),
        })
    }

    /// The id in an answer, where the document allows none.
    pub(crate) fn id(&self, id: Option<i64>) -> Result<i64, CallError> {
        id.ok_or_else(|| self.garbage(serde_json::Error::missing_field("id")))
    }

    /// An answer that can be read, and that the server does not give to this request.
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
        // Both are refusals before any work was done, although their class is that of errors of the client.
        if matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) {
            return Err(CallError::Busy { call, status: code, retry_after });
        }
        // What the server says is a help for people: without it, the status still counts.
        let body = beginning_of_body(response, MAX_REFUSAL_BYTES);
        let message = message(&self.connection.without_credentials(&String::from_utf8_lossy(&body)));
        if status.is_server_error() {
            return Err(CallError::ServerFailed { call, status: code, message, retry_after });
        }
        Err(CallError::Refused { call, status: code, message, remedy: remedy(self.connection, code) })
    }

    /// Sends a request, compressed if the server takes that.
    fn send(&self, request: RequestBuilder) -> reqwest::Result<Response> {
        let (client, request) = request.build_split();
        let request = request?;
        // A server that does not know the encoding answers 400 or 415 before it reads the body, so the request is
        // safe to send again.
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
        // No connection, so the request cannot have been seen: this is the one failure after which a create may be
        // repeated blindly.
        if error.is_connect() {
            return CallError::Unreachable { call, server, source: error.without_url().into() };
        }
        CallError::NoAnswer { call, server, timed_out, source: error.without_url().into() }
    }

    /// The answer ended before its end.
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

/// What a server says in the body of an error: the `detail` of its JSON, or the last line of a trace or page.
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
