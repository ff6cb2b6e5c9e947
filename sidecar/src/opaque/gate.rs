//! Whether an opaque session may begin, and whether it may go on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use policy::{
    Action, Allow, ConnectionDocument, Generation, Permit, Request, RuleRef, Scope, UpstreamProtocol,
    Verdict, decide,
};
use tokio::time::interval;

use crate::{
    cleared::Cleared,
    policy::{Current, Documents, SessionGuard},
};

/// A document goes stale without a sign: it is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// There is nothing to resolve.
const SCOPE: Scope = Scope(0);

/// Decides for one session, as often as the document in force changes.
#[derive(Debug)]
pub(crate) struct Gate {
    documents: Documents,
    guard: SessionGuard,
    /// `namespace/name`.
    connection: String,
    host: String,
    port: u16,
    allow: Mutex<Arc<Allow>>,
}

impl Gate {
    pub(super) fn open(
        documents: Documents,
        guard: SessionGuard,
        connection: &ConnectionDocument,
    ) -> Result<Self, String> {
        let current = documents.current().ok_or(NO_POLICY)?;
        let allow = decided(connection, current.generation, &guard)?;
        guard.using(current.generation);
        Ok(Self {
            connection: connection.name.clone(),
            host: connection.upstream.host.clone(),
            port: connection.upstream.port,
            allow: Mutex::new(Arc::new(allow)),
            documents,
            guard,
        })
    }

    /// The rules that allow it.
    pub(crate) fn rules(&self) -> Vec<String> {
        self.kept().rules().iter().map(RuleRef::to_string).collect()
    }

    /// The generation that it was last decided by.
    pub(crate) fn generation(&self) -> Generation {
        self.kept().generation()
    }

    /// A client's bytes, if they may go upstream now.
    pub(super) fn clear(&self, bytes: Bytes) -> Result<Cleared<Bytes>, String> {
        Ok(Cleared::passing(self.permit()?, bytes))
    }

    /// Returns once the session may not go on, with the reason.
    pub(super) async fn closed(&self) -> String {
        let mut changed = self.documents.changed();
        let mut look = interval(LOOK);
        loop {
            if let Err(reason) = self.permit() {
                return reason;
            }
            tokio::select! {
                // It lives as long as the documents, of which this gate holds a handle.
                _ = changed.changed() => {}
                _ = look.tick() => {}
            }
        }
    }

    /// By the document in force: the decision that is kept, or another one.
    fn permit(&self) -> Result<Permit, String> {
        let current = self.documents.current().ok_or(NO_POLICY)?;
        let caller = self.guard.caller();
        if let Some(permit) = self.kept().permit(current.generation, SCOPE, caller) {
            return Ok(permit);
        }
        let allow = decided(self.here(&current)?, current.generation, &self.guard)?;
        let permit = allow.permit(current.generation, SCOPE, caller).ok_or(NO_POLICY)?;
        *self.allow.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(allow);
        self.guard.using(current.generation);
        Ok(permit)
    }

    /// The Connection as it is now, if it still leads where this session goes.
    fn here<'a>(&self, current: &'a Current) -> Result<&'a ConnectionDocument, String> {
        let found = current.document.connection(&self.connection).ok_or("the Connection is gone")?;
        let same = found.protocol == UpstreamProtocol::Opaque
            && found.upstream.host == self.host
            && found.upstream.port == self.port;
        if same { Ok(found) } else { Err("the Connection leads elsewhere now".to_owned()) }
    }

    fn kept(&self) -> Arc<Allow> {
        Arc::clone(&self.allow.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const NO_POLICY: &str = "no policy is in force";

fn decided(
    connection: &ConnectionDocument,
    generation: Generation,
    guard: &SessionGuard,
) -> Result<Allow, String> {
    let request = Request { generation, scope: SCOPE, caller: guard.caller(), action: Action::Opaque };
    match decide(connection, &request) {
        Verdict::Allow(allow) => Ok(allow),
        Verdict::Deny(denial) => Err(denial.detail()),
    }
}
