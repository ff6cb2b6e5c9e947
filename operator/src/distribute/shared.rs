//! The state machine behind a lock, with a way to wait for one's own target.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use policy::Generation;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{Assigned, Class, Distribution, Key, Observed, PodFacts, Progress};

/// What a pod's stream is to send.
#[derive(Clone, Debug, Default)]
pub enum Target {
    /// The pod is not known yet, or has no document yet.
    #[default]
    Unknown,
    /// This.
    Assigned(PodFacts, Assigned),
    /// The pod is gone: the stream ends.
    Gone,
}

/// The distribution, shared by controllers and the channel. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Distributor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Debug)]
struct State {
    distribution: Distribution,
    lines: HashMap<String, Line>,
}

/// The open streams of one pod, known or not.
#[derive(Debug, Default)]
struct Line {
    target: watch::Sender<Target>,
    /// Streams that bring documents.
    watches: u32,
}

impl Distributor {
    /// Nothing distributed yet, under the leader of `epoch`.
    #[must_use]
    pub fn new(epoch: u64, stale_after: Duration) -> Self {
        let state = State { distribution: Distribution::new(epoch, stale_after), lines: HashMap::new() };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), moved: Notify::new() }) }
    }

    /// A pod as it is now. Returns whether that is news.
    pub fn place(&self, facts: PodFacts) -> bool {
        let mut state = self.state();
        let known = state.distribution.pods.get(&facts.identity.uid).map(|entry| &entry.facts);
        if known == Some(&facts) {
            return false;
        }
        let (uid, new) = (facts.identity.uid.clone(), known.is_none());
        state.distribution.place(facts, Instant::now());
        let watches = state.lines.get(&uid).map_or(0, |line| line.watches);
        for _ in 0..if new { watches } else { 0 } {
            state.distribution.opened(&uid, Instant::now());
        }
        state.tell(&uid);
        true
    }

    /// A pod is gone; its streams end.
    pub fn remove(&self, uid: &str) {
        let mut state = self.state();
        state.distribution.remove(uid);
        if let Some(line) = state.lines.remove(uid) {
            line.target.send_replace(Target::Gone);
        }
    }

    /// The UIDs of all pods that are known.
    #[must_use]
    pub fn uids(&self) -> Vec<String> {
        self.state().distribution.pods.keys().cloned().collect()
    }

    /// All pods that are known.
    #[must_use]
    pub fn pods(&self) -> Vec<PodFacts> {
        self.state().distribution.pods().cloned().collect()
    }

    /// Gives each pod its class, and says so to its streams. Returns how many got another one.
    pub fn publish(&self, classes: HashMap<String, Arc<Class>>, observed: &BTreeMap<Key, Observed>) -> usize {
        let mut state = self.state();
        let changed = state.distribution.publish(classes, observed, Instant::now());
        changed.iter().for_each(|uid| state.tell(uid));
        changed.len()
    }

    /// Follows one pod's target, as one stream that brings it documents.
    #[must_use]
    pub fn watch(&self, uid: &str) -> Subscription {
        self.subscribe(uid, true)
    }

    /// Follows one pod, to know what it is to have and when it is gone.
    #[must_use]
    pub fn follow(&self, uid: &str) -> Subscription {
        self.subscribe(uid, false)
    }

    fn subscribe(&self, uid: &str, watches: bool) -> Subscription {
        let mut state = self.state();
        let line = state.lines.entry(uid.to_owned()).or_default();
        let target = line.target.subscribe();
        line.watches += u32::from(watches);
        state.tell(uid);
        if watches {
            state.distribution.opened(uid, Instant::now());
        }
        Subscription { target, distributor: self.clone(), uid: uid.to_owned(), watches }
    }

    /// Whether the pod's document has this Connection.
    #[must_use]
    pub fn may_use(&self, uid: &str, connection: &str) -> bool {
        let state = self.state();
        let assigned = state.distribution.assigned(uid);
        assigned.is_some_and(|assigned| assigned.class.connections.contains(connection))
    }

    /// How far a resource has come.
    #[must_use]
    pub fn progress(&self, key: &Key) -> Progress {
        self.state().distribution.progress(key, Instant::now())
    }

    /// Returns when a pod has said something new since the last call. For one waiter.
    pub async fn moved(&self) {
        self.shared.moved.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells the pod's streams what is to be sent.
    fn tell(&mut self, uid: &str) {
        let Some(line) = self.lines.get(uid) else { return };
        let Some(entry) = self.distribution.pods.get(uid) else { return };
        let Some(assigned) = entry.assigned.clone() else { return };
        let facts = entry.facts.clone();
        line.target.send_if_modified(|target| {
            let same = matches!(target, Target::Assigned(old, was)
                if was.generation == assigned.generation && old.ip == facts.ip);
            if !same {
                *target = Target::Assigned(facts, assigned);
            }
            !same
        });
    }
}

/// One open stream of a pod. Ends as such when dropped.
#[derive(Debug)]
pub struct Subscription {
    target: watch::Receiver<Target>,
    distributor: Distributor,
    uid: String,
    watches: bool,
}

impl Subscription {
    /// What is to be sent now.
    pub fn current(&mut self) -> Target {
        self.target.borrow_and_update().clone()
    }

    /// Returns when [`current`](Self::current) is another one.
    pub async fn changed(&mut self) {
        if self.target.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when the pod is gone.
    pub async fn gone(&mut self) {
        if self.target.wait_for(|target| matches!(target, Target::Gone)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The pod uses `generation`, or says by `problem` why not.
    pub fn acknowledge(&self, generation: Generation, problem: &str) {
        let now = Instant::now();
        let news = self.distributor.state().distribution.acknowledge(&self.uid, generation, problem, now);
        if news {
            self.distributor.shared.moved.notify_one();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.distributor.state();
        if self.watches {
            state.distribution.closed(&self.uid, Instant::now());
        }
        let Some(line) = state.lines.get_mut(&self.uid) else { return };
        line.watches = line.watches.saturating_sub(u32::from(self.watches));
        // This receiver still counts; a pod that never came leaves nothing behind.
        if line.target.receiver_count() <= 1 {
            state.lines.remove(&self.uid);
        }
    }
}
