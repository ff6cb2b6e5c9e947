//! DNS of the pod. Connection hosts get their virtual addresses, names of the cluster are forwarded where the
//! document says so, and everything else does not exist and is recorded.

mod answer;
mod forward;
pub mod resolver;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use answer::Decision;
use audit::{Event, Refused, RefusedKind};
use hickory_proto::op::{Message, ResponseCode};
use policy::Durability;
use resolver::ResolvConf;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};
use tracing::warn;

use crate::{policy::Documents, recorder::Recorder};

/// The largest DNS message over UDP that we read or send, in bytes.
const DATAGRAM: usize = 4096;
/// Queries under way at once; more wait in the socket's buffer, which the kernel bounds.
const CONCURRENT: usize = 256;
/// How long a TCP client may keep silent.
const IDLE: Duration = Duration::from_secs(10);
/// A refused name is recorded once in this time, so that a loop cannot fill the spool.
const RECORD_AGAIN: Duration = Duration::from_secs(60);
/// Refused names that are remembered; beyond it, the map starts anew.
const REMEMBERED: usize = 1024;

/// The pod's DNS server.
#[derive(Clone, Debug)]
pub struct Dns {
    documents: Documents,
    recorder: Recorder,
    resolv: Arc<ResolvConf>,
    refused: Arc<Mutex<BTreeMap<String, Instant>>>,
    slots: Arc<Semaphore>,
}

impl Dns {
    /// A server that answers by the document in force and forwards to the nameserver of `resolv`.
    #[must_use]
    pub fn new(documents: Documents, recorder: Recorder, resolv: ResolvConf) -> Self {
        Self {
            documents,
            recorder,
            resolv: Arc::new(resolv),
            refused: Arc::default(),
            slots: Arc::new(Semaphore::new(CONCURRENT)),
        }
    }

    /// Serves datagrams until the socket fails.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub async fn serve_udp(self, socket: UdpSocket) -> io::Result<()> {
        let socket = Arc::new(socket);
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // An ICMP error about an answer of ours; the next query is not its fault.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let query = buffer.get(..length).unwrap_or_default().to_vec();
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return Ok(()) };
            let (dns, socket) = (self.clone(), Arc::clone(&socket));
            tokio::spawn(async move {
                if let Some(answer) = dns.answer(&query).await {
                    // The client asks again when its answer is lost.
                    drop(socket.send_to(&answer, client).await);
                }
                drop(slot);
            });
        }
    }

    /// Serves TCP until the listener fails.
    ///
    /// # Errors
    /// When the listener cannot accept.
    pub async fn serve_tcp(self, listener: TcpListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return Ok(()) };
            let dns = self.clone();
            tokio::spawn(async move {
                // Broken connections are the client's affair.
                drop(dns.converse(stream).await);
                drop(slot);
            });
        }
    }

    /// RFC 1035, section 4.2.2: each message behind its length.
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        while let Ok(length) = timeout(IDLE, stream.read_u16()).await? {
            let mut query = vec![0; usize::from(length)];
            timeout(IDLE, stream.read_exact(&mut query)).await??;
            let Some(answer) = self.answer(&query).await else { return Ok(()) };
            let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
            stream.write_u16(length).await?;
            stream.write_all(&answer).await?;
        }
        Ok(())
    }

    /// The answer to one query; none to what is not a query at all.
    async fn answer(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let query = Message::from_vec(bytes).ok()?;
        let current = self.documents.current();
        let document = current.as_ref().map(|current| &*current.document);
        let answer = match answer::decide(&query, document, &self.resolv.cluster_domain) {
            Decision::Answer(answer) => answer,
            Decision::Forward => match forward::ask(&self.resolv, bytes).await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    warn!(error = %error, "a name cannot be forwarded");
                    answer::reply(&query, ResponseCode::ServFail)
                }
            },
            Decision::Refuse { name, reason } => {
                let recorded = self.record(name, reason);
                answer::reply(&query, if recorded { ResponseCode::NXDomain } else { ResponseCode::ServFail })
            }
        };
        answer.to_vec().ok()
    }

    /// Records a refused name; says whether it is in the log.
    fn record(&self, name: String, reason: &str) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.get(&name).is_some_and(|at| at.elapsed() < RECORD_AGAIN) {
            return true;
        }
        if refused.len() >= REMEMBERED {
            refused.clear();
        }
        let event = Event::Refused(Refused {
            kind: RefusedKind::Dns,
            destination: name.clone(),
            reason: reason.to_owned(),
        });
        let recorded = self.recorder.record(&event, Durability::Process).is_ok();
        if recorded {
            refused.insert(name, Instant::now());
        }
        recorded
    }
}

/// Binds DNS on a loopback address, datagrams and TCP.
///
/// # Errors
/// When the port is taken.
pub async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    Ok((UdpSocket::bind(address).await?, TcpListener::bind(address).await?))
}

#[cfg(test)]
mod tests;
