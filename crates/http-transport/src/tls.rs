//! Which servers are trusted, and the certificate of a client.

use std::{fmt, path::Path, sync::Arc};

use daglight_guarded_files::read_named;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::{BuilderVerifierExt as _, Verifier};

use crate::{
    error::TransportError,
    pem::{self, MAX_CERTIFICATE_BYTES, PemError},
    system_roots::check_system_roots,
};

/// Which servers are trusted.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those with a certificate signed by an authority of the system.
    #[default]
    System,
    /// Those, and servers with a certificate signed by these authorities.
    SystemAnd(Authorities),
    /// Only servers with a certificate signed by these authorities.
    Only(Authorities),
    /// Any server: anyone on the network path can read and change what is sent.
    Anyone,
}

/// Certificates of authorities, at least one.
#[derive(Clone)]
pub struct Authorities {
    pem: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// The certificates in a PEM text.
    ///
    /// # Errors
    /// When it contains none, or an invalid one: that would reject every server, without saying why.
    pub fn from_pem(pem: Vec<u8>) -> Result<Self, TransportError> {
        let certificates = pem::certificates(&pem).map_err(TransportError::certificates)?;
        Ok(Self { pem, certificates })
    }

    /// The certificates in a PEM file.
    ///
    /// # Errors
    /// When it cannot be read, has more than [`MAX_CERTIFICATE_BYTES`], or like [`Self::from_pem`].
    pub fn from_file(path: &Path) -> Result<Self, TransportError> {
        Self::from_pem(read_named(path, MAX_CERTIFICATE_BYTES).map_err(TransportError::certificates)?)
    }

    /// The text from which they were read.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    fn roots(&self) -> Result<RootCertStore, TransportError> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.certificates {
            roots.add(certificate.clone()).map_err(TransportError::tls)?;
        }
        Ok(roots)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

/// The certificates of a client with their key, both as PEM. `Debug` shows neither.
#[derive(Clone)]
pub struct ClientIdentity {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

impl ClientIdentity {
    /// An identity. Whether the texts are certificates and a key is checked when a client is built.
    pub fn from_pem(certificates: Vec<u8>, key: Vec<u8>) -> Self {
        Self { certificates, key }
    }

    /// Checks that the key belongs to the certificates.
    ///
    /// # Errors
    /// When one of the texts is invalid, or they do not belong together.
    pub fn check(&self) -> Result<(), PemError> {
        pem::pair(&self.certificates, &self.key).map(drop)
    }

    /// The certificates, as PEM.
    pub fn certificates_pem(&self) -> &[u8] {
        &self.certificates
    }

    /// The key, as PEM.
    pub fn key_pem(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").finish_non_exhaustive()
    }
}

impl Trust {
    /// The TLS configuration of a client for URLs with this scheme.
    pub(crate) fn client_config(
        &self,
        scheme: &str,
        identity: Option<&ClientIdentity>,
    ) -> Result<ClientConfig, TransportError> {
        // By default, the client would look for a provider that the process has installed, and panic without one.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TransportError::tls)?;
        if scheme == "https" && matches!(self, Self::System | Self::SystemAnd(_)) {
            check_system_roots()?;
        }
        let builder = match self {
            // Reading the system's certificates takes longer than everything else at startup, so it is skipped for plain HTTP.
            _ if scheme != "https" => builder.with_root_certificates(RootCertStore::empty()),
            Self::System => builder.with_platform_verifier().map_err(TransportError::tls)?,
            // In addition to those of the system: a company's own authority signs its server, and a public one everything else.
            Self::SystemAnd(more) => {
                let verifier = Verifier::new_with_extra_roots(more.certificates.iter().cloned(), provider);
                let verifier = Arc::new(verifier.map_err(TransportError::tls)?);
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
            // As OpenTelemetry defines its variable: only the authorities in the file are trusted.
            Self::Only(authorities) => builder.with_root_certificates(authorities.roots()?),
            Self::Anyone => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            }
        };
        let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
        let (chain, key) =
            pem::pair(&identity.certificates, &identity.key).map_err(TransportError::certificates)?;
        builder.with_client_auth_cert(chain, key).map_err(TransportError::tls)
    }
}

/// Accepts every certificate.
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

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn certificate() -> (Vec<u8>, Vec<u8>) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()]).unwrap();
        (cert.pem().into_bytes(), signing_key.serialize_pem().into_bytes())
    }

    #[test]
    fn every_kind_of_trust_makes_a_client() {
        let (pem, key) = certificate();
        let authorities = Authorities::from_pem(pem.clone()).unwrap();
        let identity = ClientIdentity::from_pem(pem, key);
        let all =
            [Trust::System, Trust::SystemAnd(authorities.clone()), Trust::Only(authorities), Trust::Anyone];
        for (trust, scheme) in all.iter().flat_map(|trust| [(trust, "https"), (trust, "http")]) {
            trust.client_config(scheme, None).unwrap();
            assert!(
                trust.client_config(scheme, Some(&identity)).unwrap().client_auth_cert_resolver.has_certs()
            );
        }
    }

    #[test]
    fn what_holds_no_certificate_is_an_error() {
        let none = Authorities::from_pem(b"not a certificate".to_vec());
        assert!(matches!(none, Err(TransportError::Certificates { .. })));
        let folder = tempfile::tempdir().unwrap();
        let missing = Authorities::from_file(&folder.path().join("ca.pem"));
        assert!(matches!(missing, Err(TransportError::Certificates { .. })));
        let identity = ClientIdentity::from_pem(b"x".to_vec(), b"a secret".to_vec());
        assert!(!format!("{identity:?}").contains("secret"));
        assert!(matches!(
            Trust::System.client_config("http", Some(&identity)),
            Err(TransportError::Certificates { .. })
        ));
    }
}
