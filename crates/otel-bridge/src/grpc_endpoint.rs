//! An OTLP endpoint over gRPC: its channel, the runtime that the channel needs, and requests that are sent as they are.

use std::{error::Error as _, io, mem, sync::Arc, time::Duration};

use daglight_http_transport::{Authorities, USER_AGENT, check_system_roots};
use opentelemetry::Context;
use tokio::runtime::{self, Runtime};
use tonic::{
    Code, Status,
    client::Grpc,
    codec::CompressionEncoding,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataMap,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use crate::{
    messages::{OtlpRequest, Rejected},
    otlp_target::OtlpTarget,
    send_error::{FailedAttempt, Retry, SendError, ShownEndpoint, with_causes},
    transport::{TransportError, headers},
};

/// An endpoint for the requests of one signal. It blocks, and so it must not be used on a thread of a runtime.
#[derive(Debug)]
pub(crate) struct GrpcEndpoint {
    runtime: Arc<GrpcRuntime>,
    channel: Channel,
    metadata: MetadataMap,
    gzip: bool,
    timeout: Duration,
    shown: ShownEndpoint,
}

impl GrpcEndpoint {
    /// `runtime` holds the runtime that all endpoints share, as soon as there is one.
    pub(crate) fn new(
        target: &OtlpTarget,
        runtime: &mut Option<Arc<GrpcRuntime>>,
    ) -> Result<Self, TransportError> {
        let runtime = GrpcRuntime::shared(runtime)?;
        Ok(Self {
            channel: channel(&runtime, target)?,
            metadata: MetadataMap::from_headers(headers(target)?),
            runtime,
            gzip: target.gzip,
            timeout: target.timeout,
            shown: ShownEndpoint::of(target),
        })
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(crate) fn metadata(&self) -> &MetadataMap {
        &self.metadata
    }

    pub(crate) fn gzip(&self) -> bool {
        self.gzip
    }

    /// The endpoint as it is shown.
    pub(crate) fn shown(&self) -> &ShownEndpoint {
        &self.shown
    }

    /// Does `work` on this thread, within the time for one request.
    pub(crate) fn wait_for<T>(&self, work: impl Future<Output = T>) -> Result<T, SendError> {
        let timed = self.runtime.handle.block_on(async { tokio::time::timeout(self.timeout, work).await });
        timed.map_err(|elapsed| self.shown.unreachable(elapsed))
    }

    /// Sends a request once, and returns what the endpoint rejected of it.
    pub(crate) fn call<R: OtlpRequest>(&self, request: R) -> Result<Rejected, FailedAttempt> {
        match self.wait_for(self.unary(request)) {
            Ok(Ok(answer)) => Ok(self.shown.rejected(R::rejected(answer))),
            Ok(Err(status)) => Err(self.failed(&status)),
            Err(error) => Err(FailedAttempt { error, retry: Retry::Later }),
        }
    }

    async fn unary<R: OtlpRequest>(&self, message: R) -> Result<R::Answer, Status> {
        let mut client = Grpc::new(self.channel.clone());
        if self.gzip {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        let method = PathAndQuery::from_static(R::GRPC_METHOD);
        let codec: ProstCodec<R, R::Answer> = ProstCodec::default();
        Ok(client.unary(request, method, codec).await?.into_inner())
    }

    fn failed(&self, status: &Status) -> FailedAttempt {
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).map(Retry::After);
        // As the OTLP specification lists them.
        let retry = match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => asked.unwrap_or(Retry::Later),
            Code::ResourceExhausted => asked.unwrap_or(Retry::Never),
            _ => Retry::Never,
        };
        // A status with a cause was made on this side: no endpoint has answered.
        let error = match status.source() {
            Some(cause) => self.shown.unreachable(with_causes(cause)),
            None => self.shown.refused(format!("gRPC {:?}", status.code()), status.message()),
        };
        FailedAttempt { error, retry }
    }
}

/// The runtime of gRPC: not the caller's, which may have a single thread, or be gone. It has one worker, and may be
/// dropped anywhere, also inside another runtime.
#[derive(Debug)]
pub(crate) struct GrpcRuntime {
    handle: runtime::Handle,
    runtime: Option<Runtime>,
}

impl GrpcRuntime {
    /// The runtime in `slot`; it is started where there is none.
    fn shared(slot: &mut Option<Arc<Self>>) -> io::Result<Arc<Self>> {
        match slot {
            Some(runtime) => Ok(Arc::clone(runtime)),
            None => Ok(Arc::clone(slot.insert(Arc::new(Self::start()?)))),
        }
    }

    fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("daglight-otlp")
            // What its thread does is recorded by nobody, for as long as it lives.
            .on_thread_start(|| mem::forget(Context::enter_telemetry_suppressed_scope()))
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for GrpcRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A channel that connects when it is first used. How long a request may take is up to the one who makes it.
fn channel(runtime: &GrpcRuntime, target: &OtlpTarget) -> Result<Channel, TransportError> {
    let mut endpoint = Endpoint::from_shared(target.endpoint.clone())?
        .user_agent(USER_AGENT)?
        .connect_timeout(target.timeout);
    if target.endpoint.starts_with("https:") {
        let tls = ClientTlsConfig::new();
        let mut tls = match &target.tls.authorities {
            Some(authorities) => {
                let authorities = Authorities::from_pem(authorities.clone())?;
                tls.ca_certificate(Certificate::from_pem(authorities.pem()))
            }
            None => {
                check_system_roots()?;
                tls.with_enabled_roots()
            }
        };
        if let Some(identity) = &target.tls.identity {
            tls = tls.identity(Identity::from_pem(identity.certificates_pem(), identity.key_pem()));
        }
        endpoint = endpoint.tls_config(tls)?;
    }
    let _entered = runtime.handle.enter();
    Ok(endpoint.connect_lazy())
}
