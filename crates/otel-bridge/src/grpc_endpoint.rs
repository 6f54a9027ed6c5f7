//! An OTLP endpoint over gRPC: its channel, the runtime that the channel needs, and requests that are sent as they are.

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

    /// The endpoint as it is shown.
    pub(crate) fn shown(&self) -> &ShownEndpoint {
        &self.shown
    }

    /// Does `work` on this thread, within the time for one request.
    pub(crate) fn wait_for<T>(&self, work: impl Future<Output = T>) -> Result<T, SendError> {
        // Polled on this thread, where the subscriber for the exporter's events is; only the connection lives on the
        // runtime's.
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
        // A channel that connects lazily connects here, and this is where an endpoint that is away fails.
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
            // By the specification it may be repeated only where the server says when.
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

/// The runtime of gRPC: not the caller's, which may have a single thread, or be gone. It runs on one thread of ours, and
/// may be dropped anywhere, also inside another runtime.
#[derive(Debug)]
pub(crate) struct GrpcRuntime {
    handle: runtime::Handle,
    /// Ends the thread when it is dropped.
    _end: oneshot::Sender<()>,
}

impl GrpcRuntime {
    /// The runtime in `slot`; it is started where the slot is empty.
    fn shared(slot: &mut Option<Arc<Self>>) -> io::Result<Arc<Self>> {
        match slot {
            Some(runtime) => Ok(Arc::clone(runtime)),
            None => Ok(Arc::clone(slot.insert(Arc::new(Self::start()?)))),
        }
    }

    /// Tokio panics where it cannot start a thread of its own, and so its thread is ours; the one that looks up names is
    /// started now, after one that shows that it can be, and stays.
    fn start() -> io::Result<Self> {
        // The thread is there before the runtime is: where it cannot be started, no runtime is left over, whose drop
        // would have to wait in what may be asynchronous code of the program.
        let (give, given) = mpsc::channel::<Runtime>();
        let (end, ended) = oneshot::channel::<()>();
        let drive = move || {
            let Ok(runtime) = given.recv() else { return };
            suppress_telemetry();
            // It has ended when its sender is dropped.
            let _ = runtime.block_on(ended);
            // Without waiting: it may resolve a name, and the system's resolver takes as long as it likes.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("daglight-otlp".into()).spawn(drive)?;
        // One thread is enough for a connection, and a multi-threaded runtime would start as many as there are
        // cores.
        let runtime = runtime::Builder::new_current_thread()
            .thread_name("daglight-otlp-names")
            .thread_keep_alive(KEEP_ALIVE)
            .max_blocking_threads(1)
            .on_thread_start(suppress_telemetry)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        // Where a thread cannot be started, nothing is left of the runtime but this thread, which ends it.
        let can_start = can_start_two();
        if can_start.is_ok() {
            // Starts the thread that resolves names now, while an error can still be said; it is kept for as long as
            // the process lives.
            handle.spawn_blocking(|| {});
        }
        // The thread waits for it.
        let _ = give.send(runtime);
        can_start?;
        Ok(Self { handle, _end: end })
    }
}

/// Whether two threads can be there at once: the one for names, and one that the program starts before that one is there.
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

/// A thread for names that has nothing to do stays: another one may not start.
const KEEP_ALIVE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a thread of the exporter does is recorded by nobody, for as long as the thread lives.
fn suppress_telemetry() {
    // For the life of the thread: no scope could hold the guard.
    mem::forget(Context::enter_telemetry_suppressed_scope());
}

/// A channel that connects when it is first used. How long a request may take is up to the one who makes it.
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
    // `connect_lazy` panics outside of a runtime, although it connects only later.
    let _entered = runtime.handle.enter();
    Ok(endpoint.connect_lazy())
}
