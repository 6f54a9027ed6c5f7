//! The HTTP client that the exporters of `opentelemetry-otlp` are given: it sees each answer.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::{StatusCode, header::RETRY_AFTER};

use crate::{
    http_endpoint::HttpEndpoint,
    messages::{OtlpRequest, Rejected},
    send_error::{FailedAttempt, Retry, SendError},
};

/// Makes the body that is sent out of the one that the exporter has made.
pub(crate) type Prepare = Box<dyn Fn(&HttpEndpoint, &[u8]) -> Result<Bytes, FailedAttempt> + Send + Sync>;

/// Sends the requests of one exporter. Of an exporter's request only the body counts: the endpoint has its own URL and
/// headers, so that variables which the exporter reads by itself have no effect.
pub(crate) struct ExporterClient<R> {
    endpoint: HttpEndpoint,
    prepare: Option<Prepare>,
    /// How the last attempt went.
    outcome: Mutex<Option<Result<Rejected, SendError>>>,
    request: PhantomData<fn() -> R>,
}

impl<R: OtlpRequest> ExporterClient<R> {
    pub(crate) fn new(endpoint: HttpEndpoint, prepare: Option<Prepare>) -> Arc<Self> {
        Arc::new(Self { endpoint, prepare, outcome: Mutex::new(None), request: PhantomData })
    }

    pub(crate) fn endpoint(&self) -> &HttpEndpoint {
        &self.endpoint
    }

    /// How the last attempt went; `None` where nothing was attempted since this was asked.
    pub(crate) fn take_outcome(&self) -> Option<Result<Rejected, SendError>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn send(&self, body: Bytes) -> Result<Rejected, FailedAttempt> {
        let body = match &self.prepare {
            Some(prepare) => prepare(&self.endpoint, &body)?,
            None => body,
        };
        self.endpoint.post::<R>(body)
    }
}

impl<R> fmt::Debug for ExporterClient<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExporterClient").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// The exporter hears no more of an answer than what it needs to try again, or not to.
#[async_trait]
impl<R: OtlpRequest> HttpClient for ExporterClient<R> {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (outcome, answer) = match self.send(request.into_body()) {
            Ok(rejected) => (Ok(rejected), Ok(answer(StatusCode::OK, None))),
            Err(FailedAttempt { error, retry }) => {
                let answer = match retry {
                    // Not the status of the endpoint, because the exporter has a list of its own of what to repeat,
                    // and would repeat some that must not be.
                    Retry::Never => Ok(answer(StatusCode::BAD_REQUEST, None)),
                    Retry::After(pause) => Ok(answer(StatusCode::SERVICE_UNAVAILABLE, Some(pause))),
                    // It retries whatever is not an answer, after its usual pause.
                    Retry::Later => Err("the request did not get through".into()),
                };
                (Err(error), answer)
            }
        };
        // The last attempt counts: the exporter retries, and what became of the batch is what became of that one.
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        answer
    }
}

fn answer(status: StatusCode, pause: Option<Duration>) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    if let Some(pause) = pause {
        answer.headers_mut().insert(RETRY_AFTER, pause.as_secs().into());
    }
    answer
}
