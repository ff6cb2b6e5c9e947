//! The state machine behind a lock, with a way to wait for one's own target.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
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

/// What a pod may have of a Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Its credential.
    Given,
    /// Its place in the document alone: no rule allows the pod anything there.
    Withheld,
    /// Nothing.
    None,
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

    /// The pods as they are now: of those that are gone, streams end.
    pub fn set_pods(&self, pods: &[PodFacts]) {
        let mut state = self.state();
        let there: HashSet<&str> = pods.iter().map(|pod| pod.identity.uid.as_str()).collect();
        let known = state.distribution.pods.keys();
        let gone: Vec<String> = known.filter(|uid| !there.contains(uid.as_str())).cloned().collect();
        gone.iter().for_each(|uid| state.remove(uid));
        pods.iter().for_each(|pod| state.place(pod));
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

    /// What the pod's document says of a Connection's credential.
    #[must_use]
    pub fn right(&self, uid: &str, connection: &str) -> Right {
        let state = self.state();
        match state.distribution.assigned(uid) {
            Some(assigned) if assigned.class.leased.contains(connection) => Right::Given,
            Some(assigned) if assigned.class.connections.contains(connection) => Right::Withheld,
            Some(_) | None => Right::None,
        }
    }

    /// Whether a pod is there, with a sidecar of ours.
    #[must_use]
    pub fn knows(&self, uid: &str) -> bool {
        self.state().distribution.pods.contains_key(uid)
    }

    /// How far every resource has come.
    #[must_use]
    pub fn progress_of_all(&self) -> BTreeMap<Key, Progress> {
        self.state().distribution.progress(Instant::now())
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
    fn place(&mut self, facts: &PodFacts) {
        let uid = &facts.identity.uid;
        let known = self.distribution.pods.get(uid).map(|entry| &entry.facts);
        if known == Some(facts) {
            return;
        }
        let new = known.is_none();
        self.distribution.place(facts.clone(), Instant::now());
        // Streams that were there before the pod was known.
        let watches = self.lines.get(uid).map_or(0, |line| line.watches);
        for _ in 0..if new { watches } else { 0 } {
            self.distribution.opened(uid, Instant::now());
        }
        self.tell(uid);
    }

    fn remove(&mut self, uid: &str) {
        self.distribution.remove(uid);
        if let Some(line) = self.lines.remove(uid) {
            line.target.send_replace(Target::Gone);
        }
    }

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
