//! Roles' own defaults of `search_path`, so that not every login needs a second one to ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Wish;

/// After that long an `ALTER ROLE ... SET search_path` counts for new sessions.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How many are kept.
const KEPT: usize = 1024;

/// The Connection, the upstream, the database and the role.
type Of = (String, String, String, String);

/// What is known. Cheap to clone; one per process.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    known: Arc<Mutex<HashMap<Of, (String, Instant)>>>,
}

impl Defaults {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn search_path(&self, wish: &Wish) -> Option<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (search_path, asked) = known.get(&of(wish))?;
        (asked.elapsed() < KEPT_FOR).then(|| search_path.clone())
    }

    pub(super) fn remember(&self, wish: &Wish, search_path: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            known.retain(|_, (_, asked)| asked.elapsed() < KEPT_FOR);
        }
        if known.len() < KEPT {
            known.insert(of(wish), (search_path.to_owned(), Instant::now()));
        }
    }
}

fn of(wish: &Wish) -> Of {
    let upstream = format!("{}:{}", wish.upstream.host, wish.upstream.port);
    (wish.connection.clone(), upstream, wish.database.clone(), wish.lease.username.clone())
}
