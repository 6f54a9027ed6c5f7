//! The content of a file of certificates or of a key, and what is wrong if it is not as expected.

use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _, SectionKind},
    },
    sign::CertifiedKey,
};

/// The maximum size of a file of certificates or of a key, 16 MiB: the certificates of all authorities take less than one.
pub const MAX_CERTIFICATE_BYTES: u64 = 16 << 20;

/// Why a file of certificates or of a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is not text; DER files are binary.
    #[error("it is binary, as DER is: expected PEM")]
    Binary,
    /// It has no certificate.
    #[error("it has no certificate: expected PEM with a line -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// It has a key where a certificate is expected.
    #[error("it has a private key: expected a certificate")]
    KeyInstead,
    /// A certificate in it cannot be parsed.
    #[error("a certificate in it is damaged")]
    DamagedCertificate,
    /// It has no key.
    #[error("it has no private key: expected PEM with a line -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// It has a certificate where a key is expected.
    #[error("it has a certificate: expected a private key")]
    CertificateInstead,
    /// The key is encrypted with a passphrase.
    #[error("its private key is encrypted: expected one without a passphrase")]
    EncryptedKey,
    /// The type of the key is not supported, or it is damaged.
    #[error("its private key is damaged, or of a kind that is not known")]
    UnusableKey,
    /// The key belongs to another certificate.
    #[error("the private key belongs to another certificate")]
    Mismatch,
    /// A section is not complete.
    #[error("a section in it has no end")]
    Truncated,
    /// A section is not base64.
    #[error("a section in it is damaged")]
    Damaged,
}

/// The certificates in a PEM text, at least one.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let sections = sections(text)?;
    let of_kind = |kind| sections.iter().filter(move |(found, _)| *found == kind);
    let certificates: Vec<CertificateDer<'static>> =
        of_kind(SectionKind::Certificate).map(|(_, der)| CertificateDer::from(der.clone())).collect();
    if certificates.is_empty() {
        let has_key = sections.iter().any(|(kind, _)| is_key(*kind)) || is_encrypted_key(text);
        return Err(if has_key { PemError::KeyInstead } else { PemError::NoCertificate });
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|_| PemError::DamagedCertificate)?;
    }
    Ok(certificates)
}

/// The key in a PEM text.
pub(crate) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    let sections = sections(text)?;
    if !sections.iter().any(|(kind, _)| is_key(*kind)) {
        return Err(match sections.iter().any(|(kind, _)| *kind == SectionKind::Certificate) {
            _ if is_encrypted_key(text) => PemError::EncryptedKey,
            true => PemError::CertificateInstead,
            false => PemError::NoKey,
        });
    }
    let key = PrivateKeyDer::from_pem_slice(text).map_err(|_| PemError::UnusableKey)?;
    ring::default_provider()
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|_| PemError::UnusableKey)?;
    Ok(key)
}

/// Checks that a file, named in a variable or a setting, contains PEM certificates.
///
/// # Errors
/// When it contains none, or a damaged one.
pub fn check_certificates(text: &[u8]) -> Result<(), PemError> {
    certificates(text).map(drop)
}

/// Checks that a file contains a PEM private key.
///
/// # Errors
/// When it contains none, or one that cannot be used.
pub fn check_key(text: &[u8]) -> Result<(), PemError> {
    key(text).map(drop)
}

/// A certificate chain with the key of its first certificate.
pub(crate) fn pair(
    certificates_pem: &[u8],
    key_pem: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PemError> {
    let (certificates, key) = (certificates(certificates_pem)?, key(key_pem)?);
    CertifiedKey::from_der(certificates.clone(), key.clone_key(), &ring::default_provider())
        .map_err(|_| PemError::Mismatch)?;
    Ok((certificates, key))
}

fn sections(text: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, PemError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(PemError::Empty);
    }
    // A text may have comments between its sections, in any language.
    if text.contains(&0) || (std::str::from_utf8(text).is_err() && !contains(text, b"-----BEGIN ")) {
        return Err(PemError::Binary);
    }
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text).collect::<Result<_, _>>();
    sections.map_err(|error| match error {
        pem::Error::MissingSectionEnd { .. } => PemError::Truncated,
        _ => PemError::Damaged,
    })
}

const fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey)
}

fn is_encrypted_key(text: &[u8]) -> bool {
    contains(text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

    use super::*;

    fn made() -> (String, String, Vec<u8>) {
        let Made { cert, signing_key } = generate_simple_self_signed(["localhost".into()]).unwrap();
        (cert.pem(), signing_key.serialize_pem(), cert.der().to_vec())
    }

    #[test]
    fn what_is_not_a_file_of_certificates_or_of_a_key_is_called_by_what_it_is() {
        let (certificate, key, der) = made();
        let half = &certificate.as_bytes()[..certificate.len() / 2];
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let no_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let no_base64 = "-----BEGIN CERTIFICATE-----\n?!\n-----END CERTIFICATE-----\n";
        for (text, of_certificates, of_key) in [
            (&b""[..], PemError::Empty, PemError::Empty),
            (b" \n", PemError::Empty, PemError::Empty),
            (b"hello", PemError::NoCertificate, PemError::NoKey),
            (&der, PemError::Binary, PemError::Binary),
            (half, PemError::Truncated, PemError::Truncated),
            (no_base64.as_bytes(), PemError::Damaged, PemError::Damaged),
            (no_der.as_bytes(), PemError::DamagedCertificate, PemError::CertificateInstead),
            (no_key.as_bytes(), PemError::KeyInstead, PemError::UnusableKey),
            (encrypted.as_bytes(), PemError::KeyInstead, PemError::EncryptedKey),
        ] {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(check_certificates(text), Err(of_certificates), "{shown}");
            assert_eq!(check_key(text), Err(of_key), "{shown}");
        }
        assert_eq!(check_certificates(key.as_bytes()), Err(PemError::KeyInstead));
        assert_eq!(check_key(certificate.as_bytes()), Err(PemError::CertificateInstead));
        let both = format!("# Größe\n{certificate}{key}");
        check_certificates(both.as_bytes()).unwrap();
        check_key(both.as_bytes()).unwrap();
        pair(certificate.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(pair(made().0.as_bytes(), key.as_bytes()).map(drop), Err(PemError::Mismatch));
    }
}
