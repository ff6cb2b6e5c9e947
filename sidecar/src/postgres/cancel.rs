//! Cancel requests. A client gets keys of our own making; they lead to the upstream's keys of the same
//! session, and only while a statement of that client is outstanding there. While one is being decided, which
//! may take reads of ours, a cancel waits for it.

use std::{
    collections::{HashMap, hash_map::Entry},
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use policy::Upstream;
use rand::RngCore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, watch},
    time::timeout,
};
use uuid::Uuid;
use wire::postgres::{startup, write};
use zeroize::Zeroizing;

use crate::upstream;

/// How long a cancel may take to be delivered.
const DELIVERY: Duration = Duration::from_secs(10);
/// A server that has not begun to read the statement forgets a cancel of it: it is told again after this long.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How often it is told again.
const AGAIN: usize = 3;
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
    /// A statement of the client is outstanding upstream.
    outstanding: AtomicBool,
    /// A message of the client is being decided, and may become outstanding.
    deciding: AtomicBool,
    /// How often everything was answered.
    answered: AtomicU64,
    on_their_way: watch::Sender<usize>,
    /// Cancels that wait for one of these to change, and how they hear of it.
    waiting: AtomicUsize,
    changed: Notify,
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
            deciding: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            on_their_way: watch::Sender::new(0),
            waiting: AtomicUsize::new(0),
            changed: Notify::new(),
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
        match timeout(DELIVERY, target.deliver()).await {
            Ok(delivery) => delivery,
            Err(_) => Delivery::Failed(target.session),
        }
    }
}

impl Target {
    async fn deliver(&self) -> Delivery {
        let _waiting = Waiting::begin(self);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let answered = self.answered.load(Ordering::SeqCst);
            match self.send_if_outstanding().await {
                Some(Ok(())) => {
                    self.insist(answered).await;
                    return Delivery::Delivered(self.session);
                }
                Some(Err(())) => return Delivery::Failed(self.session),
                None if self.deciding.load(Ordering::SeqCst) => changed.await,
                None => return Delivery::NothingOutstanding(self.session),
            }
        }
    }

    /// Tells the server again while it answers nothing.
    async fn insist(&self, answered: u64) {
        for _ in 0..AGAIN {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.answered.load(Ordering::SeqCst) != answered {
                return;
            }
            let in_time = timeout(AGAIN_AFTER, changed).await.is_ok();
            if !in_time && !matches!(self.send_if_outstanding().await, Some(Ok(()))) {
                return;
            }
        }
    }

    /// Sends the cancel, if it would hit a statement of the client's.
    async fn send_if_outstanding(&self) -> Option<Result<(), ()>> {
        // Announced before the look at `outstanding`: whoever lowers that flag and then waits for `settled`
        // cannot miss a cancel that saw it raised.
        let _way = Way::begin(self);
        if self.outstanding.load(Ordering::SeqCst) { Some(self.send().await) } else { None }
    }

    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }

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

/// A cancel that waits.
struct Waiting<'a>(&'a Target);

impl<'a> Waiting<'a> {
    fn begin(target: &'a Target) -> Self {
        target.waiting.fetch_add(1, Ordering::SeqCst);
        Self(target)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The server's direction of a session: says when everything is answered.
#[derive(Clone)]
pub struct Answers {
    target: Arc<Target>,
}

impl Answers {
    /// The client has no answer outstanding.
    pub fn all(&self) {
        self.target.outstanding.store(false, Ordering::SeqCst);
        self.target.answered.fetch_add(1, Ordering::SeqCst);
        self.target.wake();
    }
}

/// Without the secret.
impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answers").field("session", &self.target.session).finish_non_exhaustive()
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

    /// A message of the client is about to be decided: a cancel that comes now is meant for it.
    pub fn deciding(&self) {
        self.target.deciding.store(true, Ordering::SeqCst);
    }

    /// Says whether a statement of the client is outstanding upstream: only then may a cancel go there.
    pub fn outstanding(&self, outstanding: bool) {
        self.target.outstanding.store(outstanding, Ordering::SeqCst);
        self.target.wake();
    }

    /// Everything that the client sent is decided, and what of it is outstanding has been said.
    pub fn decided(&self) {
        self.target.deciding.store(false, Ordering::SeqCst);
        self.target.wake();
    }

    /// What goes upstream now is not the client's.
    pub async fn hold(&self) {
        self.target.outstanding.store(false, Ordering::SeqCst);
        self.settled().await;
    }

    /// For the server's direction.
    #[must_use]
    pub fn answers(&self) -> Answers {
        Answers { target: Arc::clone(&self.target) }
    }

    /// Returns once no cancel is on its way: what is sent next cannot be hit by one that was let through before.
    async fn settled(&self) {
        let mut on_their_way = self.target.on_their_way.subscribe();
        // The sender lives in `target`, so this cannot fail.
        drop(on_their_way.wait_for(|count| *count == 0).await);
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
        self.outstanding(false);
        self.decided();
        self.cancels.targets.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
