//! Why an OTLP request did not arrive, in a form that is safe to show.

use std::{error::Error, time::Duration};

use daglight_capture_policy::{Redactor, with_causes};
use daglight_http_transport::shown_url;

use crate::{messages::Rejected, otlp_target::OtlpTarget};

/// The maximum number of characters shown of an answer.
const SHOWN_ANSWER: usize = 200;

/// The cause of a [`SendError`], from any library.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why an OTLP request did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The request did not get through.
    #[error("cannot send to {endpoint}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// The cause.
        source: Cause,
    },
    /// The endpoint refused the request.
    #[error("{endpoint} answered {status}: {answer}")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// The status of the answer: of HTTP, or of gRPC.
        status: String,
        /// The beginning of its message.
        answer: String,
    },
    /// The endpoint answered with success, but the answer does not conform to OTLP: nothing was accepted.
    #[error(
        "the answer of {endpoint} is not that of an OTLP endpoint: check the endpoint, and proxies in between"
    )]
    NotOtlp {
        /// The endpoint.
        endpoint: String,
        /// The problem with the answer.
        source: Cause,
    },
}

/// An endpoint in a form for error messages: without its credentials, including those in its answers.
#[derive(Debug)]
pub(crate) struct ShownEndpoint {
    url: String,
    /// Knows the credentials that are sent.
    redactor: Redactor,
}

impl ShownEndpoint {
    pub(crate) fn of(target: &OtlpTarget) -> Self {
        let headers = target.headers.iter().map(|(_, value)| value.expose());
        Self {
            url: shown_url(&target.endpoint),
            redactor: Redactor::of_connection(headers, &target.endpoint),
        }
    }

    /// The beginning of the endpoint's answer, which may repeat what it was sent.
    pub(crate) fn text(&self, answer: &str) -> String {
        self.redactor.text(answer.trim()).chars().take(SHOWN_ANSWER).collect()
    }

    /// What the endpoint rejected, with a reason that is safe to show.
    pub(crate) fn rejected(&self, rejected: Rejected) -> Rejected {
        Rejected { reason: self.text(&rejected.reason), ..rejected }
    }

    pub(crate) fn unreachable(&self, source: impl Into<Cause>) -> SendError {
        SendError::Unreachable { endpoint: self.url.clone(), source: self.cause(source.into()) }
    }

    pub(crate) fn not_otlp(&self, source: impl Into<Cause>) -> SendError {
        SendError::NotOtlp { endpoint: self.url.clone(), source: self.cause(source.into()) }
    }

    pub(crate) fn refused(&self, status: String, answer: &str) -> SendError {
        SendError::Refused { endpoint: self.url.clone(), status, answer: self.text(answer) }
    }

    /// A cause, which may quote an answer.
    fn cause(&self, source: Cause) -> Cause {
        let text = with_causes(&*source);
        let shown = self.redactor.text(&text);
        if shown == text { source } else { shown.into() }
    }
}

/// A failed attempt, and whether another one may succeed.
#[derive(Debug)]
pub(crate) struct FailedAttempt {
    pub(crate) error: SendError,
    pub(crate) retry: Retry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    /// After the usual pause.
    Later,
    /// After the pause that the endpoint requested.
    After(Duration),
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;

    use daglight_capture_policy::Secret;

    use super::*;
    use crate::otlp_target::{OtlpProtocol, TlsFiles};

    /// An endpoint with credentials in its URL and in a header.
    pub(crate) fn endpoint() -> ShownEndpoint {
        ShownEndpoint::of(&OtlpTarget {
            protocol: OtlpProtocol::Grpc,
            endpoint: "http://me:hunter2@c:1".to_owned(),
            headers: vec![("x-key".to_owned(), Secret::new("quendolin"))],
            timeout: Duration::from_secs(1),
            gzip: false,
            tls: TlsFiles::default(),
        })
    }

    #[derive(Debug, thiserror::Error)]
    #[error("connect error")]
    struct Connect(#[source] io::Error);

    #[track_caller]
    fn check(cause: &str, expected: &str) {
        let error = endpoint().unreachable(Connect(io::Error::other(cause.to_owned())));
        assert_eq!(with_causes(&error), expected);
    }

    #[test]
    fn causes_are_shown_once_and_without_credentials() {
        check("connect error", "cannot send to http://c:1: connect error");
        check("refused", "cannot send to http://c:1: connect error: refused");
        check("no quendolin here", "cannot send to http://c:1: connect error: no [redacted] here");
    }
}
