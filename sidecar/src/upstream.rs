//! Reaching an upstream: its addresses, TCP, and TLS after PostgreSQL's own request for it. Where TLS is
//! wanted nothing is ever sent without it.

mod names;
pub mod tls;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::BytesMut;
use policy::{TlsMode, Upstream};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use wire::postgres::write;

use crate::stream::Stream;
use tls::{Binding, TlsError, Trust};

/// How long one address may take to answer, attempt by attempt. The kernel repeats a lost segment by itself; but what
/// lies between may hold on to a broken idea of a pair of ports, and an attempt from another port is free of it.
const CONNECT: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(2), Duration::from_secs(4)];
/// How long TLS may take.
const TLS: Duration = Duration::from_secs(10);
/// How many addresses of one name are tried.
const ADDRESSES: usize = 4;

/// Why an upstream cannot be reached. Says nothing of its address: the client knows the Connection's name.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Its name has no address.
    #[error("its name cannot be resolved")]
    Resolve(#[source] Option<io::Error>),
    /// Its name leads to this pod or its node.
    #[error("its name leads to this pod or its node, which only an address may do")]
    Near,
    /// No address answers.
    #[error("it does not accept connections ({})", reason(.0))]
    Connect(#[source] io::Error),
    /// It took too long.
    #[error("it did not answer in time")]
    Timeout,
    /// It closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// It does not do TLS, and the Connection wants it.
    #[error("it refuses TLS, which the Connection asks for")]
    NoTls,
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The kind of an I/O error, without addresses.
fn reason(error: &io::Error) -> io::ErrorKind {
    error.kind()
}

/// A connection to an upstream, before its protocol begins.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub stream: Stream,
    /// How much is known of the other side.
    pub security: Security,
}

/// How much is known of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing is encrypted.
    Plain,
    /// Encrypted.
    Tls {
        /// What binds a login to this very connection; none when the certificate's algorithm defines none.
        binding: Option<Binding>,
        /// Whether the other side proved to be who the Connection says.
        verified: bool,
    },
}

/// Connects to a PostgreSQL upstream as its Connection says.
///
/// # Errors
/// When it cannot be reached, or not with the TLS that the Connection asks for.
pub async fn reach(upstream: &Upstream) -> Result<Reached, UpstreamError> {
    let tcp = connect(upstream).await?;
    secure(Stream::Plain(tcp), upstream).await
}

/// Sets up TLS over a connection, if the Connection asks for it.
///
/// # Errors
/// When it is asked for and cannot be set up.
pub async fn secure(mut stream: Stream, upstream: &Upstream) -> Result<Reached, UpstreamError> {
    if upstream.tls.mode == TlsMode::Disable {
        return Ok(Reached { stream, security: Security::Plain });
    }
    let trust = Trust::of(&upstream.tls)?;
    timeout(TLS, async {
        request_tls(&mut stream).await?;
        handshake(stream, upstream, &trust).await
    })
    .await
    .map_err(|_| UpstreamError::Timeout)?
}

/// Connects to an upstream, and no more.
///
/// # Errors
/// When it cannot be reached.
pub(crate) async fn connect(upstream: &Upstream) -> Result<TcpStream, UpstreamError> {
    let mut last = UpstreamError::Resolve(None);
    for address in addresses(upstream).await? {
        match connect_to(address).await {
            Ok(tcp) => {
                tcp.set_nodelay(true).map_err(UpstreamError::Connect)?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr) -> Result<TcpStream, UpstreamError> {
    for patience in CONNECT {
        if let Ok(answered) = timeout(patience, TcpStream::connect(address)).await {
            return answered.map_err(UpstreamError::Connect);
        }
    }
    Err(UpstreamError::Timeout)
}

async fn addresses(upstream: &Upstream) -> Result<Vec<SocketAddr>, UpstreamError> {
    let literal = upstream.host.parse::<IpAddr>().is_ok() || upstream.host == "localhost";
    let host = if literal { upstream.host.clone() } else { absolute(&upstream.host) };
    let found = names::addresses(host, upstream.port).await?;
    if !literal && found.iter().any(|address| is_near(address.ip())) {
        return Err(UpstreamError::Near);
    }
    Ok(found.into_iter().take(ADDRESSES).collect())
}

/// A name that no search list is applied to: whoever writes a pod writes its list, and would otherwise decide
/// where the credential goes.
pub(crate) fn absolute(host: &str) -> String {
    format!("{}.", host.trim_end_matches('.'))
}

/// Loopback, and what only this node's link reaches: a cloud's metadata service among it. Whoever answers
/// for a name must not be able to lead there; whoever writes a Connection can write an address, which is
/// checked when it is written.
fn is_near(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    local || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

/// Asks for TLS. Reads the one byte of the answer and nothing beyond, so that nothing sent before the
/// handshake can be taken for what came after it.
async fn request_tls(stream: &mut Stream) -> Result<(), UpstreamError> {
    let mut request = BytesMut::new();
    write::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(|_| UpstreamError::Closed)?;
    match stream.read_u8().await {
        Ok(b'S') => Ok(()),
        // `E` begins an error of a server that does not know the request.
        Ok(b'N' | b'E') => Err(UpstreamError::NoTls),
        Ok(_) => Err(TlsError::Garbage.into()),
        Err(_) => Err(UpstreamError::Closed),
    }
}

async fn handshake(stream: Stream, upstream: &Upstream, trust: &Trust) -> Result<Reached, UpstreamError> {
    let name = ServerName::try_from(upstream.host.clone()).map_err(|_| TlsError::Name)?;
    let connector = TlsConnector::from(trust.config());
    let stream = connector.connect(name, stream).await.map_err(TlsError::handshake)?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let binding = certificate.and_then(|certificate| Binding::of(certificate));
    let security = Security::Tls { binding, verified: trust.is_verified() };
    Ok(Reached { stream: Stream::ToUpstream(Box::new(stream)), security })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_search_list_applies_to_a_name() {
        for host in ["db.shop.svc.cluster.local", "db.shop.svc.cluster.local."] {
            assert_eq!(absolute(host), "db.shop.svc.cluster.local.");
        }
    }

    #[test]
    fn a_name_must_not_lead_to_the_pod_or_its_node() {
        for near in [
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
            "224.0.0.1",
        ] {
            assert!(is_near(near.parse().expect("an address")), "{near}");
        }
        for far in ["10.96.0.1", "192.168.1.1", "203.0.113.7", "fd00::1", "2001:db8::1"] {
            assert!(!is_near(far.parse().expect("an address")), "{far}");
        }
    }
}
