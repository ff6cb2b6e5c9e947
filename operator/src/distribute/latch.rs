//! Whether a generation of a resource has reached the pods that were there when it came.

use std::collections::HashMap;

use policy::Generation;

/// Pods that were Ready when a resource's generation was observed and have not acknowledged it yet. Pods
/// that come later do not reset it.
#[derive(Debug)]
pub(super) struct Latch {
    /// The resource's `metadata.generation`.
    pub(super) observed: i64,
    /// By pod UID: what it has to acknowledge.
    pub(super) waiting: HashMap<String, Generation>,
}

impl Latch {
    pub(super) fn gone(&mut self, uid: &str) {
        self.waiting.remove(uid);
    }

    pub(super) fn acknowledged(&mut self, uid: &str, generation: Generation) {
        if self.waiting.get(uid).is_some_and(|needed| *needed <= generation) {
            self.waiting.remove(uid);
        }
    }
}

/// How far a resource has come.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    /// Pods whose document has the resource.
    pub pods: u32,
    /// Those of them that have acknowledged their newest document.
    pub on_generation: u32,
    /// Those of them that have been silent for too long.
    pub stale: u32,
    /// Whether the resource's generation has arrived.
    pub programmed: Programmed,
    /// What one of the pods says against its document.
    pub problem: Option<String>,
}

impl Progress {
    /// Counts other pods in.
    pub(super) fn add(&mut self, other: &Self) {
        self.pods += other.pods;
        self.on_generation += other.on_generation;
        self.stale += other.stale;
        if self.problem.is_none() {
            self.problem.clone_from(&other.problem);
        }
    }
}

/// Whether a resource's generation has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Programmed {
    /// At all pods that were to have it.
    Done,
    /// There are no pods.
    NoPods,
    /// This many pods have not acknowledged it.
    Waiting(u32),
    /// Some pods have been silent for too long.
    Stale,
}

impl Default for Programmed {
    fn default() -> Self {
        Self::Waiting(0)
    }
}
