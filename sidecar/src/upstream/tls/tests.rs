//! TLS towards scripted upstreams: whose certificate is believed, and that nothing is said to any other.

use std::sync::Arc;

use policy::{TlsDocument, TlsMode, Upstream};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ED25519, date_time_ymd};
use rstest::rstest;
use rustls::{ServerConfig, version::TLS12};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    stream::Stream,
    upstream::{Security, UpstreamError, secure},
};

const HOST: &str = "db.example";
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// A CA of the test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("makes");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("signs").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this name, changed so.
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().expect("makes");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }
}

/// A server's certificate and key.
struct Identity {
    pem: String,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    fn self_signed(key: KeyPair) -> Self {
        let params = CertificateParams::new(vec![HOST.to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signs");
        Self { pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }

    fn acceptor(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let builder = builder.expect("versions").with_no_client_auth();
        let config = builder.with_single_cert(vec![self.certificate.clone()], key).expect("fits");
        TlsAcceptor::from(Arc::new(config))
    }
}

fn upstream(mode: TlsMode, roots: Option<&str>) -> Upstream {
    let tls = TlsDocument { mode, ca_bundle: roots.map(str::to_owned) };
    Upstream { host: HOST.into(), port: 5432, tls }
}

/// What an upstream heard through TLS, after it agreed to it.
async fn serve(mut stream: DuplexStream, acceptor: TlsAcceptor) -> Vec<u8> {
    let mut request = [0; 8];
    stream.read_exact(&mut request).await.expect("asks");
    assert_eq!(request, SSL_REQUEST);
    stream.write_all(b"S").await.expect("is there");
    let mut heard = Vec::new();
    if let Ok(mut tls) = acceptor.accept(stream).await {
        // A client that does not believe us ends without a word.
        drop(tls.read_to_end(&mut heard).await);
    }
    heard
}

/// Sets up TLS with an upstream that has this identity, and says `secret` where that went well.
async fn meet(upstream: &Upstream, identity: &Identity) -> (Result<Security, UpstreamError>, Vec<u8>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let client = async {
        let reached = secure(Stream::Memory(ours), upstream).await?;
        let mut stream = reached.stream;
        stream.write_all(b"secret").await.expect("is there");
        stream.shutdown().await.expect("shuts down");
        // Kept until the other side has heard everything.
        Ok((reached.security, stream))
    };
    let (met, heard) = tokio::join!(client, serve(theirs, identity.acceptor(rustls::ALL_VERSIONS)));
    (met.map(|(security, _stream)| security), heard)
}

fn verified(security: &Security) -> bool {
    matches!(security, Security::Tls { verified: true, .. })
}

#[rstest]
#[case::require_without_roots(TlsMode::Require, HOST, false, None)]
#[case::the_right_name(TlsMode::VerifyFull, HOST, true, Some(true))]
#[case::the_chain_alone(TlsMode::VerifyCa, "other.example", true, Some(true))]
#[tokio::test]
async fn what_is_believed_gets_the_bytes(
    #[case] mode: TlsMode,
    #[case] name: &str,
    #[case] rooted: bool,
    #[case] proved: Option<bool>,
) {
    let authority = Authority::new("ours");
    let identity = authority.issue(name, |_| {});
    let (security, heard) = meet(&upstream(mode, rooted.then_some(authority.pem.as_str())), &identity).await;
    let security = security.expect("is believed");
    assert_eq!(verified(&security), proved.unwrap_or(false));
    assert_eq!(heard, b"secret");
}

#[rstest]
#[case::another_name(TlsMode::VerifyFull, "other.example", "it is not for the Connection's host")]
#[case::a_name_within(
    TlsMode::VerifyFull,
    "db.example.attacker.example",
    "it is not for the Connection's host"
)]
#[tokio::test]
async fn another_name_is_not_believed(#[case] mode: TlsMode, #[case] name: &str, #[case] said: &str) {
    let authority = Authority::new("ours");
    let identity = authority.issue(name, |_| {});
    refused(&upstream(mode, Some(&authority.pem)), &identity, said).await;
}

async fn refused(upstream: &Upstream, identity: &Identity, said: &str) {
    let (security, heard) = meet(upstream, identity).await;
    let error = security.expect_err("is not believed").to_string();
    assert!(error.contains(said), "{error}");
    assert_eq!(heard, b"", "nothing is said to whom is not believed");
}

#[rstest]
#[case(TlsMode::VerifyCa)]
#[case(TlsMode::VerifyFull)]
#[tokio::test]
async fn foreign_and_untimely_certificates_are_not_believed(#[case] mode: TlsMode) {
    let (ours, foreign) = (Authority::new("ours"), Authority::new("ours"));
    let upstream = upstream(mode, Some(&ours.pem));
    refused(&upstream, &foreign.issue(HOST, |_| {}), "its issuer is not in the `caBundle`").await;
    let expired = ours.issue(HOST, |params| params.not_after = date_time_ymd(2020, 1, 1));
    refused(&upstream, &expired, "it has expired").await;
    let early = ours.issue(HOST, |params| params.not_before = date_time_ymd(2900, 1, 1));
    refused(&upstream, &early, "it is not valid yet").await;
    let stranger = Identity::self_signed(KeyPair::generate().expect("makes"));
    refused(&upstream, &stranger, "its issuer is not in the `caBundle`").await;
}

#[tokio::test]
async fn a_self_signed_certificate_is_believed_where_it_is_its_own_root() {
    let identity = Identity::self_signed(KeyPair::generate().expect("makes"));
    let (security, heard) = meet(&upstream(TlsMode::VerifyFull, Some(&identity.pem)), &identity).await;
    assert!(verified(&security.expect("is believed")));
    assert_eq!(heard, b"secret");
    let other = Identity::self_signed(KeyPair::generate().expect("makes"));
    refused(&upstream(TlsMode::VerifyFull, Some(&identity.pem)), &other, "its issuer is not").await;
}

#[tokio::test]
async fn a_certificate_of_the_roots_needs_its_key() {
    let identity = Identity::self_signed(KeyPair::generate().expect("makes"));
    let thief = Identity { key: KeyPair::generate().expect("makes"), ..identity };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(thief.key.serialize_der()));
    let signing = provider.key_provider.load_private_key(key).expect("loads");
    // `with_single_cert` would notice; a thief would not mind.
    let certified = rustls::sign::CertifiedKey::new(vec![thief.certificate], signing);
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let builder =
        ServerConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    let config = builder.expect("versions").with_no_client_auth().with_cert_resolver(Arc::new(resolver));
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let upstream = upstream(TlsMode::Require, None);
    let client = secure(Stream::Memory(ours), &upstream);
    let (reached, heard) = tokio::join!(client, serve(theirs, TlsAcceptor::from(Arc::new(config))));
    assert!(reached.is_err());
    assert_eq!(heard, b"");
}

#[rstest]
#[case::no(b"N", "it refuses TLS, which the Connection asks for")]
#[case::error(b"E\0\0\0\x10SFATAL\0Mno\0\0", "it refuses TLS, which the Connection asks for")]
#[case::something_else(b"HTTP/1.1 400", "it does not speak PostgreSQL's protocol")]
#[case::nothing(b"", "it closed the connection")]
#[tokio::test]
async fn without_tls_there_is_no_session(#[case] answer: &[u8], #[case] said: &str) {
    for mode in [TlsMode::Require, TlsMode::VerifyCa, TlsMode::VerifyFull] {
        let authority = Authority::new("ours");
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let upstream = upstream(mode, Some(&authority.pem));
        let peer = async {
            theirs.write_all(answer).await.expect("is there");
            theirs.shutdown().await.expect("shuts down");
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).await.expect("ends");
            heard
        };
        let client = async { secure(Stream::Memory(ours), &upstream).await.map(|reached| reached.security) };
        let (result, heard) = tokio::join!(client, peer);
        assert_eq!(result.expect_err("there is no TLS").to_string(), said);
        assert_eq!(heard, SSL_REQUEST, "and nothing in the clear");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_come_before_the_handshake_are_never_taken_for_the_upstreams() {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let upstream = upstream(TlsMode::Require, None);
    let peer = async {
        // An attacker on the way answers, and goes on at once as a server would after TLS.
        theirs.write_all(b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.expect("is there");
        let mut heard = [0; 8];
        theirs.read_exact(&mut heard).await.expect("asks");
        theirs
    };
    let client = async { secure(Stream::Memory(ours), &upstream).await.map(|reached| reached.security) };
    let (result, _theirs) = tokio::join!(client, peer);
    assert!(matches!(result, Err(UpstreamError::Tls(_) | UpstreamError::Timeout)), "{result:?}");
}

#[tokio::test]
async fn without_tls_nothing_is_asked_where_the_connection_says_so() {
    let (ours, _theirs) = tokio::io::duplex(1024);
    let reached = secure(Stream::Memory(ours), &upstream(TlsMode::Disable, None)).await.expect("is plain");
    assert_eq!(reached.security, Security::Plain);
}

#[tokio::test]
async fn tls_1_2_will_do() {
    let authority = Authority::new("ours");
    let identity = authority.issue(HOST, |_| {});
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let upstream = upstream(TlsMode::VerifyFull, Some(&authority.pem));
    let client = async { secure(Stream::Memory(ours), &upstream).await.map(|reached| reached.security) };
    let (security, _) = tokio::join!(client, serve(theirs, identity.acceptor(&[&TLS12])));
    assert!(verified(&security.expect("is believed")));
}

#[rstest]
#[case::nothing("")]
#[case::no_pem("not a certificate")]
#[case::a_key_alone("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n")]
#[case::broken("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
#[tokio::test]
async fn a_bundle_without_a_certificate_says_so_before_anything_is_sent(#[case] bundle: &str) {
    let (ours, mut theirs) = tokio::io::duplex(1024);
    let upstream = upstream(TlsMode::VerifyFull, Some(bundle));
    let error = secure(Stream::Memory(ours), &upstream).await.expect_err("has no roots").to_string();
    assert_eq!(error, "the Connection's `caBundle` holds no certificate that can be read");
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).await.expect("ends");
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn the_binding_is_the_certificates_hash_by_its_signatures_algorithm() {
    let known = Identity::self_signed(KeyPair::generate().expect("makes"));
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &known.certificate);
    assert_eq!(
        Binding::of(&known.certificate).map(|binding| binding.bytes().to_vec()),
        Some(hash.as_ref().to_vec())
    );
    // Ed25519 names no hash, so there is nothing to bind with.
    let without = Identity::self_signed(KeyPair::generate_for(&PKCS_ED25519).expect("makes"));
    assert_eq!(Binding::of(&without.certificate), None);
    let (security, _) = meet(&upstream(TlsMode::VerifyFull, Some(&without.pem)), &without).await;
    assert_eq!(security.expect("is believed"), Security::Tls { binding: None, verified: true });
}
