//! The credentials of Connections, as their Secrets have them now.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;
use zeroize::Zeroizing;

/// What a sidecar gets for one Connection.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Lease {
    /// Nothing is known yet.
    #[default]
    Pending,
    /// A username and password.
    Credential {
        /// Another one means: changed.
        version: String,
        /// The username.
        username: String,
        /// The password.
        password: Zeroizing<Vec<u8>>,
    },
    /// There is none, and why.
    Unavailable(String),
}

/// Without the password.
impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("Pending"),
            Self::Credential { version, .. } => {
                f.debug_struct("Credential").field("version", version).finish_non_exhaustive()
            }
            Self::Unavailable(reason) => f.debug_tuple("Unavailable").field(reason).finish(),
        }
    }
}

/// The leases of all Connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    by_connection: Arc<Mutex<BTreeMap<String, watch::Sender<Lease>>>>,
}

impl Leases {
    /// Without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a Connection's lease is now. Streams are told only what is new.
    pub fn set(&self, connection: &str, lease: Lease) {
        let mut leases = self.by_connection.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = leases.entry(connection.to_owned()).or_default();
        sender.send_if_modified(|known| {
            let changed = *known != lease;
            if changed {
                *known = lease;
            }
            changed
        });
    }

    /// Follows the lease of a Connection.
    #[must_use]
    pub fn follow(&self, connection: &str) -> watch::Receiver<Lease> {
        let mut leases = self.by_connection.lock().unwrap_or_else(PoisonError::into_inner);
        leases.entry(connection.to_owned()).or_default().subscribe()
    }

    /// Forgets Connections that are gone.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut leases = self.by_connection.lock().unwrap_or_else(PoisonError::into_inner);
        leases.retain(|name, _| keep(name));
    }
}
