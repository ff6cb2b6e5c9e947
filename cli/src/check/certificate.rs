//! Whether the certificate that a replica serves is the one that the API server trusts.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// The operator renews a leaf when 30 days are left; sidecars and API server know the next root years before.
const RENEWED_BEFORE_DAYS: i64 = 25;

/// What a certificate comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Good until then.
    Until(Timestamp),
    /// It is good, but should have been renewed by now.
    Late(Timestamp),
    /// The API server refuses it, and why.
    Refused(String),
}

/// Judges a chain as the API server does.
pub(super) fn judge(bundle: &[u8], chain: &[CertificateDer<'_>], name: &str, now: Timestamp) -> Trust {
    match verify(bundle, chain, name, now) {
        Err(why) => Trust::Refused(why),
        Ok(ends) => {
            let days = (ends.as_second() - now.as_second()) / (24 * 3600);
            if days < RENEWED_BEFORE_DAYS { Trust::Late(ends) } else { Trust::Until(ends) }
        }
    }
}

fn verify(
    bundle: &[u8],
    chain: &[CertificateDer<'_>],
    name: &str,
    now: Timestamp,
) -> Result<Timestamp, String> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle) {
        let root = root.map_err(|error| format!("caBundle is no PEM: {error:?}"))?;
        roots.add(root).map_err(|error| format!("caBundle: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|error| format!("caBundle: {error}"))?;
    let (leaf, between) = chain.split_first().ok_or("no certificate is served")?;
    let server = ServerName::try_from(name).map_err(|_| format!("`{name}` is no host name"))?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    verifier.verify_server_cert(leaf, between, &server, &[], at).map_err(|error| error.to_string())?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|error| error.to_string())?;
    let ends = parsed.validity().not_after.timestamp();
    Timestamp::from_second(ends).map_err(|error| error.to_string())
}

/// The chain that is served on a stream. Nothing is sent over it, so that it need not be trusted yet.
pub(super) async fn served<S>(stream: S, name: &str) -> anyhow::Result<Vec<CertificateDer<'static>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(accept::Any::new()))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (_, session) = stream.get_ref();
    Ok(session.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect())
}

/// Takes any certificate, so that it can be looked at.
mod accept {
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    };
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    #[derive(Debug)]
    pub(super) struct Any(CryptoProvider);

    impl Any {
        pub(super) fn new() -> Self {
            Self(aws_lc_rs::default_provider())
        }
    }

    impl ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(test)]
mod tests;
