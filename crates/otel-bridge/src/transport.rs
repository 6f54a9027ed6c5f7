//! How OTLP endpoints are reached: HTTP clients and gRPC channels, their certificates, and the runtime of gRPC.

use std::{io, mem, sync::Arc, thread};

use opentelemetry::Context;
use reqwest::{
    Url,
    blocking::Client,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::runtime::{self, Runtime};
use tonic::transport::{self, Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::environment::OtlpTarget;

/// What requests say that they come from.
const USER_AGENT: &str = concat!("daglight/", env!("CARGO_PKG_VERSION"));

/// Why an endpoint cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("cannot start the exporter's threads")]
    Threads(#[from] io::Error),
    #[error("cannot build the HTTP client")]
    Client(#[from] reqwest::Error),
    #[error("cannot build the gRPC client")]
    Channel(#[from] transport::Error),
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    #[error("cannot read the certificates for TLS")]
    Certificates(#[from] pem::Error),
    #[error("the name or the value of the header {name:?} cannot be sent")]
    Header { name: String },
    #[error("the thread that builds the exporter panicked")]
    Panicked,
}

/// The certificates for one endpoint, as PEM; what is `None` is left to the system.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    /// Whom to trust.
    pub(crate) authorities: Option<Vec<u8>>,
    /// What the client shows.
    pub(crate) identity: Option<ClientIdentity>,
}

/// A client's certificates and its key.
#[derive(Clone)]
pub(crate) struct ClientIdentity {
    pub(crate) certificates: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
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
    pub(crate) fn shared(slot: &mut Option<Arc<Self>>) -> io::Result<Arc<Self>> {
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

    pub(crate) fn handle(&self) -> &runtime::Handle {
        &self.handle
    }
}

impl Drop for GrpcRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `build` on a thread of its own, because a blocking HTTP client cannot be made inside a runtime.
pub(crate) fn on_own_thread<T: Send>(
    build: impl FnOnce() -> Result<T, TransportError> + Send,
) -> Result<T, TransportError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("daglight-otlp".to_owned()).spawn_scoped(scope, build)?;
        builder.join().unwrap_or(Err(TransportError::Panicked))
    })
}

/// A channel that connects when it is first used. How long a request may take is up to the one who makes it.
pub(crate) fn grpc_channel(runtime: &GrpcRuntime, target: &OtlpTarget) -> Result<Channel, TransportError> {
    let mut endpoint = Endpoint::from_shared(target.endpoint.clone())?
        .user_agent(USER_AGENT)?
        .connect_timeout(target.timeout);
    if target.endpoint.starts_with("https:") {
        let tls = ClientTlsConfig::new();
        let mut tls = match &target.tls.authorities {
            Some(authorities) => {
                // A file without any would refuse every endpoint, and not say why.
                roots(authorities)?;
                tls.ca_certificate(Certificate::from_pem(authorities))
            }
            None => tls.with_enabled_roots(),
        };
        if let Some(identity) = &target.tls.identity {
            tls = tls.identity(Identity::from_pem(&identity.certificates, &identity.key));
        }
        endpoint = endpoint.tls_config(tls)?;
    }
    let _entered = runtime.handle.enter();
    Ok(endpoint.connect_lazy())
}

/// What every request carries; its values do not show in `Debug`.
pub(crate) fn headers(target: &OtlpTarget) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &target.headers {
        let unsendable = || TransportError::Header { name: name.clone() };
        let header = HeaderName::try_from(name).map_err(|_| unsendable())?;
        let mut value = HeaderValue::try_from(value.expose()).map_err(|_| unsendable())?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

/// A client that asks no proxy for an endpoint on this machine.
pub(crate) fn http_client(target: &OtlpTarget) -> Result<Client, TransportError> {
    let mut client = Client::builder()
        .user_agent(USER_AGENT)
        .timeout(target.timeout)
        .default_headers(headers(target)?)
        // Elsewhere the headers may be nobody's business, and a POST would mostly arrive as a GET.
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(tls_config(target)?);
    if is_on_this_machine(&target.endpoint) {
        client = client.no_proxy();
    }
    let client = client.build()?;
    // What is no URL is found out now, and not when there is something to send.
    client.post(&target.endpoint).build()?;
    Ok(client)
}

fn tls_config(target: &OtlpTarget) -> Result<ClientConfig, TransportError> {
    // The client does not know before a request whether it needs TLS. Left alone it would look for a provider that the
    // process has installed, and panic where there is none.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = match &target.tls.authorities {
        Some(authorities) => tls.with_root_certificates(roots(authorities)?),
        None if target.endpoint.starts_with("https:") => tls.with_platform_verifier()?,
        None => tls.with_root_certificates(RootCertStore::empty()),
    };
    Ok(match &target.tls.identity {
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(&identity.certificates).collect::<Result<_, _>>()?;
            tls.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&identity.key)?)?
        }
        None => tls.with_no_client_auth(),
    })
}

/// The certificates of authorities, of which there is at least one.
fn roots(authorities: &[u8]) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err(pem::Error::NoItemsFound.into()) } else { Ok(roots) }
}

fn is_on_this_machine(endpoint: &str) -> bool {
    let host = Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
}
