//! Cancel requests. A client gets keys of our own making; they lead to the upstream's keys of the same
//! session, and only while a statement of that client is outstanding there.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use policy::Upstream;
use rand::RngCore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
    time::timeout,
};
use uuid::Uuid;
use wire::postgres::{startup, write};
use zeroize::Zeroizing;

use crate::upstream;

/// How long a cancel may take to be delivered.
const DELIVERY: Duration = Duration::from_secs(10);
/// The length of a key in protocol 3.0.
const SHORT_KEY: usize = 4;
/// The length of ours in 3.2.
const LONG_KEY: usize = 32;

type Key = (u32, Vec<u8>);

/// The keys that were given out. Cheap to clone; one per process.
#[derive(Clone, Default)]
pub struct Cancels {
    targets: Arc<Mutex<HashMap<Key, Arc<Target>>>>,
}

/// How many only.
impl std::fmt::Debug for Cancels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.targets.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Cancels").field("sessions", &count).finish_non_exhaustive()
    }
}

/// What a cancel needs to reach one upstream session.
struct Target {
    session: Uuid,
    upstream: Upstream,
    key: UpstreamKey,
    outstanding: AtomicBool,
    on_their_way: watch::Sender<usize>,
}

/// The upstream's own key of a session.
#[derive(Clone)]
pub struct UpstreamKey {
    /// Its process.
    pub pid: u32,
    /// Its secret.
    pub secret: Zeroizing<Vec<u8>>,
}

/// Without the secret.
impl std::fmt::Debug for UpstreamKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamKey").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// What became of a cancel request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It went to this session's upstream.
    Delivered(Uuid),
    /// No session has that key.
    UnknownKey,
    /// This session has no statement outstanding.
    NothingOutstanding(Uuid),
    /// This session's upstream could not be told.
    Failed(Uuid),
}

impl Cancels {
    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a key for a session. It presents the upstream's process number, which clients compare with
    /// what notifications and `pg_backend_pid()` say; the secret is ours.
    #[must_use]
    pub fn open(
        &self,
        version: startup::Version,
        session: Uuid,
        upstream: &Upstream,
        key: UpstreamKey,
    ) -> CancelGate {
        let length = if version >= startup::Version::V3_2 { LONG_KEY } else { SHORT_KEY };
        let pid = key.pid;
        let target = Arc::new(Target {
            session,
            upstream: upstream.clone(),
            key,
            outstanding: AtomicBool::new(false),
            on_their_way: watch::Sender::new(0),
        });
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut secret = vec![0; length];
        loop {
            rand::rng().fill_bytes(&mut secret);
            if let Entry::Vacant(free) = targets.entry((pid, secret.clone())) {
                free.insert(Arc::clone(&target));
                break;
            }
        }
        drop(targets);
        CancelGate { cancels: self.clone(), key: (pid, secret), target }
    }

    /// Delivers a cancel request, if its key is one of ours and there is something to cancel.
    pub async fn deliver(&self, pid: u32, secret: &[u8]) -> Delivery {
        let key = (pid, secret.to_vec());
        let target = self.targets.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let Some(target) = target else { return Delivery::UnknownKey };
        // Announced before the look at `outstanding`: whoever lowers that flag and then waits for
        // `settled` cannot miss a cancel that saw it raised.
        let way = Way::begin(&target);
        if !target.outstanding.load(Ordering::SeqCst) {
            return Delivery::NothingOutstanding(target.session);
        }
        let delivered = timeout(DELIVERY, target.send()).await;
        drop(way);
        match delivered {
            Ok(Ok(())) => Delivery::Delivered(target.session),
            Ok(Err(())) | Err(_) => Delivery::Failed(target.session),
        }
    }
}

impl Target {
    /// The server signals the process before it closes this connection, so its end means: delivered.
    async fn send(&self) -> Result<(), ()> {
        let mut stream = upstream::reach(&self.upstream).await.map_err(drop)?.stream;
        let mut request = BytesMut::new();
        write::cancel_request(&mut request, self.key.pid, &self.key.secret).map_err(drop)?;
        stream.write_all(&request).await.map_err(drop)?;
        stream.flush().await.map_err(drop)?;
        // The server closes without an answer, and without TLS's own goodbye: any end is the end.
        while matches!(stream.read(&mut [0; 16]).await, Ok(1..)) {}
        Ok(())
    }
}

/// A cancel that is on its way.
struct Way<'a>(&'a Target);

impl<'a> Way<'a> {
    fn begin(target: &'a Target) -> Self {
        target.on_their_way.send_modify(|count| *count = count.saturating_add(1));
        Self(target)
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        self.0.on_their_way.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// A session's side of its cancel key. The key ends when this is dropped.
pub struct CancelGate {
    cancels: Cancels,
    key: Key,
    target: Arc<Target>,
}

impl CancelGate {
    /// The process number to tell the client.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.key.0
    }

    /// The secret to tell the client.
    pub(crate) fn secret(&self) -> &[u8] {
        &self.key.1
    }

    /// Says whether a statement of the client is outstanding upstream: only then may a cancel go there.
    pub fn outstanding(&self, outstanding: bool) {
        self.target.outstanding.store(outstanding, Ordering::SeqCst);
    }

    /// Returns once no cancel is on its way: after `outstanding(false)`, what is sent next cannot be hit.
    pub async fn settled(&self) {
        let mut on_their_way = self.target.on_their_way.subscribe();
        // The sender lives in `target`, so this cannot fail.
        drop(on_their_way.wait_for(|count| *count == 0).await);
    }

    /// Whether no cancel is on its way now.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        *self.target.on_their_way.borrow() == 0
    }
}

/// Without the secret.
impl std::fmt::Debug for CancelGate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelGate").field("pid", &self.key.0).finish_non_exhaustive()
    }
}

impl Drop for CancelGate {
    fn drop(&mut self) {
        self.cancels.targets.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
