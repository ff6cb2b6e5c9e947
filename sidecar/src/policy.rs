//! The document that is in force, and which live sessions already use it.
//!
//! A generation is acknowledged to the operator once every live session decides by it. Sessions register
//! with [`Documents::session`] and say [`SessionGuard::using`] when they have moved.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use policy::{Document, Generation};
use tokio::sync::watch;

/// Connections whose callers have a number; beyond it, all get new ones.
const CLASSES: usize = 1024;

/// Whose sidecar this is. In the cluster the operator says so, from what the API server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The pod's service account.
    pub service_account: String,
}

/// A document in force.
#[derive(Debug)]
pub struct Current {
    /// Its generation.
    pub generation: Generation,
    /// What it says.
    pub document: Arc<Document>,
    /// Whose it is.
    pub pod: PodIdentity,
}

/// Why a document was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublishError {
    /// A sidecar never moves back.
    #[error("generation {offered} is older than {held}, which is in force")]
    Older {
        /// What came.
        offered: Generation,
        /// What is in force.
        held: Generation,
    },
}

/// The holder of the document. Cheap to clone; one per process.
#[derive(Clone, Debug)]
pub struct Documents {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    current: ArcSwapOption<Current>,
    /// Counts the documents that came into force: while it stays, so does the document.
    serial: AtomicU64,
    contact: Contact,
    generation: watch::Sender<Generation>,
    sessions: Mutex<BTreeMap<u64, Generation>>,
    moved: watch::Sender<()>,
    /// Who asks, by Connection: see [`SessionGuard::class`].
    classes: Mutex<BTreeMap<String, u64>>,
    /// Sessions and classes are numbered together, so that none is taken for another.
    next_caller: AtomicU64,
}

/// When the operator was last heard; milliseconds after `start`, so that reading needs no lock.
#[derive(Debug)]
struct Contact {
    start: Instant,
    last_millis: AtomicU64,
}

impl Contact {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn silence(&self, now: Instant) -> Duration {
        let heard = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
        now.saturating_duration_since(self.start).saturating_sub(heard)
    }
}

impl Default for Documents {
    fn default() -> Self {
        Self::new()
    }
}

impl Documents {
    /// A holder without a document.
    #[must_use]
    pub fn new() -> Self {
        let contact = Contact { start: Instant::now(), last_millis: AtomicU64::new(0) };
        Self {
            shared: Arc::new(Shared {
                current: ArcSwapOption::empty(),
                serial: AtomicU64::new(0),
                contact,
                generation: watch::Sender::new(Generation::default()),
                sessions: Mutex::default(),
                moved: watch::Sender::new(()),
                classes: Mutex::default(),
                next_caller: AtomicU64::new(1),
            }),
        }
    }

    /// The document in force; none before the first one, and none once the operator has been silent for
    /// longer than the document's `staleAfter`.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Current>> {
        let current = self.shared.current.load_full()?;
        self.is_fresh(&current, Instant::now()).then_some(current)
    }

    fn is_fresh(&self, current: &Current, now: Instant) -> bool {
        let stale_after = Duration::from_secs(current.document.stale_after_seconds);
        self.shared.contact.silence(now) <= stale_after
    }

    /// Whether a document was ever received: what readiness means.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.shared.current.load().is_some()
    }

    /// The document's source was heard: its age starts anew.
    pub fn heard(&self) {
        let contact = &self.shared.contact;
        contact.last_millis.store(contact.now(), Ordering::Relaxed);
    }

    /// Wakes when another generation comes into force.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<Generation> {
        self.shared.generation.subscribe()
    }

    /// Puts a document in force for every statement that is decided from now on.
    ///
    /// # Errors
    /// When a newer one is in force already.
    pub fn publish(&self, next: Current) -> Result<(), PublishError> {
        let held = *self.shared.generation.borrow();
        if next.generation < held {
            return Err(PublishError::Older { offered: next.generation, held });
        }
        let generation = next.generation;
        self.heard();
        self.shared.current.store(Some(Arc::new(next)));
        // After the document: whoever sees the new number finds the new document.
        self.shared.serial.fetch_add(1, Ordering::Release);
        self.shared.generation.send_replace(generation);
        Ok(())
    }

    /// Registers a live session, which uses the generation that is in force now.
    #[must_use]
    pub fn session(&self) -> SessionGuard {
        let id = self.shared.next_caller.fetch_add(1, Ordering::Relaxed);
        let mut sessions = self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = *self.shared.generation.borrow();
        sessions.insert(id, generation);
        SessionGuard { documents: self.clone(), id, held: None }
    }

    /// The number of those who ask on a Connection. A number is never given to another class.
    fn class(&self, connection: &str) -> u64 {
        let mut classes = self.shared.classes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(class) = classes.get(connection) {
            return *class;
        }
        if classes.len() >= CLASSES {
            classes.clear();
        }
        let class = self.shared.next_caller.fetch_add(1, Ordering::Relaxed);
        classes.insert(connection.to_owned(), class);
        class
    }

    /// Returns once every live session uses `generation` or a newer one.
    pub async fn live(&self, generation: Generation) {
        let mut moved = self.shared.moved.subscribe();
        while self.oldest_in_use().is_some_and(|oldest| oldest < generation) {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    fn oldest_in_use(&self) -> Option<Generation> {
        let sessions = self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().min().copied()
    }

    /// How many sessions live.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A live session's entry; leaves on drop.
#[derive(Debug)]
pub struct SessionGuard {
    documents: Documents,
    id: u64,
    /// The document that this session decides by, and its serial number.
    held: Option<(u64, Arc<Current>)>,
}

impl SessionGuard {
    /// The session decides by this generation from now on.
    pub fn using(&self, generation: Generation) {
        let shared = &self.documents.shared;
        let mut sessions = shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.insert(self.id, generation) != Some(generation) {
            drop(sessions);
            shared.moved.send_replace(());
        }
    }

    /// Whether another document came into force than the one that this session decides by. Looks at one number.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        let serial = self.documents.shared.serial.load(Ordering::Acquire);
        self.held.as_ref().is_none_or(|(of, _)| *of != serial)
    }

    /// The document that came into force, if this session is behind.
    #[must_use]
    pub fn next(&self) -> Option<(u64, Arc<Current>)> {
        // Before the document: if that is replaced meanwhile, this number is old and the session is behind again.
        let serial = self.documents.shared.serial.load(Ordering::Acquire);
        Some((serial, self.documents.shared.current.load_full()?))
    }

    /// The session decides by this document from now on.
    pub fn move_to(&mut self, next: (u64, Arc<Current>)) {
        self.using(next.1.generation);
        self.held = Some(next);
    }

    /// The document that this session decides by; none while it has none, or when the operator has been silent
    /// for too long at `now`.
    #[must_use]
    pub fn held(&self, now: Instant) -> Option<&Arc<Current>> {
        let (_, current) = self.held.as_ref()?;
        self.documents.is_fresh(current, now).then_some(current)
    }

    /// Who asks on a Connection, as `policy` names callers: a decision for one session of a class counts for all
    /// of them. This process serves one pod, so all its sessions on one Connection are alike.
    #[must_use]
    pub fn class(&self, connection: &str) -> policy::Caller {
        policy::Caller(self.documents.class(connection))
    }

    /// This session alone, as `policy` names callers.
    #[must_use]
    pub const fn caller(&self) -> policy::Caller {
        policy::Caller(self.id)
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let shared = &self.documents.shared;
        shared.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        shared.moved.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Current {
        let document = Document {
            format: policy::FORMAT,
            features: Vec::new(),
            stale_after_seconds: 60,
            dns: policy::DnsMode::Cluster,
            connections: Vec::new(),
        };
        Current {
            generation: Generation { epoch: 1, sequence },
            document: Arc::new(document),
            pod: PodIdentity::default(),
        }
    }

    #[test]
    fn an_older_generation_is_refused() {
        let documents = Documents::new();
        assert!(documents.publish(at(2)).is_ok());
        assert!(matches!(documents.publish(at(1)), Err(PublishError::Older { .. })));
        assert_eq!(documents.current().map(|current| current.generation.sequence), Some(2));
    }

    #[tokio::test]
    async fn a_generation_is_live_once_every_session_uses_it() {
        let documents = Documents::new();
        assert!(documents.publish(at(1)).is_ok());
        let (first, second) = (documents.session(), documents.session());
        assert!(documents.publish(at(2)).is_ok());
        let generation = Generation { epoch: 1, sequence: 2 };
        let waiting = tokio::spawn({
            let documents = documents.clone();
            async move { documents.live(generation).await }
        });
        first.using(generation);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        assert!(waiting.await.is_ok());
    }
}
