//! What is known of the upstreams' catalogs, shared by the sessions of this process.
//!
//! `sql` says what to ask and what the answers mean; the relay runs the questions; here is decided how long an
//! answer counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sql::{Catalog, builtins::Version};

/// An answer counts this long; then what is used is read again.
const FRESH: Duration = Duration::from_secs(5);
/// Upstream databases whose catalogs are remembered; beyond it, all are forgotten.
const DATABASES: usize = 64;

/// The catalogs of this process, by Connection, database and role: what one role may see, another may not.
#[derive(Clone, Debug, Default)]
pub struct Catalogs {
    known: Arc<Mutex<HashMap<Key, SharedCatalog>>>,
}

type Key = (String, String, String, Version);

/// One catalog, shared.
#[derive(Clone, Debug)]
pub(super) struct SharedCatalog {
    entry: Arc<Mutex<Entry>>,
}

/// A catalog and its age.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) catalog: Catalog,
    read_at: Instant,
}

impl Catalogs {
    /// Without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The catalog of a database as a role sees it.
    pub(super) fn of(&self, connection: &str, database: &str, role: &str, version: Version) -> SharedCatalog {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DATABASES {
            known.clear();
        }
        let key = (connection.to_owned(), database.to_owned(), role.to_owned(), version);
        known.entry(key).or_insert_with(|| SharedCatalog::new(version)).clone()
    }
}

impl SharedCatalog {
    /// One of its own: for a session with changes that nobody else sees yet.
    pub(super) fn new(version: Version) -> Self {
        let entry = Entry { catalog: Catalog::new(version), read_at: Instant::now() };
        Self { entry: Arc::new(Mutex::new(entry)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything must be read again.
    pub(super) fn forget(&self) {
        let mut entry = self.lock();
        entry.catalog.forget_all();
        entry.read_at = Instant::now();
    }

    /// A number that tells two catalogs of one session apart.
    pub(super) fn identity(&self) -> usize {
        Arc::as_ptr(&self.entry) as usize
    }
}

impl Entry {
    /// Forgets what is too old to be used.
    pub(super) fn keep_fresh(&mut self) {
        if self.read_at.elapsed() > FRESH {
            self.catalog.forget_all();
            self.read_at = Instant::now();
        }
    }
}
