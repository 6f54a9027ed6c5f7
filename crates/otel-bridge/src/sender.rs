//! Sending OTLP requests: retried where the protocol says so, and with what the endpoint refuses of them counted.

use std::{
    error::Error,
    iter::successors,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use daglight_capture_policy::Redactor;
use daglight_http_transport::{Backoff, beginning_of_body, gzipped, retry_after, shown_url};
use reqwest::{
    StatusCode,
    blocking::{Client, Response},
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use tonic::{
    Code, Status, client::Grpc, codec::CompressionEncoding, codegen::http::uri::PathAndQuery,
    metadata::MetadataMap, transport::Channel,
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::{
    door::Exportable,
    environment::{OtlpProtocol, OtlpTarget},
    messages::{AnswerError, OtlpRequest, Rejected, rejected_in},
    transport::{GrpcRuntime, TransportError, grpc_channel, headers, http_client},
};

/// Characters of an answer that are shown.
const SHOWN_ANSWER: usize = 200;
/// Bytes of an answer that are read; what an endpoint has to say is short.
const MOST_ANSWER_BYTES: u64 = 1 << 20;

/// Why an OTLP request did not arrive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The request did not get through.
    #[error("cannot send to {endpoint}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The endpoint refused the request.
    #[error("{endpoint} answered {status}: {answer}")]
    Refused {
        /// The endpoint.
        endpoint: String,
        /// The status of the answer: of HTTP, or of gRPC.
        status: String,
        /// The beginning of what it says.
        answer: String,
    },
    /// The endpoint answered with success, but not as one of OTLP: it has taken nothing.
    #[error(
        "the answer of {endpoint} is not that of an OTLP endpoint: check the endpoint, and proxies in between"
    )]
    NotOtlp {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with the answer.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// How often, and how long, a request is sent that the endpoint cannot take at the moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    pub(crate) attempts: u32,
    /// How long to wait at most before the second attempt, where the endpoint does not say; each further wait is up to
    /// twice as long.
    pub(crate) first_wait: Duration,
    /// No attempt begins later than this after the first.
    pub(crate) longest: Duration,
}

/// Sends the requests of one signal. It blocks, and so it must not be used on a thread of a runtime.
pub(crate) struct Sender {
    target: OtlpTarget,
    /// The endpoint without what may be a credential in it.
    shown_endpoint: String,
    /// Knows the credentials that are sent, which an endpoint may repeat.
    redactor: Redactor,
    wire: Wire,
    policy: RetryPolicy,
}

enum Wire {
    Grpc { runtime: Arc<GrpcRuntime>, channel: Channel, metadata: MetadataMap },
    Http { client: Client },
}

/// An attempt that failed; with a wait, it may be made again.
struct Failed {
    error: SendError,
    again: Option<Wait>,
}

enum Wait {
    AsUsual,
    /// The endpoint has said how long.
    Asked(Duration),
}

impl Sender {
    /// `grpc` holds the runtime that senders over gRPC share, as soon as there is one.
    pub(crate) fn new(
        target: &OtlpTarget,
        policy: RetryPolicy,
        grpc: &mut Option<Arc<GrpcRuntime>>,
    ) -> Result<Self, TransportError> {
        let wire = match target.protocol {
            OtlpProtocol::Grpc => {
                let runtime = GrpcRuntime::shared(grpc)?;
                Wire::Grpc {
                    channel: grpc_channel(&runtime, target)?,
                    metadata: MetadataMap::from_headers(headers(target)?),
                    runtime,
                }
            }
            OtlpProtocol::HttpProtobuf | OtlpProtocol::HttpJson => {
                Wire::Http { client: http_client(target)? }
            }
        };
        let headers = target.headers.iter().map(|(_, value)| value.expose());
        Ok(Self {
            target: target.clone(),
            shown_endpoint: shown_url(&target.endpoint),
            redactor: Redactor::of_connection(headers, &target.endpoint),
            wire,
            policy,
        })
    }

    /// Sends a request, and gives what the endpoint took nothing of. Sending twice what has arrived does no harm: spans
    /// and records have ids and times.
    pub(crate) fn send<R: OtlpRequest>(&self, request: &Exportable<R>) -> Result<Rejected, SendError> {
        let begun = Instant::now();
        let mut backoff = Backoff::new(self.policy.first_wait, self.policy.longest);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Failed { error, again } = match self.attempt(request.get()) {
                Ok(rejected) => return Ok(Rejected { reason: self.shown(&rejected.reason), ..rejected }),
                Err(failed) => failed,
            };
            let pause = match again {
                None => return Err(error),
                Some(Wait::AsUsual) => backoff.next_pause(None),
                Some(Wait::Asked(pause)) => pause,
            };
            if attempts >= self.policy.attempts || begun.elapsed().saturating_add(pause) > self.policy.longest
            {
                return Err(error);
            }
            thread::sleep(pause);
        }
    }

    fn attempt<R: OtlpRequest>(&self, request: &R) -> Result<Rejected, Failed> {
        match &self.wire {
            Wire::Grpc { runtime, channel, metadata } => {
                let call = self.over_grpc(channel.clone(), metadata.clone(), request.clone());
                let timed = runtime
                    .handle()
                    .block_on(async { tokio::time::timeout(self.target.timeout, call).await });
                match timed {
                    Ok(Ok(answer)) => Ok(R::rejected(answer)),
                    Ok(Err(status)) => Err(self.refused_by_grpc(&status)),
                    Err(elapsed) => Err(self.unreachable(elapsed)),
                }
            }
            Wire::Http { client } => self.over_http(client, request),
        }
    }

    async fn over_grpc<R: OtlpRequest>(
        &self,
        channel: Channel,
        metadata: MetadataMap,
        message: R,
    ) -> Result<R::Answer, Status> {
        let mut client = Grpc::new(channel);
        if self.target.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = metadata;
        let method = PathAndQuery::from_static(R::GRPC_METHOD);
        let codec: ProstCodec<R, R::Answer> = ProstCodec::default();
        Ok(client.unary(request, method, codec).await?.into_inner())
    }

    /// What may pass is as the OTLP specification lists it.
    fn refused_by_grpc(&self, status: &Status) -> Failed {
        let asked = || status.get_details_retry_info().and_then(|info| info.retry_delay).map(Wait::Asked);
        let again = match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => asked().or(Some(Wait::AsUsual)),
            Code::ResourceExhausted => asked(),
            _ => None,
        };
        // With a cause, it is none that the endpoint has answered.
        if let Some(cause) = status.source() {
            return self.unreachable(with_causes(cause));
        }
        Failed { error: self.refused(format!("gRPC {:?}", status.code()), status.message()), again }
    }

    fn over_http<R: OtlpRequest>(&self, client: &Client, request: &R) -> Result<Rejected, Failed> {
        let json = self.target.protocol == OtlpProtocol::HttpJson;
        let (body, content_type) = if json {
            let body = serde_json::to_vec(request).map_err(|error| self.unsendable(error))?;
            (body, "application/json")
        } else {
            (request.encode_to_vec(), "application/x-protobuf")
        };
        let mut post = client.post(&self.target.endpoint).header(CONTENT_TYPE, content_type);
        post = if self.target.gzip {
            let body = gzipped(&body).map_err(|error| self.unsendable(error))?;
            post.header(CONTENT_ENCODING, "gzip").body(body)
        } else {
            post.body(body)
        };
        let answer = post.send().map_err(|error| self.unreachable(error.without_url()))?;
        if !answer.status().is_success() {
            return Err(self.refused_by_http(answer));
        }
        let content_type = answer.headers().get(CONTENT_TYPE).cloned();
        let content_type = content_type.as_ref().map(|kind| kind.to_str().unwrap_or("unreadable"));
        rejected_in::<R>(&beginning_of_body(answer, MOST_ANSWER_BYTES), content_type, json)
            .map_err(|error| self.not_otlp(error))
    }

    fn refused_by_http(&self, answer: Response) -> Failed {
        const LATER: [StatusCode; 4] = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        let status = answer.status();
        let wait = retry_after(answer.headers(), SystemTime::now()).map_or(Wait::AsUsual, Wait::Asked);
        let is_text = answer.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != "application/x-protobuf");
        let body = beginning_of_body(answer, MOST_ANSWER_BYTES);
        let said = if is_text {
            String::from_utf8_lossy(&body).into_owned()
        } else {
            <tonic_types::Status as prost::Message>::decode(&*body).unwrap_or_default().message
        };
        Failed {
            error: self.refused(status.to_string(), &said),
            again: LATER.contains(&status).then_some(wait),
        }
    }

    /// The beginning of what an endpoint says, which may repeat what it was sent.
    fn shown(&self, said: &str) -> String {
        self.redactor.text(said.trim()).chars().take(SHOWN_ANSWER).collect()
    }

    /// A cause, which may quote an answer.
    fn cause(&self, source: Box<dyn Error + Send + Sync>) -> Box<dyn Error + Send + Sync> {
        let text = with_causes(&*source);
        let shown = self.redactor.text(&text);
        if shown == text { source } else { shown.into() }
    }

    fn unreachable(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failed {
        let source = self.cause(source.into());
        let error = SendError::Unreachable { endpoint: self.shown_endpoint.clone(), source };
        Failed { error, again: Some(Wait::AsUsual) }
    }

    fn not_otlp(&self, error: AnswerError) -> Failed {
        let source = self.cause(error.into());
        let error = SendError::NotOtlp { endpoint: self.shown_endpoint.clone(), source };
        Failed { error, again: None }
    }

    fn unsendable(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Failed {
        Failed { again: None, ..self.unreachable(source) }
    }

    fn refused(&self, status: String, said: &str) -> SendError {
        SendError::Refused { endpoint: self.shown_endpoint.clone(), status, answer: self.shown(said) }
    }
}

/// An error and its causes in one line. A cause that only repeats the error is left out.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let causes = successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |line, cause| match cause.to_string() {
        repeated if line.ends_with(&repeated) => line,
        cause => format!("{line}: {cause}"),
    })
}
