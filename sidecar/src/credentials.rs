//! The leases of this pod: what the upstreams' logins need, in memory only.
//!
//! Whoever gets credentials (the control channel, the standalone mode) publishes them here; each login takes
//! the one that is current, so a rotated Secret counts at the next login.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use secrecy::SecretSlice;
use tokio::{sync::watch, time::Instant};

/// How long a login waits for the first lease of a Connection.
const FIRST_LEASE: Duration = Duration::from_secs(5);

/// A username and password for one Connection.
#[derive(Debug)]
pub struct Lease {
    /// Opaque; another one means: changed.
    pub version: String,
    /// The upstream's role.
    pub username: String,
    /// Its password.
    pub password: SecretSlice<u8>,
    /// How long it may be used for logins, from when it is published; until replaced when absent.
    pub valid_for: Option<Duration>,
}

/// Why there is no credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoLease {
    /// None has come yet.
    #[error("no credential for it has arrived yet")]
    NotYet,
    /// The last one has ended.
    #[error("the credential for it has ended and no new one has arrived")]
    Ended,
    /// Its source says why.
    #[error("{0}")]
    Withdrawn(String),
}

#[derive(Clone, Debug)]
enum State {
    Unknown,
    Leased { lease: Arc<Lease>, until: Option<Instant> },
    Withdrawn(String),
}

impl State {
    fn lease(&self) -> Result<Arc<Lease>, NoLease> {
        match self {
            Self::Unknown => Err(NoLease::NotYet),
            Self::Withdrawn(reason) => Err(NoLease::Withdrawn(reason.clone())),
            Self::Leased { lease, until } if until.is_none_or(|until| Instant::now() < until) => {
                Ok(Arc::clone(lease))
            }
            Self::Leased { .. } => Err(NoLease::Ended),
        }
    }
}

/// The holder of leases. Cheap to clone; one per process.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    leases: Arc<Mutex<BTreeMap<String, watch::Sender<State>>>>,
}

impl Credentials {
    /// A holder without leases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The lease for the logins of a Connection from now on.
    pub fn publish(&self, connection: &str, lease: Lease) {
        let until = lease.valid_for.and_then(|valid| Instant::now().checked_add(valid));
        self.set(connection, State::Leased { lease: Arc::new(lease), until });
    }

    /// From now on there is none, for this reason.
    pub fn withdraw(&self, connection: &str, reason: &str) {
        self.set(connection, State::Withdrawn(reason.to_owned()));
    }

    /// Forgets the leases of all other Connections.
    pub fn retain(&self, connections: &BTreeSet<String>) {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|name, _| connections.contains(name));
    }

    /// The lease for a login. Waits a little for the first one of a Connection.
    ///
    /// # Errors
    /// When there is none that may be used.
    pub async fn lease(&self, connection: &str) -> Result<Arc<Lease>, NoLease> {
        let mut state = self.subscribe(connection);
        let known = state.wait_for(|state| !matches!(state, State::Unknown));
        match tokio::time::timeout(FIRST_LEASE, known).await {
            Ok(Ok(state)) => state.lease(),
            Ok(Err(_)) | Err(_) => Err(NoLease::NotYet),
        }
    }

    fn subscribe(&self, connection: &str) -> watch::Receiver<State> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let sender =
            leases.entry(connection.to_owned()).or_insert_with(|| watch::Sender::new(State::Unknown));
        sender.subscribe()
    }

    fn set(&self, connection: &str, state: State) {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        let sender =
            leases.entry(connection.to_owned()).or_insert_with(|| watch::Sender::new(State::Unknown));
        sender.send_replace(state);
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn lease(password: &str, valid_for: Option<Duration>) -> Lease {
        let password = SecretSlice::from(password.as_bytes().to_vec());
        Lease { version: "1".into(), username: "app".into(), password, valid_for }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_secret_counts_at_the_next_login() {
        let credentials = Credentials::new();
        credentials.publish("a/b", lease("old", None));
        credentials.publish("a/b", lease("new", None));
        assert_eq!(credentials.lease("a/b").await.unwrap().password.expose_secret(), b"new");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_lease_is_waited_for_but_not_forever() {
        let credentials = Credentials::new();
        assert_eq!(credentials.lease("a/b").await.unwrap_err(), NoLease::NotYet);
        let waiting = tokio::spawn({
            let credentials = credentials.clone();
            async move { credentials.lease("a/b").await.map(|lease| lease.username.clone()) }
        });
        tokio::task::yield_now().await;
        credentials.publish("a/b", lease("x", None));
        assert_eq!(waiting.await.unwrap(), Ok("app".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_ended_or_withdrawn_lease_is_not_used() {
        let credentials = Credentials::new();
        credentials.publish("a/b", lease("x", Some(Duration::from_secs(60))));
        assert!(credentials.lease("a/b").await.is_ok());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(credentials.lease("a/b").await.unwrap_err(), NoLease::Ended);
        credentials.withdraw("a/b", "the Secret is gone");
        assert_eq!(credentials.lease("a/b").await.unwrap_err().to_string(), "the Secret is gone");
    }

    #[test]
    fn a_password_is_never_printed() {
        assert!(!format!("{:?}", lease("hunter2", None)).contains("hunter2"));
        assert!(!format!("{:?}", lease("hunter2", None)).contains(&format!("{:?}", b"hunter2")));
    }
}
