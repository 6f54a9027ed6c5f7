//! The HTTP client that is given to the exporters of `opentelemetry-otlp`: it sees each answer.

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

/// Turns the body that the exporter created into the body that is sent.
pub(crate) type Prepare = Box<dyn Fn(&HttpEndpoint, &[u8]) -> Result<Bytes, FailedAttempt> + Send + Sync>;

/// Sends the requests of one exporter. It uses only the body of the exporter's request: the endpoint has its own URL and headers,
/// so that variables which the exporter reads itself have no effect.
pub(crate) struct ExporterClient<R> {
    endpoint: HttpEndpoint,
    prepare: Option<Prepare>,
    /// The result of the last attempt.
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

    /// Takes the result of the last attempt; `None` if there was no attempt since the last call.
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

/// The exporter learns about an answer only whether to retry.
#[async_trait]
impl<R: OtlpRequest> HttpClient for ExporterClient<R> {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (outcome, answer) = match self.send(request.into_body()) {
            Ok(rejected) => (Ok(rejected), Ok(answer(StatusCode::OK, None))),
            Err(FailedAttempt { error, retry }) => {
                let answer = match retry {
                    // Not the status of the endpoint, because the exporter has its own list of statuses to retry, including some
                    // that must not be.
                    Retry::Never => Ok(answer(StatusCode::BAD_REQUEST, None)),
                    Retry::After(pause) => Ok(answer(StatusCode::SERVICE_UNAVAILABLE, Some(pause))),
                    // It retries everything that is not an answer, after its usual pause.
                    Retry::Later => Err("the request did not get through".into()),
                };
                (Err(error), answer)
            }
        };
        // The last attempt counts: the exporter retries, and the result of the last attempt is the result of the batch.
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
