//! An OTLP endpoint over gRPC: its channel, the runtime that the channel needs, and sending existing requests.

use std::{
    error::Error as _,
    io, mem,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use daglight_capture_policy::with_causes;
use daglight_http_transport::{Authorities, USER_AGENT, check_system_roots};
use opentelemetry::Context;
use tokio::{
    runtime::{self, Runtime},
    sync::oneshot,
};
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
    send_error::{FailedAttempt, Retry, SendError, ShownEndpoint},
    transport::{EndpointError, headers},
};

/// An endpoint for the requests of one signal. It blocks, so it must not be used on a thread of a runtime.
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
    /// `runtime` holds the runtime that all endpoints share, once it is started.
    pub(crate) fn new(
        target: &OtlpTarget,
        runtime: &mut Option<Arc<GrpcRuntime>>,
    ) -> Result<Self, EndpointError> {
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

    /// The endpoint in a form that is safe to show.
    pub(crate) fn shown(&self) -> &ShownEndpoint {
        &self.shown
    }

    /// Runs `work` on this thread, within the timeout of one request.
    pub(crate) fn wait_for<T>(&self, work: impl Future<Output = T>) -> Result<T, SendError> {
        // Polled on this thread, which has the subscriber for the exporter's events; only the connection lives on the thread of the
        // runtime.
        let timed = self.runtime.handle.block_on(async { tokio::time::timeout(self.timeout, work).await });
        timed.map_err(|elapsed| self.shown.unreachable(elapsed))
    }

    /// Sends a request once, and returns what the endpoint rejected.
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
        // A lazy channel connects here, so this is where an unreachable endpoint fails.
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        let method = PathAndQuery::from_static(R::GRPC_METHOD);
        let codec: ProstCodec<R, R::Answer> = ProstCodec::default();
        Ok(client.unary(request, method, codec).await?.into_inner())
    }

    fn failed(&self, status: &Status) -> FailedAttempt {
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).map(Retry::After);
        // As listed in the OTLP specification.
        let retry = match status.code() {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => asked.unwrap_or(Retry::Later),
            // According to the specification it may be retried only if the server says when.
            Code::ResourceExhausted => asked.unwrap_or(Retry::Never),
            _ => Retry::Never,
        };
        // A status with a cause was created on this side: no endpoint has answered.
        let error = match status.source() {
            Some(cause) => self.shown.unreachable(with_causes(cause)),
            None => self.shown.refused(format!("gRPC {:?}", status.code()), status.message()),
        };
        FailedAttempt { error, retry }
    }
}

/// The runtime for gRPC: not the caller's, which may have a single thread, or be gone. It runs on its own thread, and may be
/// dropped anywhere, also inside another runtime.
#[derive(Debug)]
pub(crate) struct GrpcRuntime {
    handle: runtime::Handle,
    /// Ends the thread when dropped.
    _end: oneshot::Sender<()>,
}

impl GrpcRuntime {
    /// The runtime in `slot`; it is started if the slot is empty.
    fn shared(slot: &mut Option<Arc<Self>>) -> io::Result<Arc<Self>> {
        match slot {
            Some(runtime) => Ok(Arc::clone(runtime)),
            None => Ok(Arc::clone(slot.insert(Arc::new(Self::start()?)))),
        }
    }

    /// Tokio panics if it cannot start a thread, so we create its thread ourselves. The thread that resolves names is started now,
    /// after a check that this is possible, and is kept.
    fn start() -> io::Result<Self> {
        // The thread is created before the runtime: if it cannot be started, no runtime is left over whose drop would have to wait,
        // perhaps in asynchronous code of the program.
        let (give, given) = mpsc::channel::<Runtime>();
        let (end, ended) = oneshot::channel::<()>();
        let drive = move || {
            let Ok(runtime) = given.recv() else { return };
            suppress_telemetry();
            // It ends when its sender is dropped.
            let _ = runtime.block_on(ended);
            // Without waiting: it may be resolving a name, which can take the system's resolver any time.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("daglight-otlp".into()).spawn(drive)?;
        // One thread is enough for a connection, and a multi-threaded runtime would start as many as there are cores.
        let runtime = runtime::Builder::new_current_thread()
            .thread_name("daglight-otlp-names")
            .thread_keep_alive(KEEP_ALIVE)
            .max_blocking_threads(1)
            .on_thread_start(suppress_telemetry)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        // If a thread cannot be started, only this thread is left of the runtime, and it ends the runtime.
        let can_start = can_start_two();
        if can_start.is_ok() {
            // Starts the thread that resolves names now, while an error can still be reported; it is kept for the lifetime of the
            // process.
            handle.spawn_blocking(|| {});
        }
        // The thread waits for it.
        let _ = give.send(runtime);
        can_start?;
        Ok(Self { handle, _end: end })
    }
}

/// Whether two threads can be started at the same time: the one for names, and one that the program may start in the meantime.
fn can_start_two() -> io::Result<()> {
    let (release, released) = mpsc::channel::<()>();
    // It ends when the sender is dropped.
    let first = thread::Builder::new().spawn(move || _ = released.recv())?;
    let second = thread::Builder::new().spawn(|| {}).map(|thread| _ = thread.join());
    drop(release);
    // Neither can panic.
    let _ = first.join();
    second
}

/// An idle thread for names is kept: starting a new one could fail.
const KEEP_ALIVE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Prevents recording what a thread of the exporter does, for as long as the thread lives.
fn suppress_telemetry() {
    // For the lifetime of the thread: no scope could hold the guard.
    mem::forget(Context::enter_telemetry_suppressed_scope());
}

/// A channel that connects when it is first used. The timeout of a request is up to the caller.
fn channel(runtime: &GrpcRuntime, target: &OtlpTarget) -> Result<Channel, EndpointError> {
    let mut endpoint = Endpoint::from_shared(target.endpoint.clone())?
        .user_agent(USER_AGENT)?
        .connect_timeout(target.timeout);
    if target.endpoint.starts_with("https:") {
        let files = target.tls.checked()?;
        let tls = ClientTlsConfig::new();
        let mut tls = match &files.authorities {
            Some(authorities) => {
                let authorities = Authorities::from_pem(authorities.clone())?;
                tls.ca_certificate(Certificate::from_pem(authorities.pem()))
            }
            None => {
                check_system_roots()?;
                tls.with_enabled_roots()
            }
        };
        if let Some(identity) = &files.identity {
            tls = tls.identity(Identity::from_pem(identity.certificates_pem(), identity.key_pem()));
        }
        endpoint = endpoint.tls_config(tls)?;
    }
    // `connect_lazy` panics outside a runtime, although it connects only later.
    let _entered = runtime.handle.enter();
    Ok(endpoint.connect_lazy())
}
