//! Opaque upstreams: bytes pass to exactly one host and port, and nobody looks at them.
//!
//! Two directions and a watch over the policy run side by side. A client's bytes go upstream only with a permit
//! of the decision that holds at that moment, and when no decision holds any more the session ends, whether
//! or not anything is sent.

mod gate;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use policy::ConnectionDocument;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cleared::Cleared,
    policy::{Documents, SessionGuard},
    stream::{ReadHalf, Stream, WriteHalf},
};
pub(crate) use gate::Gate;

/// What is read at once, per direction.
const CHUNK: usize = 32 * 1024;
/// How long the last bytes may take when a session is ended.
const FAREWELL: Duration = Duration::from_secs(2);

/// A session that may begin.
#[derive(Debug)]
pub(crate) struct Session {
    /// Towards the client.
    pub(crate) client: Stream,
    /// Towards the upstream.
    pub(crate) upstream: Stream,
    /// Decides for as long as it lasts.
    pub(crate) gate: Gate,
    /// Cancelled when the process ends.
    pub(crate) shutdown: CancellationToken,
}

/// How a session went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Why it ended.
    pub(crate) reason: String,
    /// Bytes from the client.
    pub(crate) bytes_in: u64,
    /// Bytes to the client.
    pub(crate) bytes_out: u64,
}

/// A gate for a session on `connection`, if the document in force allows one.
///
/// # Errors
/// Why it does not.
pub(crate) fn admit(
    documents: Documents,
    guard: SessionGuard,
    connection: &ConnectionDocument,
) -> Result<Gate, String> {
    Gate::open(documents, guard, connection)
}

/// Passes bytes in both directions until both have ended, something breaks, or the session may not go on.
pub(crate) async fn run(session: Session) -> Outcome {
    let Session { client, upstream, gate, shutdown } = session;
    let (from_client, to_client) = client.split();
    let (from_upstream, to_upstream) = upstream.split();
    let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut to_upstream, mut to_client) = (Upstream(to_upstream), to_client);
    let reason = tokio::select! {
        reason = gate.closed() => reason,
        () = shutdown.cancelled() => "the sidecar ended".to_owned(),
        ended = async {
            tokio::try_join!(
                up(from_client, &mut to_upstream, &gate, &sent),
                down(from_upstream, &mut to_client, &received),
            )
        } => ended.err().unwrap_or_else(|| "ended by both sides".to_owned()),
    };
    // Whoever is gone is not told.
    drop(timeout(FAREWELL, async { tokio::join!(to_client.shutdown(), to_upstream.0.shutdown()) }).await);
    Outcome { reason, bytes_in: sent.load(Ordering::Relaxed), bytes_out: received.load(Ordering::Relaxed) }
}

/// The writer towards the upstream. It takes a client's bytes in no other form than cleared.
#[derive(Debug)]
struct Upstream(WriteHalf);

impl Upstream {
    async fn write(&mut self, bytes: Cleared<Bytes>) -> std::io::Result<()> {
        self.0.write_all(bytes.chunk()).await
    }
}

async fn up(mut from: ReadHalf, to: &mut Upstream, gate: &Gate, sent: &AtomicU64) -> Result<(), String> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        let read = from.read_buf(&mut buffer).await.map_err(|_| "the client is gone".to_owned())?;
        if read == 0 {
            // The client may still wait for an answer.
            return to.0.shutdown().await.map_err(|_| "the upstream is gone".to_owned());
        }
        let cleared = gate.clear(buffer.split().freeze())?;
        to.write(cleared).await.map_err(|_| "the upstream is gone".to_owned())?;
        sent.fetch_add(u64::try_from(read).unwrap_or_default(), Ordering::Relaxed);
        buffer.reserve(CHUNK);
    }
}

async fn down(mut from: ReadHalf, to: &mut WriteHalf, received: &AtomicU64) -> Result<(), String> {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        let read = from.read_buf(&mut buffer).await.map_err(|_| "the upstream is gone".to_owned())?;
        if read == 0 {
            return to.shutdown().await.map_err(|_| "the client is gone".to_owned());
        }
        to.write_all(&buffer).await.map_err(|_| "the client is gone".to_owned())?;
        received.fetch_add(u64::try_from(read).unwrap_or_default(), Ordering::Relaxed);
        buffer.clear();
    }
}

#[cfg(test)]
mod tests;
