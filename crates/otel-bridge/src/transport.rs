//! How OTLP endpoints are reached: HTTP clients and gRPC channels, their certificates, and the runtime of gRPC.

use std::{io, mem, sync::Arc};

use daglight_http_transport::{
    Authorities, ClientIdentity, Trust, USER_AGENT, build, client_builder, secret_header,
};
use opentelemetry::Context;
use reqwest::{
    Url,
    blocking::Client,
    header::{HeaderMap, HeaderName},
};
use tokio::runtime::{self, Runtime};
use tonic::transport::{self, Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::environment::OtlpTarget;

/// Why an endpoint cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("cannot start the exporter's threads")]
    Threads(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] daglight_http_transport::TransportError),
    #[error("cannot build the gRPC client")]
    Channel(#[from] transport::Error),
    #[error("the endpoint is not a URL")]
    Url,
    #[error("the name or the value of the header {name:?} cannot be sent")]
    Header { name: String },
}

/// The certificates for one endpoint, as PEM; what is `None` is left to the system.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    /// Whom to trust.
    pub(crate) authorities: Option<Vec<u8>>,
    /// What the client shows.
    pub(crate) identity: Option<ClientIdentity>,
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

/// A channel that connects when it is first used. How long a request may take is up to the one who makes it.
pub(crate) fn grpc_channel(runtime: &GrpcRuntime, target: &OtlpTarget) -> Result<Channel, TransportError> {
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
            None => tls.with_enabled_roots(),
        };
        if let Some(identity) = &target.tls.identity {
            tls = tls.identity(Identity::from_pem(identity.certificates_pem(), identity.key_pem()));
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
        headers.append(header, secret_header(value.expose()).ok_or_else(unsendable)?);
    }
    Ok(headers)
}

/// A client for the endpoint.
pub(crate) fn http_client(target: &OtlpTarget) -> Result<Client, TransportError> {
    // What is not a URL is found out now, and not when there is something to send.
    let url = Url::parse(&target.endpoint).map_err(|_| TransportError::Url)?;
    let trust = match &target.tls.authorities {
        Some(authorities) => Trust::Only(Authorities::from_pem(authorities.clone())?),
        None => Trust::System,
    };
    let builder = client_builder(&url, &trust, target.tls.identity.as_ref())?;
    Ok(build(builder.timeout(target.timeout).default_headers(headers(target)?))?)
}
