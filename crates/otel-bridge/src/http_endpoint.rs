//! An OTLP endpoint over HTTP: sending one request, and interpreting its answer.

use std::time::{Duration, SystemTime};

use daglight_http_transport::{
    Authorities, Trust, beginning_of_body, build, client_builder, connection_error, execute, gzipped,
    retry_after,
};
use opentelemetry_http::Bytes;
use reqwest::{
    StatusCode, Url,
    blocking::{Client, Response},
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use crate::{
    messages::{OtlpRequest, Rejected, rejected_in},
    otlp_target::{OtlpProtocol, OtlpTarget},
    send_error::{Cause, FailedAttempt, Retry, ShownEndpoint},
    transport::{EndpointError, headers},
};

/// The maximum number of bytes read of an answer, 1 MiB; answers of endpoints are short.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// An endpoint for the requests of one signal. It blocks, so it must not be used on a thread of a runtime.
#[derive(Debug)]
pub(crate) struct HttpEndpoint {
    client: Client,
    url: Url,
    shown: ShownEndpoint,
    json: bool,
    gzip: bool,
    timeout: Duration,
}

impl HttpEndpoint {
    pub(crate) fn new(target: &OtlpTarget) -> Result<Self, EndpointError> {
        // An invalid URL is detected now instead of when there is something to send.
        let url = Url::parse(&target.endpoint).map_err(|_| EndpointError::Url)?;
        let tls = target.tls.checked()?;
        let trust = match &tls.authorities {
            Some(authorities) => Trust::Only(Authorities::from_pem(authorities.clone())?),
            None => Trust::System,
        };
        let builder = client_builder(&url, &trust, tls.identity.as_ref())?;
        let client = build(builder.timeout(target.timeout).default_headers(headers(target)?))?;
        let json = target.protocol == OtlpProtocol::HttpJson;
        Ok(Self {
            client,
            url,
            shown: ShownEndpoint::of(target),
            json,
            gzip: target.gzip,
            timeout: target.timeout,
        })
    }

    pub(crate) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The endpoint in a form that is safe to show.
    pub(crate) fn shown(&self) -> &ShownEndpoint {
        &self.shown
    }

    /// The request in the encoding for the endpoint.
    pub(crate) fn encode(&self, request: &impl OtlpRequest) -> Result<Bytes, FailedAttempt> {
        if self.json {
            serde_json::to_vec(request).map(Bytes::from).map_err(|error| self.unsendable(error))
        } else {
            Ok(request.encode_to_vec().into())
        }
    }

    /// Sends an encoded request once, and returns what the endpoint rejected.
    pub(crate) fn post<R: OtlpRequest>(&self, body: Bytes) -> Result<Rejected, FailedAttempt> {
        let content_type = if self.json { "application/json" } else { "application/x-protobuf" };
        let post = self.client.post(self.url.clone()).header(CONTENT_TYPE, content_type);
        let post = if self.gzip {
            let body = gzipped(&body).map_err(|error| self.unsendable(error))?;
            post.header(CONTENT_ENCODING, "gzip").body(body)
        } else {
            post.body(body)
        };
        let sent = post.build().and_then(|request| execute(&self.client, request, self.timeout));
        let answer = sent.map_err(|error| FailedAttempt {
            // Without the URL, which may contain a key; `shown` has the form that is safe to show.
            error: self.shown.unreachable(connection_error(error, &self.url)),
            retry: Retry::Later,
        })?;
        if !answer.status().is_success() {
            return Err(self.refused(answer));
        }
        // A 200 alone proves nothing: a proxy that requires a login answers with a 200 and a page.
        let content_type = answer.headers().get(CONTENT_TYPE).cloned();
        let content_type = content_type.as_ref().map(|kind| kind.to_str().unwrap_or("unreadable"));
        let read = rejected_in::<R>(&beginning_of_body(answer, MAX_ANSWER_BYTES), content_type, self.json);
        let rejected =
            read.map_err(|error| FailedAttempt { error: self.shown.not_otlp(error), retry: Retry::Never })?;
        Ok(self.shown.rejected(rejected))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a pause may be given as a date: it counts from the answer"
    )]
    fn refused(&self, answer: Response) -> FailedAttempt {
        // The statuses that the OTLP specification lists as retryable.
        const LATER: [StatusCode; 4] = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        let status = answer.status();
        let retry = match retry_after(answer.headers(), SystemTime::now()) {
            // Even if it gives a time: the specification forbids retrying statuses that are not listed.
            _ if !LATER.contains(&status) => Retry::Never,
            Some(asked) => Retry::After(asked),
            None => Retry::Later,
        };
        let is_text = answer.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "application/x-protobuf");
        let body = beginning_of_body(answer, MAX_ANSWER_BYTES);
        let message = if is_text {
            String::from_utf8_lossy(&body).into_owned()
        } else {
            <tonic_types::Status as prost::Message>::decode(&*body).unwrap_or_default().message
        };
        FailedAttempt { error: self.shown.refused(status.to_string(), &message), retry }
    }

    pub(crate) fn unsendable(&self, source: impl Into<Cause>) -> FailedAttempt {
        FailedAttempt { error: self.shown.unreachable(source), retry: Retry::Never }
    }
}
