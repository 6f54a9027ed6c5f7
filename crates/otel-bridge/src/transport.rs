//! What both kinds of OTLP endpoints have in common: why one cannot be used, and the headers of each request.

use std::io;

use daglight_http_transport::secret_header;
use reqwest::header::{HeaderMap, HeaderName};
use tonic::transport;

use crate::otlp_target::{BadCertificates, OtlpTarget};

/// Why an endpoint cannot be reached at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("cannot start the exporter's threads")]
    Threads(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] daglight_http_transport::TransportError),
    #[error(transparent)]
    Certificates(#[from] BadCertificates),
    #[error("cannot build the gRPC client")]
    Channel(#[from] transport::Error),
    #[error("cannot build the exporter")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("the endpoint is not a URL")]
    Url,
    #[error("the name or the value of the header {name:?} cannot be sent")]
    Header { name: String },
}

/// What every request carries; its values do not show in `Debug`.
pub(crate) fn headers(target: &OtlpTarget) -> Result<HeaderMap, EndpointError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &target.headers {
        let unsendable = || EndpointError::Header { name: name.clone() };
        let header = HeaderName::try_from(name).map_err(|_| unsendable())?;
        headers.append(header, secret_header(value.expose()).ok_or_else(unsendable)?);
    }
    Ok(headers)
}
