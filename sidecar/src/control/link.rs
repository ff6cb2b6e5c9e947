//! Connecting to the operator: TLS 1.3 with the operator's own roots, and the token on every call.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use channel::v1::channel_client::ChannelClient;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{
    Request,
    metadata::MetadataValue,
    transport::{Channel, Uri},
};
use tower::service_fn;
use tracing::warn;

use super::Endpoint;

/// How long connecting may take, and how soon a dead peer is noticed.
const CONNECT: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_PATIENCE: Duration = Duration::from_secs(5);

/// Why the operator cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address is none.
    #[error("the operator's address `{0}` must be written as https://HOST:PORT")]
    Address(String),
    /// The roots are none.
    #[error("the operator's root certificates cannot be used: {0}")]
    Roots(String),
    /// The token cannot be read.
    #[error("the token `{path}` cannot be read: {source}")]
    Token {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The connection cannot be made.
    #[error("connecting failed: {}", cause(.0))]
    Connect(#[from] tonic::transport::Error),
    /// The operator refused or the stream broke.
    #[error("{0}")]
    Status(#[from] Box<tonic::Status>),
    /// The operator said something that makes no sense.
    #[error("the operator's answer makes no sense: {0}")]
    Answer(&'static str),
}

/// What lies at the bottom: the transport itself says only that it failed.
fn cause(error: &tonic::transport::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

impl From<tonic::Status> for LinkError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// A way to the operator. Cheap to clone; every [`connect`](Self::connect) makes a connection of its own.
#[derive(Clone)]
pub struct Link {
    endpoint: Arc<Endpoint>,
    uri: Uri,
    /// With the roots in force, for the connections of all clones.
    tls: Arc<ArcSwap<ClientConfig>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Link {
    /// A way to `endpoint`.
    ///
    /// # Errors
    /// When its address or its roots cannot be used.
    pub fn new(endpoint: Endpoint) -> Result<Self, LinkError> {
        let uri: Uri = endpoint.address.parse().map_err(|_| LinkError::Address(endpoint.address.clone()))?;
        if uri.scheme_str() != Some("https") || uri.host().is_none() || uri.port_u16().is_none() {
            return Err(LinkError::Address(endpoint.address));
        }
        let tls = Arc::new(ArcSwap::from_pointee(newest(&endpoint)?));
        Ok(Self { endpoint: Arc::new(endpoint), uri, tls })
    }

    /// Knows the operator by these roots from now on: it said so itself, over a connection of the old ones.
    pub(super) fn trust(&self, roots: &[u8]) -> Result<(), LinkError> {
        let roots = std::str::from_utf8(roots).map_err(|error| LinkError::Roots(error.to_string()))?;
        self.tls.store(Arc::new(client_config(roots)?));
        if let Err(error) = keep(&self.endpoint.roots_file, roots) {
            warn!(error = %error, "the operator's new roots cannot be kept: a restart of this container forgets them");
        }
        Ok(())
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<ChannelClient<Channel>, LinkError> {
        let tls = TlsConnector::from(self.tls.load_full());
        let dial = service_fn(move |uri: Uri| {
            let tls = tls.clone();
            async move {
                let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
                    return Err(io::Error::other("the operator's address has no host"));
                };
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let tcp = TcpStream::connect((host, port)).await?;
                tcp.set_nodelay(true)?;
                Ok(TokioIo::new(tls.connect(name, tcp).await?))
            }
        });
        let channel = Channel::builder(self.uri.clone())
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_PATIENCE)
            .keep_alive_while_idle(true)
            .connect_with_connector(dial)
            .await?;
        let limit = channel::MESSAGE_LIMIT;
        Ok(ChannelClient::new(channel).max_decoding_message_size(limit).max_encoding_message_size(limit))
    }

    /// A request with the token, read anew, since kubelet rotates it.
    pub(super) fn request<T>(&self, body: T) -> Result<Request<T>, LinkError> {
        let path = &self.endpoint.token_file;
        let failed = |source| LinkError::Token { path: path.display().to_string(), source };
        let token = zeroize::Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut value = MetadataValue::try_from(bearer.as_str())
            .map_err(|_| failed(io::Error::other("it holds characters that no token has")))?;
        value.set_sensitive(true);
        let mut request = Request::new(body);
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// With the roots that were kept, if they can be used, or else with those of the pod's spec.
fn newest(endpoint: &Endpoint) -> Result<ClientConfig, LinkError> {
    let kept = fs::read_to_string(&endpoint.roots_file).ok();
    let kept = kept.and_then(|roots| client_config(&roots).ok());
    kept.map_or_else(|| client_config(&endpoint.roots), Ok)
}

/// Writes the file as a whole or not at all.
fn keep(file: &Path, roots: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, roots)?;
    fs::rename(new, file)
}

fn client_config(roots: &str) -> Result<ClientConfig, LinkError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        let certificate = certificate.map_err(|error| LinkError::Roots(error.to_string()))?;
        store.add(certificate).map_err(|error| LinkError::Roots(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(LinkError::Roots("there is no certificate in them".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| LinkError::Roots(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(dir: &Path, roots: &str) -> Endpoint {
        Endpoint {
            address: "https://operator:9443".to_owned(),
            roots: roots.to_owned(),
            roots_file: dir.join("roots.pem"),
            token_file: dir.join("token"),
        }
    }

    fn root() -> String {
        rcgen::generate_simple_self_signed(Vec::new()).expect("makes").cert.pem()
    }

    #[test]
    fn newer_roots_are_known_after_a_restart() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = Link::new(endpoint(dir.path(), &root())).expect("a link");
        link.trust(root().as_bytes()).expect("are taken");
        // Those of the spec alone would be no roots at all.
        assert!(Link::new(endpoint(dir.path(), "nothing")).is_ok());
    }

    #[test]
    fn what_is_no_root_is_neither_taken_nor_kept_nor_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let endpoint = endpoint(dir.path(), &root());
        let link = Link::new(endpoint.clone()).expect("a link");
        assert!(link.trust(b"nothing").is_err() && !endpoint.roots_file.exists());
        fs::write(&endpoint.roots_file, "nothing").expect("is written");
        assert!(Link::new(endpoint).is_ok());
    }
}
