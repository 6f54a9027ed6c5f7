//! Which servers are believed to be who they say.

use std::{path::Path, sync::Arc};

use daglight_guarded_files::read_named;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
};
use rustls_platform_verifier::{BuilderVerifierExt, Verifier};

use crate::ConnectionError;

/// Bytes of a file of certificates, 16 MiB: those of all authorities take less than one.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Who is trusted.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// The authorities of the system.
    System,
    /// These, too.
    Authorities(Vec<CertificateDer<'static>>),
    /// Whoever answers.
    Anybody,
}

impl Trust {
    /// # Errors
    /// When the file cannot be read, or has no certificate.
    pub(crate) fn of_file(path: &Path) -> Result<Self, pem::Error> {
        let text = read_named(path, MAX_FILE_BYTES).map_err(pem::Error::Io)?;
        let authorities = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>()?;
        if authorities.is_empty() {
            Err(pem::Error::NoItemsFound)
        } else {
            Ok(Self::Authorities(authorities))
        }
    }

    /// The TLS of an HTTP client for URLs of this scheme.
    ///
    /// # Errors
    /// When the certificates of the system cannot be read, or a certificate cannot be used.
    pub(crate) fn client_config(&self, scheme: &str) -> Result<ClientConfig, ConnectionError> {
        let tls = |source| ConnectionError::Tls { source };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(tls)?;
        let builder = match self {
            // Reading the system's certificates takes longer than all else at a start, so plain HTTP does without.
            _ if scheme != "https" => builder.with_root_certificates(RootCertStore::empty()),
            Self::System => builder.with_platform_verifier().map_err(tls)?,
            Self::Authorities(more) => {
                let verifier = Verifier::new_with_extra_roots(more.iter().cloned(), provider).map_err(tls)?;
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
            }
            Self::Anybody => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            }
        };
        Ok(builder.with_no_client_auth())
    }
}

/// Takes every certificate.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
