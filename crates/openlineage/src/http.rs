//! A receiver of events over HTTP: one request for each, and what its answer means.

use std::time::{Duration, SystemTime};

use daglight_capture_policy::{Redactor, in_one_line};
use daglight_http_transport::{
    BodyError, TransportError, Trust, beginning_of_body, build, client_builder, connection_error, execute,
    gzipped, retry_after, secret_header, shown_url, whole_body,
};
use reqwest::{
    StatusCode, Url,
    blocking::{Client, Response},
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};

use crate::{answer::Answer, target::HttpTarget};

/// Bytes of an answer that are read to explain a status.
const MAX_ANSWER_BYTES: u64 = 4 << 10;
/// Bytes of an answer to an event that was taken: receivers return nothing, or a few words.
const MAX_TAKEN_BYTES: u64 = 1 << 20;
/// Characters of it that are shown.
const MAX_SAID: usize = 200;

/// Sends events to a receiver.
pub(crate) struct HttpSender {
    client: Client,
    url: Url,
    receiver: String,
    gzip: bool,
    timeout: Duration,
    redactor: Redactor,
}

impl HttpSender {
    pub(crate) fn new(target: &HttpTarget) -> Result<Self, TransportError> {
        let trust = if target.verify { Trust::System } else { Trust::Anyone };
        let mut headers = HeaderMap::new();
        let key = target.api_key.as_ref();
        // That it can be sent was looked at when the target was made.
        let bearer = key.and_then(|key| secret_header(&format!("Bearer {}", key.expose())));
        headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer)));
        let client = build(
            client_builder(&target.url, &trust, None)?.timeout(target.timeout).default_headers(headers),
        )?;
        let redactor = Redactor::of_connection(key.map(|key| key.expose()), target.url.as_str());
        let receiver = shown_url(target.url.as_str());
        Ok(Self {
            client,
            url: target.url.clone(),
            receiver,
            gzip: target.gzip,
            timeout: target.timeout,
            redactor,
        })
    }

    pub(crate) fn send(&self, event: &[u8], limit: Duration) -> Answer {
        let post = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let compressed = self.gzip.then(|| gzipped(event)).and_then(Result::ok);
        let post = match compressed {
            Some(body) => post.header(CONTENT_ENCODING, "gzip").body(body),
            None => post.body(event.to_vec()),
        };
        let limit = self.timeout.min(limit);
        match post.build().and_then(|request| execute(&self.client, request, limit)) {
            Ok(answer) => self.answered(answer),
            Err(error) => Answer::Later { error: self.unreachable(error), after: None },
        }
    }

    /// The URL as it may be shown.
    pub(crate) fn receiver(&self) -> &str {
        &self.receiver
    }

    /// Sends nothing, and says what is wrong with who answers, if anything is.
    pub(crate) fn ask(&self) -> Result<(), String> {
        let post = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        // By itself the client says nothing of a length that is zero, which some servers refuse with 411.
        let answer = post
            .header(CONTENT_LENGTH, "0")
            .build()
            .and_then(|request| execute(&self.client, request, self.timeout));
        let answer = answer.map_err(|error| self.unreachable(error))?;
        // It is there, and has not been given anything that it could make something of.
        if answer.status() == StatusCode::INTERNAL_SERVER_ERROR {
            return Ok(());
        }
        match self.answered(answer) {
            Answer::Taken | Answer::Refused { .. } => Ok(()),
            Answer::Later { error, .. } | Answer::Never { error } => Err(error),
        }
    }

    /// Without the URL, in which a credential may stand.
    fn unreachable(&self, error: reqwest::Error) -> String {
        let error = self.redactor.text(&in_one_line(&*connection_error(error, &self.url)));
        format!("the receiver cannot be reached: {error}")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a pause may be given as a date: it counts from the answer"
    )]
    fn answered(&self, answer: Response) -> Answer {
        let status = answer.status();
        if status.is_success() {
            return taken(status, answer);
        }
        let after = retry_after(answer.headers(), SystemTime::now());
        let body = beginning_of_body(answer, MAX_ANSWER_BYTES);
        let said = self.redactor.text(&String::from_utf8_lossy(&body));
        let said: String =
            said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_SAID).collect();
        let error = match &*said {
            "" => format!("the receiver answered {status}"),
            said => format!("the receiver answered {status}: {said}"),
        };
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Answer::Later { error, after }
            }
            status if status.is_server_error() => Answer::Later { error, after },
            // About the key, the address or a proxy, and not about the event: a repaired configuration delivers it.
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::PROXY_AUTHENTICATION_REQUIRED => Answer::Never { error },
            status if status.is_client_error() => {
                Answer::Refused { reason: format!("refused by the receiver with {status}"), said }
            }
            _ => Answer::Never { error },
        }
    }
}

/// What a receiver means by a success. A proxy or a login page answers 200, too, and has taken nothing.
fn taken(status: StatusCode, answer: Response) -> Answer {
    let is_html = |kind: &HeaderValue| kind.as_bytes().to_ascii_lowercase().starts_with(b"text/html");
    let is_html = answer.headers().get(CONTENT_TYPE).is_some_and(is_html);
    match whole_body(answer, MAX_TAKEN_BYTES) {
        Ok(body) if !is_html && !body.trim_ascii_start().starts_with(b"<") => Answer::Taken,
        Ok(_) => Answer::Never {
            error: format!(
                "the receiver answered {status} with a page: this is not a receiver of OpenLineage"
            ),
        },
        Err(BodyError::TooLong { most }) => Answer::Never {
            error: format!(
                "the receiver answered {status} with more than {most} bytes: this is not a receiver of OpenLineage"
            ),
        },
        // Whether the event arrived is not known. An event that arrives twice says the same twice.
        Err(error) => Answer::Later {
            error: format!(
                "the receiver answered {status}, and its answer broke off: {}",
                in_one_line(&error)
            ),
            after: None,
        },
    }
}
