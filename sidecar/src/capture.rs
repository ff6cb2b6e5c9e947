//! Where connections of the agent arrive: captured by the fence, or at a Connection's fixed loopback port.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use socket2::SockRef;
use tokio::{net::TcpListener, task::JoinHandle};
use tracing::{info, warn};

use crate::policy::Documents;

/// How long accepting rests when the process is out of file descriptors.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// A connection as it arrived. The socket belongs to no runtime yet.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, non-blocking.
    pub stream: std::net::TcpStream,
    /// Where it came from.
    pub client: SocketAddr,
    /// How it came here.
    pub arrival: Arrival,
}

/// How a connection came here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The fence redirected it.
    Captured {
        /// Where it wanted to go.
        destination: SocketAddr,
    },
    /// It went to a Connection's fixed port.
    Explicit {
        /// The Connection's `namespace/name`.
        connection: String,
    },
}

/// Who takes connections over. Must not block.
pub trait Hand: Clone + Send + Sync + 'static {
    /// Takes one.
    fn take(&self, accepted: Accepted);
}

impl<F: Fn(Accepted) + Clone + Send + Sync + 'static> Hand for F {
    fn take(&self, accepted: Accepted) {
        self(accepted);
    }
}

/// Accepts what the fence redirects, until the task is dropped.
pub async fn serve_captured(listener: TcpListener, hand: impl Hand) {
    accept(listener, hand, |stream| Ok(Arrival::Captured { destination: original_destination(stream)? }))
        .await;
}

async fn accept(
    listener: TcpListener,
    hand: impl Hand,
    arrival: impl Fn(&std::net::TcpStream) -> io::Result<Arrival>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let taken = stream.into_std().and_then(|stream| Ok((arrival(&stream)?, stream)));
                match taken {
                    Ok((arrival, stream)) => hand.take(Accepted { stream, client, arrival }),
                    Err(error) => warn!(error = %error, "a connection's destination cannot be found; closed"),
                }
            }
            Err(error) => {
                warn!(error = %error, "accepting failed");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}

/// Where a redirected connection wanted to go; its local address when it was not redirected.
fn original_destination(stream: &std::net::TcpStream) -> io::Result<SocketAddr> {
    let local = stream.local_addr()?;
    let socket = SockRef::from(stream);
    let original = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    match original {
        Ok(address) => {
            address.as_socket().ok_or_else(|| io::Error::other("the original destination has no address"))
        }
        // Not a redirected connection: somebody connected to the capture port itself.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) => Ok(local),
        Err(error) => Err(error),
    }
}

/// Keeps a listener on loopback for every Connection with a fixed port, as documents come and go.
pub async fn serve_explicit(documents: Documents, addresses: Vec<IpAddr>, hand: impl Hand) {
    let mut changed = documents.changed();
    let mut open: BTreeMap<(IpAddr, u16, String), JoinHandle<()>> = BTreeMap::new();
    loop {
        let wanted = wanted(&documents, &addresses);
        open.retain(|key, task| {
            let keep = wanted.contains(key) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        for key in wanted {
            if !open.contains_key(&key)
                && let Some(listener) = listen(&key).await
            {
                let (hand, connection) = (hand.clone(), key.2.clone());
                let arrival =
                    move |_: &std::net::TcpStream| Ok(Arrival::Explicit { connection: connection.clone() });
                open.insert(key, tokio::spawn(accept(listener, hand, arrival)));
            }
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

fn wanted(documents: &Documents, addresses: &[IpAddr]) -> Vec<(IpAddr, u16, String)> {
    let Some(current) = documents.current() else { return Vec::new() };
    let ports = current.document.connections.iter().filter_map(|c| Some((c.agent_port?, c.name.clone())));
    ports.flat_map(|(port, name)| addresses.iter().map(move |ip| (*ip, port, name.clone()))).collect()
}

async fn listen((address, port, connection): &(IpAddr, u16, String)) -> Option<TcpListener> {
    match TcpListener::bind((*address, *port)).await {
        Ok(listener) => {
            info!(address = %address, port, connection, "listening for a Connection");
            Some(listener)
        }
        // A machine without IPv6 has no ::1; IPv4 serves then.
        Err(error) if address.is_ipv6() && error.kind() == io::ErrorKind::AddrNotAvailable => None,
        Err(error) => {
            warn!(error = %error, address = %address, port, connection, "a Connection's port cannot be opened");
            None
        }
    }
}
