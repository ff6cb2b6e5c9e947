//! What is known of the upstreams' catalogs, shared by the sessions of this process.
//!
//! `sql` says what to ask and what the answers mean; the relay runs the questions; here is decided how long an
//! answer counts, and how a state that names are resolved in is numbered.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use policy::Scope;
use sql::{Catalog, builtins::Version};
use tokio::{
    sync::{Mutex as Turns, MutexGuard as Turn},
    time::timeout,
};

/// An answer counts this long; then what is used is read again.
const FRESH: Duration = Duration::from_secs(5);
/// How long the others go on with what is known while one session reads it again.
const GRACE: Duration = Duration::from_secs(1);
/// How long a session waits while another one reads, before it reads for itself.
const PATIENCE: Duration = Duration::from_millis(250);
/// Upstream databases whose catalogs are remembered; beyond it, all are forgotten.
const DATABASES: usize = 64;
/// Scopes of one catalog that have a number; beyond it, all get new ones.
const SCOPES: usize = 1024;

/// Numbers scopes. No two scopes of this process ever have the same number; 0 is none.
static NEXT_SCOPE: AtomicU64 = AtomicU64::new(1);

/// The catalogs of this process, by Connection, database and role: what one role may see, another may not.
#[derive(Clone, Debug, Default)]
pub struct Catalogs {
    known: Arc<Mutex<HashMap<Key, SharedCatalog>>>,
}

type Key = (String, String, String, Version);

/// What names are resolved in beside the catalog: the search path, the temporary schema and the role.
type Names = (Vec<String>, Option<String>, String);

/// One catalog, shared.
#[derive(Clone, Debug)]
pub(super) struct SharedCatalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    entry: Mutex<Entry>,
    /// The catalog's epoch, to be looked at without the lock.
    epoch: AtomicU64,
    made: Instant,
    /// How old this was when it was last read from nothing, in milliseconds.
    read_at: AtomicU64,
    /// Held by the session that reads: what it learns, the others need not ask.
    turns: Turns<()>,
}

/// A catalog and the numbers of its scopes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) catalog: Catalog,
    scopes: HashMap<Names, Scope>,
    /// The epoch that the numbers are of.
    scopes_of: u64,
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
        let entry = Entry { catalog: Catalog::new(version), scopes: HashMap::new(), scopes_of: 0 };
        let epoch = AtomicU64::new(entry.catalog.epoch());
        let (made, read_at, turns) = (Instant::now(), AtomicU64::new(0), Turns::new(()));
        Self { shared: Arc::new(Shared { entry: Mutex::new(entry), epoch, made, read_at, turns }) }
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        let entry = self.shared.entry.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { entry, epoch: &self.shared.epoch }
    }

    /// Everything must be read again.
    pub(super) fn forget(&self) {
        let mut entry = self.lock();
        entry.catalog.forget_all();
        self.shared.read_at.store(self.age(Instant::now()), Ordering::Relaxed);
    }

    fn age(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.shared.made).as_millis();
        u64::try_from(age).unwrap_or(u64::MAX)
    }

    /// Whether what is known counts at `now`. Looks at one number.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        let read_at = self.shared.read_at.load(Ordering::Relaxed);
        u128::from(self.age(now).saturating_sub(read_at)) <= FRESH.as_millis()
    }

    /// Whether what is known is too old and it falls to the caller to read it again. The others go on with it for a
    /// moment; if nothing comes of it, it falls to one of them.
    pub(super) fn falls_due(&self, now: Instant) -> bool {
        let read_at = self.shared.read_at.load(Ordering::Relaxed);
        let (age, millis) =
            (self.age(now), |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        if age.saturating_sub(read_at) <= millis(FRESH) {
            return false;
        }
        let until = age.saturating_add(millis(GRACE)).saturating_sub(millis(FRESH));
        self.shared.read_at.compare_exchange(read_at, until, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// All of it was read again; `begun` is when that began.
    pub(super) fn was_read(&self, begun: Instant) {
        self.shared.read_at.store(self.age(begun), Ordering::Relaxed);
    }

    /// The right to read while others wait; none when whoever has it takes too long.
    pub(super) async fn turn(&self) -> Option<Turn<'_, ()>> {
        timeout(PATIENCE, self.shared.turns.lock()).await.ok()
    }

    /// Changes with everything that was known. Looks at one number.
    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }
}

/// A catalog in use.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    entry: MutexGuard<'a, Entry>,
    epoch: &'a AtomicU64,
}

impl Deref for Locked<'_> {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.epoch.store(self.entry.catalog.epoch(), Ordering::Release);
    }
}

impl Entry {
    /// The number of the scope that these names make with what is known now, and the epoch of that. Equal scopes
    /// have equal numbers, for every session.
    pub(super) fn scope(&mut self, path: &[String], temp: Option<&str>, role: &str) -> (Scope, u64) {
        let epoch = self.catalog.epoch();
        if self.scopes_of != epoch || self.scopes.len() >= SCOPES {
            self.scopes.clear();
            self.scopes_of = epoch;
        }
        let names = (path.to_vec(), temp.map(str::to_owned), role.to_owned());
        let next = || Scope(NEXT_SCOPE.fetch_add(1, Ordering::Relaxed));
        (*self.scopes.entry(names).or_insert_with(next), epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(catalog: &SharedCatalog, path: &[&str], temp: Option<&str>, role: &str) -> Scope {
        let path: Vec<String> = path.iter().map(|schema| (*schema).to_owned()).collect();
        catalog.lock().scope(&path, temp, role).0
    }

    #[test]
    fn equal_scopes_have_equal_numbers_until_the_catalog_changes() {
        let catalog = SharedCatalog::new(Version::V15);
        let first = number(&catalog, &["public"], None, "app");
        assert_eq!(number(&catalog, &["public"], None, "app"), first);
        for other in [
            number(&catalog, &["other", "public"], None, "app"),
            number(&catalog, &["public"], Some("pg_temp_1"), "app"),
            number(&catalog, &["public"], None, "reader"),
            number(&SharedCatalog::new(Version::V15), &["public"], None, "app"),
        ] {
            assert_ne!(other, first);
        }
        let epoch = catalog.epoch();
        catalog.forget();
        assert_ne!(catalog.epoch(), epoch);
        assert_ne!(number(&catalog, &["public"], None, "app"), first);
    }

    #[test]
    fn what_is_too_old_is_read_again_by_one() {
        let catalog = SharedCatalog::new(Version::V15);
        let now = Instant::now();
        assert!(catalog.is_fresh(now) && !catalog.falls_due(now));
        let later = now + FRESH + Duration::from_millis(100);
        assert!(!catalog.is_fresh(later) && catalog.falls_due(later));
        assert!(catalog.is_fresh(later) && !catalog.falls_due(later), "one is enough");
        let nothing_came = later + GRACE + Duration::from_millis(100);
        assert!(catalog.falls_due(nothing_came), "the next one tries");
        catalog.was_read(nothing_came);
        assert!(catalog.is_fresh(nothing_came + FRESH - Duration::from_millis(100)));
        assert!(!catalog.is_fresh(nothing_came + FRESH + Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_long_for_a_turn() {
        let catalog = SharedCatalog::new(Version::V15);
        let reads = catalog.turn().await;
        assert!(reads.is_some());
        assert!(catalog.turn().await.is_none());
        drop(reads);
        assert!(catalog.turn().await.is_some());
    }
}
