//! The OTLP exporters of the three signals, over gRPC or HTTP, and the thread context in which each can run.

use std::{collections::HashMap, future::Future, io, sync::Arc, thread};

use opentelemetry_otlp::{
    Compression, ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
    tonic_types::{metadata::MetadataMap, transport::ClientTlsConfig},
};
use opentelemetry_sdk::metrics::Temporality;
use reqwest::{Url, blocking::Client};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::runtime::{self, Runtime};

use crate::environment::{OtlpProtocol, OtlpTarget};

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("cannot start the exporter's threads")]
    Threads(#[from] io::Error),
    #[error("cannot build the exporter")]
    Exporter(#[from] ExporterBuildError),
    #[error("cannot build the HTTP client")]
    Client(#[from] reqwest::Error),
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("the thread that builds the exporter panicked")]
    Panicked,
}

/// Where the futures of an exporter run. Clones share one runtime.
#[derive(Debug, Clone)]
pub(crate) enum Executor {
    /// HTTP blocks, so that any thread will do.
    Blocking,
    /// gRPC needs a Tokio runtime, which must not be the caller's: that one may have a single thread, or be gone.
    Tokio(Arc<GrpcRuntime>),
}

impl Executor {
    /// Runs a future to its end, on a thread that is no worker of a runtime.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Blocking => futures::executor::block_on(future),
            Self::Tokio(runtime) => runtime.handle.block_on(future),
        }
    }
}

/// A runtime with one worker that may be dropped anywhere, also inside another runtime.
#[derive(Debug)]
pub(crate) struct GrpcRuntime {
    handle: runtime::Handle,
    runtime: Option<Runtime>,
}

impl GrpcRuntime {
    fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("daglight-otlp")
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

/// Builds exporters; those over gRPC share a runtime.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    grpc: Option<Arc<GrpcRuntime>>,
}

impl Transport {
    pub(crate) fn spans(&mut self, target: &OtlpTarget) -> Result<(SpanExporter, Executor), TransportError> {
        self.build(
            target,
            |target| grpc(SpanExporter::builder().with_tonic(), target).build(),
            |target, client| http(SpanExporter::builder().with_http(), target, client).build(),
        )
    }

    pub(crate) fn logs(&mut self, target: &OtlpTarget) -> Result<(LogExporter, Executor), TransportError> {
        self.build(
            target,
            |target| grpc(LogExporter::builder().with_tonic(), target).build(),
            |target, client| http(LogExporter::builder().with_http(), target, client).build(),
        )
    }

    pub(crate) fn metrics(
        &mut self,
        target: &OtlpTarget,
        temporality: Temporality,
    ) -> Result<(MetricExporter, Executor), TransportError> {
        let builder = || MetricExporter::builder().with_temporality(temporality);
        self.build(
            target,
            |target| grpc(builder().with_tonic(), target).build(),
            |target, client| http(builder().with_http(), target, client).build(),
        )
    }

    /// Builds on a thread of its own, because a blocking HTTP client cannot be made inside a runtime.
    fn build<E: Send>(
        &mut self,
        target: &OtlpTarget,
        over_grpc: impl FnOnce(&OtlpTarget) -> Result<E, ExporterBuildError> + Send,
        over_http: impl FnOnce(&OtlpTarget, Client) -> Result<E, ExporterBuildError> + Send,
    ) -> Result<(E, Executor), TransportError> {
        match target.protocol {
            OtlpProtocol::Grpc => {
                let runtime = match &self.grpc {
                    Some(runtime) => Arc::clone(runtime),
                    None => Arc::clone(self.grpc.insert(Arc::new(GrpcRuntime::start()?))),
                };
                let exporter = on_own_thread(|| {
                    let _entered = runtime.handle.enter();
                    Ok(over_grpc(target)?)
                })?;
                Ok((exporter, Executor::Tokio(runtime)))
            }
            OtlpProtocol::HttpProtobuf => {
                let exporter = on_own_thread(|| Ok(over_http(target, http_client(target)?)?))?;
                Ok((exporter, Executor::Blocking))
            }
        }
    }
}

fn on_own_thread<T: Send>(
    build: impl FnOnce() -> Result<T, TransportError> + Send,
) -> Result<T, TransportError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("daglight-otlp".to_owned()).spawn_scoped(scope, build)?;
        builder.join().unwrap_or(Err(TransportError::Panicked))
    })
}

fn grpc<B: WithExportConfig + WithTonicConfig>(builder: B, target: &OtlpTarget) -> B {
    let mut metadata = MetadataMap::new();
    for (name, value) in &target.headers {
        if let (Ok(entry), Ok(value)) = (metadata.entry(name.to_ascii_lowercase()), value.expose().parse()) {
            entry.or_insert(value);
        }
    }
    let mut builder = builder
        .with_endpoint(&target.endpoint)
        .with_protocol(Protocol::Grpc)
        .with_timeout(target.timeout)
        .with_metadata(metadata);
    if target.endpoint.starts_with("https:") {
        builder = builder.with_tls_config(ClientTlsConfig::new().with_enabled_roots());
    }
    if target.gzip { builder.with_compression(Compression::Gzip) } else { builder }
}

fn http<B: WithExportConfig + WithHttpConfig>(builder: B, target: &OtlpTarget, client: Client) -> B {
    // The builder decodes percent signs once more.
    let encoded = |value: &str| value.replace('%', "%25");
    let headers: HashMap<String, String> =
        target.headers.iter().map(|(name, value)| (name.clone(), encoded(value.expose()))).collect();
    let builder = builder
        .with_endpoint(&target.endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(target.timeout)
        .with_http_client(client)
        .with_headers(headers);
    if target.gzip { builder.with_compression(Compression::Gzip) } else { builder }
}

/// A client that asks no proxy for an endpoint on this machine.
pub(crate) fn http_client(target: &OtlpTarget) -> Result<Client, TransportError> {
    // The client does not know before a request whether it needs TLS. Left alone it would look for a provider that the
    // process has installed, and panic where there is none.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = if target.endpoint.starts_with("https:") {
        tls.with_platform_verifier()?
    } else {
        tls.with_root_certificates(RootCertStore::empty())
    };
    let mut client =
        Client::builder().timeout(target.timeout).tls_backend_preconfigured(tls.with_no_client_auth());
    if is_on_this_machine(&target.endpoint) {
        client = client.no_proxy();
    }
    Ok(client.build()?)
}

fn is_on_this_machine(endpoint: &str) -> bool {
    let host = Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
}
