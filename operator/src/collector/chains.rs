//! Where each sidecar's chain ends, as far as this collector has seen it.

use std::collections::BTreeMap;

use audit::{Batch, Hash};
use uuid::Uuid;

/// Chains that are remembered. A chain that was forgotten is taken as it comes: verification sees the rest.
const REMEMBERED: usize = 100_000;

/// The ends of chains.
#[derive(Debug, Default)]
pub(super) struct Chains {
    ends: BTreeMap<Uuid, (u64, Hash)>,
}

/// Where a batch belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind everything that is stored.
    Next,
    /// It is stored already.
    Stored,
    /// Neither: something else has its place.
    Fork {
        /// The last batch that is stored.
        last: u64,
    },
}

impl Chains {
    pub(super) fn place(&self, batch: &Batch) -> Place {
        let header = &batch.header;
        match self.ends.get(&header.chain) {
            None => Place::Next,
            Some((last, hash)) if header.sequence == last + 1 && header.previous == *hash => Place::Next,
            Some((last, hash)) if header.sequence == *last && batch.hash == *hash => Place::Stored,
            Some((last, _)) => Place::Fork { last: *last },
        }
    }

    pub(super) fn stored(&mut self, batch: &Batch) {
        if self.ends.len() >= REMEMBERED {
            self.ends.pop_first();
        }
        self.ends.insert(batch.header.chain, (batch.header.sequence, batch.hash));
    }
}
