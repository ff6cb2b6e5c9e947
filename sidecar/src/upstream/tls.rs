//! How much of an upstream's certificate is believed.

mod verify;

use std::{
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use policy::{TlsDocument, TlsMode};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use verify::Verifier;

/// What is spoken inside, as direct TLS and newer servers want to hear it.
pub const ALPN: &[u8] = b"postgresql";

/// How many different ways to trust are kept.
const KEPT_TRUSTS: usize = 64;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA bundle holds no certificate.
    #[error("the Connection's `caBundle` holds no certificate that can be read")]
    Bundle,
    /// The system has no roots.
    #[error("the sidecar has no root certificates; give the Connection a `caBundle`")]
    NoRoots,
    /// The host is no name that a certificate can have.
    #[error("the Connection's host is neither a DNS name nor an IP address")]
    Name,
    /// The answer to the request for TLS is none.
    #[error("it does not speak PostgreSQL's protocol")]
    Garbage,
    /// The certificate is not believed.
    #[error("its certificate is not trusted: {0}")]
    Certificate(String),
    /// Anything else in the handshake.
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    /// The crypto library refuses its own defaults.
    #[error("TLS cannot be configured")]
    Config(#[from] rustls::Error),
}

impl TlsError {
    /// What went wrong in a handshake.
    pub(super) fn handshake(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(reason)) => Self::Certificate(describe(reason)),
            _ => Self::Handshake(error),
        }
    }
}

/// In words, and without the host's name.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library adds reasons; all others read alike")]
fn describe(reason: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Reason;
    match reason {
        // An issuer of the same name that has another key.
        Reason::UnknownIssuer | Reason::BadSignature => {
            "its issuer is not in the `caBundle` (or the system's roots)".into()
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            "it is not for the Connection's host; VerifyCA would leave the name unchecked".into()
        }
        Reason::Expired | Reason::ExpiredContext { .. } => "it has expired".into(),
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => "it is not valid yet".into(),
        Reason::BadEncoding => "it cannot be read".into(),
        _ => "it does not hold up".into(),
    }
}

/// How a certificate is judged, made from a Connection.
#[derive(Debug)]
pub struct Trust {
    config: Arc<ClientConfig>,
    verified: bool,
}

impl Trust {
    /// What the Connection asks for; kept, so that roots are read once and TLS sessions are resumed.
    ///
    /// # Errors
    /// When it asks for a check and there are no roots to check against.
    pub fn of(document: &TlsDocument) -> Result<Arc<Self>, TlsError> {
        static KEPT: Mutex<Vec<(TlsDocument, Arc<Trust>)>> = Mutex::new(Vec::new());
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, trust)) = kept.iter().find(|(of, _)| of == document) {
            return Ok(Arc::clone(trust));
        }
        let trust = Arc::new(Self::new(document)?);
        if kept.len() >= KEPT_TRUSTS {
            kept.remove(0);
        }
        kept.push((document.clone(), Arc::clone(&trust)));
        drop(kept);
        Ok(trust)
    }

    fn new(document: &TlsDocument) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier::new(document.mode, roots(document)?, &provider);
        // Without the name, a chain to a public root proves nothing about who it is.
        let verified = match document.mode {
            TlsMode::VerifyFull => true,
            TlsMode::VerifyCa => document.ca_bundle.is_some(),
            TlsMode::Require | TlsMode::Disable => false,
        };
        Ok(Self { config: config(provider, verifier)?, verified })
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Whether the other side has to prove who it is.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.verified
    }
}

fn config(provider: Arc<CryptoProvider>, verifier: Verifier) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn roots(document: &TlsDocument) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    match (document.mode, &document.ca_bundle) {
        (TlsMode::Disable | TlsMode::Require, _) => Ok(Vec::new()),
        (TlsMode::VerifyCa | TlsMode::VerifyFull, Some(bundle)) => bundled(bundle),
        (TlsMode::VerifyCa | TlsMode::VerifyFull, None) => native(),
    }
}

fn bundled(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = read.map_err(|_| TlsError::Bundle)?;
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(certificates.iter().cloned());
    if usable == 0 { Err(TlsError::Bundle) } else { Ok(certificates) }
}

/// The system's roots, read once.
fn native() -> Result<Vec<CertificateDer<'static>>, TlsError> {
    static NATIVE: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    let found = NATIVE.get_or_init(|| rustls_native_certs::load_native_certs().certs);
    if found.is_empty() { Err(TlsError::NoRoots) } else { Ok(found.clone()) }
}

/// `tls-server-end-point` (RFC 5929): the hash of the server's certificate, by the hash of its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding(Vec<u8>);

impl Binding {
    /// None where the signature's algorithm does not say which hash.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let algorithm = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
            // MD5 and SHA-1 are replaced by SHA-256, says the RFC.
            "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => &SHA256,
            "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => &SHA256,
            "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &SHA384,
            "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &SHA512,
            _ => return None,
        };
        Some(Self(digest(algorithm, certificate).as_ref().to_vec()))
    }

    /// The hash.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
