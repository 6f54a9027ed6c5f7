//! Sending existing OTLP requests: the lines of a bundle, the empty requests of a check, and metrics over gRPC.
//!
//! Spans and log records of a live run are sent by [`crate::exporters`], to the same endpoints.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use daglight_http_transport::Backoff;

use crate::{
    door::Exportable,
    grpc_endpoint::{GrpcEndpoint, GrpcRuntime},
    http_endpoint::HttpEndpoint,
    messages::{OtlpRequest, Rejected},
    otlp_target::{OtlpProtocol, OtlpTarget},
    send_error::{FailedAttempt, Retry, SendError},
    transport::EndpointError,
};

/// How often, and for how long, to retry a request that the endpoint cannot accept at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    pub(crate) attempts: u32,
    /// The maximum wait before the second attempt, unless the endpoint requests another; each further wait is up to twice as long.
    pub(crate) first_wait: Duration,
    /// No attempt starts later than this after the first one.
    pub(crate) longest: Duration,
}

/// Sends the requests of one signal. It blocks, so it must not be used on a thread of a runtime.
#[derive(Debug)]
pub(crate) struct Sender {
    endpoint: Endpoint,
    policy: RetryPolicy,
}

#[derive(Debug)]
enum Endpoint {
    Grpc(GrpcEndpoint),
    Http(HttpEndpoint),
}

impl Sender {
    /// `grpc` holds the runtime that senders over gRPC share, once it is started.
    pub(crate) fn new(
        target: &OtlpTarget,
        policy: RetryPolicy,
        grpc: &mut Option<Arc<GrpcRuntime>>,
    ) -> Result<Self, EndpointError> {
        let endpoint = match target.protocol {
            OtlpProtocol::Grpc => Endpoint::Grpc(GrpcEndpoint::new(target, grpc)?),
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => Endpoint::Http(HttpEndpoint::new(target)?),
        };
        Ok(Self { endpoint, policy })
    }

    /// Sends a request, and returns what the endpoint rejected. Sending the same again is harmless: spans and records have ids and
    /// times.
    pub(crate) fn send<R: OtlpRequest>(&self, request: &Exportable<R>) -> Result<Rejected, SendError> {
        let begun = Instant::now();
        let mut backoff = Backoff::new(self.policy.first_wait, self.policy.longest);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let FailedAttempt { error, retry } = match self.attempt(request.get()) {
                Ok(rejected) => return Ok(rejected),
                Err(failed) => failed,
            };
            let pause = match retry {
                Retry::Never => return Err(error),
                Retry::Later => backoff.next_pause(None),
                Retry::After(pause) => pause,
            };
            // A pause that would end after the limit is not started: the caller gets the same error earlier.
            if attempts >= self.policy.attempts || begun.elapsed().saturating_add(pause) > self.policy.longest
            {
                return Err(error);
            }
            thread::sleep(pause);
        }
    }

    fn attempt<R: OtlpRequest>(&self, request: &R) -> Result<Rejected, FailedAttempt> {
        match &self.endpoint {
            Endpoint::Grpc(endpoint) => endpoint.call(request.clone()),
            Endpoint::Http(endpoint) => endpoint.post::<R>(endpoint.encode(request)?),
        }
    }
}
