//! One pod: who it is, what it is to have, what it says it has.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use policy::Generation;
use tokio::time::Instant;

use super::{Class, Key, Programmed, Progress, SILENCE};

/// Who a pod is, as the API server says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its service account.
    pub service_account: String,
}

/// What is known of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Who it is.
    pub identity: PodIdentity,
    /// Its address, once it has one.
    pub ip: Option<String>,
    /// Its labels at admission: those that policies match.
    pub labels: BTreeMap<String, String>,
    /// The Connections it wants, as its annotation says.
    pub wanted: Option<String>,
    /// Whether it is Ready.
    pub ready: bool,
}

/// What a pod is to have.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// Since when.
    pub generation: Generation,
    /// The document.
    pub class: Arc<Class>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) facts: PodFacts,
    pub(super) assigned: Option<Assigned>,
    acknowledged: Option<Generation>,
    problem: Option<(Generation, String)>,
    streams: u32,
    /// Since when it has no stream.
    away: Option<Instant>,
    /// Since when it has no stream or owes an acknowledgement.
    unsettled: Option<Instant>,
}

impl Entry {
    pub(super) const fn new(facts: PodFacts, now: Instant) -> Self {
        Self {
            facts,
            assigned: None,
            acknowledged: None,
            problem: None,
            streams: 0,
            away: Some(now),
            unsettled: Some(now),
        }
    }

    pub(super) fn assign(&mut self, assigned: Assigned, now: Instant) {
        self.assigned = Some(assigned);
        self.settle(now);
    }

    pub(super) fn opened(&mut self, now: Instant) {
        self.streams += 1;
        self.settle(now);
    }

    pub(super) fn closed(&mut self, now: Instant) {
        self.streams = self.streams.saturating_sub(1);
        self.settle(now);
    }

    pub(super) fn acknowledge(&mut self, generation: Generation, problem: &str, now: Instant) -> bool {
        if problem.is_empty() {
            if self.has(generation) {
                return false;
            }
            self.acknowledged = Some(generation);
            self.problem = self.problem.take().filter(|(of, _)| *of > generation);
        } else {
            let problem = problem.chars().take(512).collect();
            self.problem = Some((generation, problem));
        }
        self.settle(now);
        true
    }

    /// Whether it has acknowledged `generation` or a later one.
    pub(super) fn has(&self, generation: Generation) -> bool {
        self.acknowledged.is_some_and(|acknowledged| acknowledged >= generation)
    }

    /// Whether it has acknowledged what it is to have.
    pub(super) fn is_current(&self) -> bool {
        self.assigned.as_ref().is_some_and(|assigned| self.has(assigned.generation))
    }

    pub(super) fn includes(&self, key: &Key) -> bool {
        self.assigned.as_ref().is_some_and(|assigned| assigned.class.includes(key))
    }

    /// This pod, counted.
    pub(super) fn progress(&self, now: Instant, stale_after: Duration) -> Progress {
        Progress {
            pods: 1,
            on_generation: u32::from(self.is_current()),
            stale: u32::from(self.is_stale(now, stale_after)),
            programmed: Programmed::default(),
            problem: self.problem_text(),
        }
    }

    /// Whether it has been silent for too long, and may still be serving by an old document. A pod that
    /// never was Ready nor spoke has no sidecar that serves yet.
    fn is_stale(&self, now: Instant, stale_after: Duration) -> bool {
        let serves = self.facts.ready || self.acknowledged.is_some();
        let silent = self.unsettled.is_some_and(|since| now.duration_since(since) >= SILENCE);
        serves && silent && !self.is_past(now, stale_after)
    }

    /// Whether it has heard nothing for so long that its sidecar refuses everything.
    pub(super) fn is_past(&self, now: Instant, stale_after: Duration) -> bool {
        self.away.is_some_and(|since| now.duration_since(since) >= stale_after)
    }

    fn problem_text(&self) -> Option<String> {
        let identity = &self.facts.identity;
        let (_, problem) = self.problem.as_ref()?;
        Some(format!("pod {}/{}: {problem}", identity.namespace, identity.name))
    }

    fn settle(&mut self, now: Instant) {
        if self.streams == 0 {
            self.away.get_or_insert(now);
        } else {
            self.away = None;
        }
        if self.streams > 0 && self.is_current() {
            self.unsettled = None;
        } else {
            self.unsettled.get_or_insert(now);
        }
    }
}
