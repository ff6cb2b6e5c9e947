//! Which pod has which document, and how far each change has come. A state machine: no I/O, no clock.
//!
//! ```text
//!  publish --class differs--> target = next generation --acknowledged--> settled
//!                                  |                                        |
//!                                  +--- not settled for SILENCE: stale <----+ stream lost
//! ```

mod latch;
mod pod;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use policy::Generation;
use tokio::time::Instant;

use latch::Latch;
pub use latch::{Programmed, Progress};
use pod::Entry;
pub use pod::{Assigned, PodFacts, PodIdentity};
pub use shared::{Distributor, Right, Subscription, Target};

/// How long a pod may be silent before it is called stale.
pub const SILENCE: Duration = Duration::from_secs(60);

/// A resource that reaches pods in documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A Connection by `namespace/name`.
    Connection(String),
    /// An AccessPolicy by `namespace/name`.
    AccessPolicy(String),
}

/// A class document, shared by all pods of the class.
#[derive(Debug, PartialEq, Eq)]
pub struct Class {
    /// SHA-256 of `document`.
    pub digest: [u8; 32],
    /// The document as it is sent.
    pub document: Vec<u8>,
    /// The Connections in it.
    pub connections: BTreeSet<String>,
    /// Those of them for which its pods need a credential: something is allowed there.
    pub leased: BTreeSet<String>,
    /// The policies in it.
    pub policies: BTreeSet<String>,
}

impl Class {
    /// A class of this document.
    #[must_use]
    pub fn new(
        document: Vec<u8>,
        connections: BTreeSet<String>,
        leased: BTreeSet<String>,
        policies: BTreeSet<String>,
    ) -> Self {
        Self { digest: compile::digest(&document), document, connections, leased, policies }
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        let connections = self.connections.iter().cloned().map(Key::Connection);
        connections.chain(self.policies.iter().cloned().map(Key::AccessPolicy))
    }

    fn includes(&self, key: &Key) -> bool {
        match key {
            Key::Connection(name) => self.connections.contains(name),
            Key::AccessPolicy(name) => self.policies.contains(name),
        }
    }
}

/// A resource as it was when classes were compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Whether its status says that this very generation was programmed (by a leader before this one).
    pub programmed: bool,
}

/// Documents and acknowledgements under one leader.
#[derive(Debug)]
pub struct Distribution {
    generation: Generation,
    stale_after: Duration,
    pods: HashMap<String, Entry>,
    latches: BTreeMap<Key, Latch>,
}

impl Distribution {
    /// Nothing distributed yet, under the leader of `epoch`.
    #[must_use]
    pub fn new(epoch: u64, stale_after: Duration) -> Self {
        Self {
            generation: Generation { epoch, sequence: 0 },
            stale_after,
            pods: HashMap::new(),
            latches: BTreeMap::new(),
        }
    }

    /// A pod as it is now: new or changed.
    pub fn place(&mut self, facts: PodFacts, now: Instant) {
        match self.pods.get_mut(&facts.identity.uid) {
            Some(entry) => entry.facts = facts,
            None => drop(self.pods.insert(facts.identity.uid.clone(), Entry::new(facts, now))),
        }
    }

    /// A pod is gone.
    pub fn remove(&mut self, uid: &str) {
        self.pods.remove(uid);
        self.latches.values_mut().for_each(|latch| latch.gone(uid));
    }

    /// What a pod is to have.
    #[must_use]
    pub fn assigned(&self, uid: &str) -> Option<&Assigned> {
        self.pods.get(uid)?.assigned.as_ref()
    }

    /// Gives each pod its class. Returns the pods whose target changed. `observed` are all resources, as
    /// they were when the classes were compiled.
    pub fn publish(
        &mut self,
        mut classes: HashMap<String, Arc<Class>>,
        observed: &BTreeMap<Key, Observed>,
        now: Instant,
    ) -> Vec<String> {
        let next = Generation { sequence: self.generation.sequence + 1, ..self.generation };
        let mut changed = Vec::new();
        let mut before: HashMap<String, Arc<Class>> = HashMap::new();
        for (uid, entry) in &mut self.pods {
            let Some(class) = classes.remove(uid) else { continue };
            let old = entry.assigned.as_ref().map(|assigned| Arc::clone(&assigned.class));
            if old.as_ref().is_some_and(|old| old.digest == class.digest) {
                continue;
            }
            if let Some(old) = old {
                before.insert(uid.clone(), old);
            }
            entry.assign(Assigned { generation: next, class }, now);
            changed.push(uid.clone());
        }
        if !changed.is_empty() {
            self.generation = next;
        }
        self.latches.retain(|key, _| observed.contains_key(key));
        for (key, observed) in observed {
            self.observe(key, observed, &before);
        }
        changed
    }

    /// A new generation of a resource waits for the pods that are Ready now and concern it, before or after.
    fn observe(&mut self, key: &Key, observed: &Observed, before: &HashMap<String, Arc<Class>>) {
        if self.latches.get(key).is_some_and(|latch| latch.observed == observed.generation) {
            return;
        }
        let concerned = |(uid, entry): (&String, &Entry)| {
            let target = entry.assigned.as_ref()?;
            let concerns = target.class.includes(key) || before.get(uid).is_some_and(|old| old.includes(key));
            let waits = concerns && entry.facts.ready && !entry.has(target.generation);
            waits.then(|| (uid.clone(), target.generation))
        };
        let waiting = if observed.programmed {
            HashMap::new()
        } else {
            self.pods.iter().filter_map(concerned).collect()
        };
        self.latches.insert(key.clone(), Latch { observed: observed.generation, waiting });
    }

    /// A stream of the pod was opened.
    pub fn opened(&mut self, uid: &str, now: Instant) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.opened(now);
        }
    }

    /// A stream of the pod ended.
    pub fn closed(&mut self, uid: &str, now: Instant) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.closed(now);
        }
    }

    /// The pod uses `generation`, or says by `problem` why it does not. Returns whether that is news.
    pub fn acknowledge(&mut self, uid: &str, generation: Generation, problem: &str, now: Instant) -> bool {
        let target = self.assigned(uid).map(|assigned| assigned.generation);
        // A generation that this leader never gave is no acknowledgement of anything.
        if generation.epoch != self.generation.epoch || target.is_none_or(|target| generation > target) {
            return false;
        }
        let Some(entry) = self.pods.get_mut(uid) else { return false };
        if !entry.acknowledge(generation, problem, now) {
            return false;
        }
        if problem.is_empty() {
            self.latches.values_mut().for_each(|latch| latch.acknowledged(uid, generation));
        }
        true
    }

    /// How far every resource has come.
    #[must_use]
    pub fn progress(&self, now: Instant) -> BTreeMap<Key, Progress> {
        // Pods of one class have the same resources, so they are counted once.
        let mut by_class: HashMap<[u8; 32], (&Class, Progress)> = HashMap::new();
        for entry in self.pods.values() {
            let Some(assigned) = &entry.assigned else { continue };
            let counted = by_class.entry(assigned.class.digest);
            let (_, progress) = counted.or_insert_with(|| (&assigned.class, Progress::default()));
            progress.add(&entry.progress(now, self.stale_after));
        }
        let mut found: BTreeMap<Key, Progress> = BTreeMap::new();
        for (class, progress) in by_class.values() {
            class.keys().for_each(|key| found.entry(key).or_default().add(progress));
        }
        for (key, latch) in &self.latches {
            let progress = found.entry(key.clone()).or_default();
            self.wait(key, latch, progress, now);
        }
        found
    }

    /// Whether the resource's generation has arrived everywhere. A pod that has lost the resource by it counts
    /// too until it says so.
    fn wait(&self, key: &Key, latch: &Latch, progress: &mut Progress, now: Instant) {
        let mut waiting = 0;
        for entry in latch.waiting.keys().filter_map(|uid| self.pods.get(uid)) {
            if entry.is_past(now, self.stale_after) {
                continue;
            }
            waiting += 1;
            if !entry.includes(key) {
                progress.stale += entry.progress(now, self.stale_after).stale;
            }
        }
        progress.programmed = match (waiting, progress.stale, progress.pods) {
            (_, 1.., _) => Programmed::Stale,
            (1.., ..) => Programmed::Waiting(waiting),
            (0, 0, 0) => Programmed::NoPods,
            (0, 0, _) => Programmed::Done,
        };
    }
}

#[cfg(test)]
mod tests;
