//! The part of the session's state that names are resolved in, as the server says it.

use std::time::{Duration, Instant};

use policy::Scope;
use sql::builtins::Version;

use crate::postgres::{
    catalog::{Locked, SharedCatalog},
    login::ServerVersion,
    relay::reads_as_we_do,
};

/// Asked again after this time of use: other sessions make schemas, too.
const FRESH: Duration = Duration::from_secs(5);

/// The effective search path as JSON, the temporary schema, the role, the isolation level, and the settings that say
/// how texts are read. Every name in it is qualified, so that no search path can change its meaning.
pub(super) const QUESTION: &str = "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text, \
     (SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_namespace n \
      WHERE n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()), \
     CURRENT_USER::pg_catalog.text, pg_catalog.current_setting('transaction_isolation'), \
     pg_catalog.current_setting('client_encoding'), pg_catalog.current_setting('standard_conforming_strings')";

/// What a name is resolved in.
#[derive(Debug, Default)]
pub(super) struct SessionScope {
    pub(super) path: Vec<String>,
    pub(super) temp: Option<String>,
    pub(super) role: String,
    /// The transaction sees the catalog as it was when it began.
    pub(super) snapshot: bool,
    /// Its number, and the epoch of the catalog that it was given for.
    numbered: Option<(Scope, u64)>,
    read_at: Option<Instant>,
    /// Something may have changed it in this transaction, so that its end may change it back.
    pub(super) touched: bool,
    /// Code ran that may have changed anything: not even a text may go before the server was asked.
    pub(super) suspect: bool,
}

/// What the server's answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Learnt {
    /// The scope.
    Scope,
    /// Texts are read in another way now, by this setting.
    Misread(&'static str),
}

impl SessionScope {
    /// Whether the server must be asked before names are resolved.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.read_at.is_none_or(|at| now.saturating_duration_since(at) > FRESH)
    }

    /// Something may have changed it.
    pub(super) const fn forget(&mut self) {
        self.read_at = None;
    }

    pub(super) fn temp_schema(&self) -> Option<&str> {
        self.temp.as_deref()
    }

    /// Takes the server's answer to [`QUESTION`]; none when it is not one.
    pub(super) fn learn(&mut self, row: &[Option<String>]) -> Option<Learnt> {
        let [Some(path), temp, Some(role), Some(isolation), Some(encoding), Some(strings)] = row else {
            return None;
        };
        for (setting, value) in [("client_encoding", encoding), ("standard_conforming_strings", strings)] {
            if !reads_as_we_do(setting, value) {
                return Some(Learnt::Misread(setting));
            }
        }
        let path: Vec<String> = serde_json::from_str(path).ok()?;
        if path != self.path || *temp != self.temp || *role != self.role {
            self.numbered = None;
        }
        self.snapshot = matches!(isolation.as_str(), "repeatable read" | "serializable");
        self.path = path;
        self.temp.clone_from(temp);
        self.role.clone_from(role);
        self.read_at = Some(Instant::now());
        self.suspect = false;
        Some(Learnt::Scope)
    }

    /// Its number with what the catalog knows now, if it has been asked for before.
    pub(super) fn number(&self, catalog: &SharedCatalog) -> Option<Scope> {
        let (scope, epoch) = self.numbered?;
        (epoch == catalog.epoch()).then_some(scope)
    }

    /// The same, given now.
    pub(super) fn number_anew(&mut self, catalog: &SharedCatalog) -> Scope {
        self.number_in(&mut catalog.lock())
    }

    /// The same for a catalog in use.
    pub(super) fn number_in(&mut self, catalog: &mut Locked<'_>) -> Scope {
        let numbered = catalog.scope(&self.path, self.temp.as_deref(), &self.role);
        self.numbered = Some(numbered);
        numbered.0
    }

    /// Another catalog is used from now on.
    pub(super) const fn forget_number(&mut self) {
        self.numbered = None;
    }
}

/// The server's version as `sql` names it. Login refuses all others.
pub(super) const fn version(version: ServerVersion) -> Version {
    match version.major {
        13 => Version::V13,
        14 => Version::V14,
        15 => Version::V15,
        16 => Version::V16,
        17 => Version::V17,
        _ => Version::V18,
    }
}
