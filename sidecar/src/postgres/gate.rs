//! The gate: every frame of a client is decided here before it goes upstream.
//!
//! ```text
//!  frame ── what it says ── facts in the session's scope ── decide ── record ──> Cleared, upstream
//!                                                             └── refused ── record ──> a message that fails
//! ```
//! A refused frame is replaced by one of ours that fails, so transaction state, savepoints, implicit
//! transactions and skipping to Sync are the server's own.

mod copy;
mod effects;
mod extended;
mod read;
mod record;
mod resolve;
mod scope;
mod simple;

use std::{collections::HashMap, sync::Arc};

use audit::StatementKind;
use policy::{Access, Action, Allow, Permit, Protocol, Request, Scope, Verdict, decide};
use uuid::Uuid;
use wire::{
    Frame,
    postgres::{TransactionStatus, frontend::Message, write::Severity},
};

use super::{
    CancelGate, EndReason,
    catalog::{Catalogs, SharedCatalog},
    login::{Another, ServerVersion},
    own::Own,
    refusal::Refusal,
    relay::{
        End, Shared, UpstreamWriter,
        queue::{Expected, Kind, OUTSTANDING, Whose},
    },
};
use crate::{
    cleared::Cleared,
    policy::{Current, Documents, SessionGuard},
    recorder::Recorder,
};
use resolve::Kept;
use scope::SessionScope;

/// Statements whose decisions one session remembers.
const KEPT: usize = 512;

/// What the gate knows of the session from its beginning.
#[derive(Debug)]
pub(super) struct About {
    pub(super) session: Uuid,
    pub(super) connection: String,
    pub(super) database: String,
    /// The upstream's role.
    pub(super) role: String,
    pub(super) version: ServerVersion,
    pub(super) documents: Documents,
    pub(super) guard: SessionGuard,
    pub(super) recorder: Recorder,
    pub(super) cancel: CancelGate,
    pub(super) another: Another,
    pub(super) catalogs: Catalogs,
}

/// How many frames were decided, and how many of them refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) statements: u64,
    pub(super) refused: u64,
}

/// The gate of one session.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    shared: &'a Shared,
    writer: UpstreamWriter,
    about: About,
    version: sql::builtins::Version,
    catalog: SharedCatalog,
    /// Instead of the shared one, while this session has changes that nobody else sees.
    private: Option<SharedCatalog>,
    scope: SessionScope,
    kept: HashMap<usize, Kept>,
    /// What the session's present state rests on: settings, LISTEN, cursors, temporary objects.
    rests_on: Vec<Access>,
    counted: Counted,
    /// Messages of the extended protocol went upstream since the last Sync.
    open_exchange: bool,
}

/// Why a frame does not go upstream.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client is told.
    Refused(Box<Refusal>),
    /// The server skips it, or the client was told already.
    Skipped,
    /// The session ends.
    End(End),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl<'a> Gate<'a> {
    pub(super) fn new(shared: &'a Shared, writer: UpstreamWriter, about: About) -> Self {
        let version = scope::version(about.version);
        let catalog = about.catalogs.of(&about.connection, &about.database, &about.role, version);
        Self {
            shared,
            writer,
            version,
            catalog,
            private: None,
            scope: SessionScope::default(),
            kept: HashMap::new(),
            rests_on: Vec::new(),
            counted: Counted::default(),
            open_exchange: false,
            about,
        }
    }

    /// The way to the upstream, for its last message.
    pub(super) const fn writer(&mut self) -> &mut UpstreamWriter {
        &mut self.writer
    }

    pub(super) const fn counted(&self) -> Counted {
        self.counted
    }

    /// Whether nothing is outstanding and no transaction is open.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        state.queue.is_empty() && state.status == TransactionStatus::Idle
    }

    /// Returns when something was answered.
    pub(super) async fn progress(&self) {
        self.shared.progress.notified().await;
    }

    /// Writes what is gathered for the upstream.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        self.about.cancel.outstanding(self.shared.lock().queue.client_waits());
        self.writer.flush().await.map_err(|_| End::silent(EndReason::UpstreamGone))
    }

    /// One frame of the client. An end is returned when the client says goodbye.
    pub(super) async fn frame(&mut self, frame: Frame) -> Result<Option<End>, End> {
        if self.shared.lock().queue.len() >= OUTSTANDING {
            self.flush().await?;
            self.shared.until(|state| state.queue.len() < OUTSTANDING / 2).await;
        }
        let done = Box::pin(self.dispatch(frame)).await;
        if self.writer.is_full() {
            self.flush().await?;
        }
        match done {
            Ok(end) => Ok(end),
            Err(Stop::End(end)) => Err(end),
            // What was to be told has been told where it was found out.
            Err(Stop::Skipped | Stop::Refused(_)) => Ok(None),
        }
    }

    async fn dispatch(&mut self, frame: Frame) -> Result<Option<End>, Stop> {
        let message = Message::decode(&frame).map_err(End::violation)?;
        let copies = self.shared.lock().copy_in;
        if copies && matches!(message, Message::Sync | Message::Flush) {
            // The server would ignore them.
            return Ok(None);
        }
        let skips = self.shared.lock().skips;
        match message {
            Message::Terminate => return Ok(Some(self.terminate(frame)?)),
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => self.copy(frame).await?,
            Message::Password(_) => {
                return Err(End::violation("a password in the middle of a session").into());
            }
            _ if copies => return Err(End::violation("a statement in the middle of a COPY").into()),
            Message::Sync => self.sync(frame)?,
            // The server would skip them as well.
            _ if skips => {}
            Message::Query(_) => self.query(frame).await?,
            Message::FunctionCall(_) => self.function_call(frame).await?,
            Message::Parse(_) => self.parse(frame).await?,
            Message::Bind(_) => self.bind(frame).await?,
            Message::Execute(_) => self.execute(frame).await?,
            Message::Describe(_) => self.describe(frame).await?,
            Message::Close(_) => self.close(frame)?,
            Message::Flush => {
                let permit = self.protocol(Protocol::Boundary)?;
                self.writer.client(&Cleared::new(permit, frame));
            }
        }
        Ok(None)
    }

    fn terminate(&mut self, frame: Frame) -> Result<End, Stop> {
        // Whatever the policy says now, a client may leave; without a permit our own Terminate says it.
        if let Ok(permit) = self.protocol(Protocol::Terminate) {
            self.writer.client(&Cleared::new(permit, frame));
        }
        Ok(End::silent(EndReason::Terminated))
    }

    /// The document in force. What the session rests on is decided anew when it is another one.
    fn current(&mut self) -> Result<Arc<Current>, Stop> {
        let current = self.about.documents.current().ok_or_else(Refusal::no_policy)?;
        self.about.guard.using(current.generation);
        Ok(current)
    }

    /// Another document came into force: the session goes on only if its present state is still allowed.
    pub(super) fn policy_changed(&mut self) -> Result<(), End> {
        let Some(current) = self.about.documents.current() else { return Ok(()) };
        let gone = || {
            End::telling(
                EndReason::PolicyChanged,
                "57P01",
                "terminating connection: the Connection is no longer there",
            )
        };
        let connection = current.document.connection(&self.about.connection).ok_or_else(gone)?;
        let request = Request {
            generation: current.generation,
            scope: Scope::default(),
            caller: self.about.guard.caller(),
            action: Action::Statement(&self.rests_on),
        };
        if let (false, Verdict::Deny(denial)) = (self.rests_on.is_empty(), decide(connection, &request)) {
            let message =
                format!("terminating connection: the policy no longer allows its state: {}", denial.detail());
            return Err(End::telling(EndReason::PolicyChanged, "57P01", message));
        }
        self.about.guard.using(current.generation);
        Ok(())
    }

    /// Decides accesses; a refusal names what is missing.
    fn decide(
        &self,
        current: &Current,
        accesses: &[Access],
        scope: Scope,
        text: &str,
    ) -> Result<Allow, Refusal> {
        let connection = current.document.connection(&self.about.connection);
        let connection =
            connection.ok_or_else(|| Refusal::new("57P03", "the Connection is no longer there"))?;
        let request = Request {
            generation: current.generation,
            scope,
            caller: self.about.guard.caller(),
            action: Action::Statement(accesses),
        };
        match decide(connection, &request) {
            Verdict::Allow(allow) => Ok(allow),
            Verdict::Deny(denial) => Err(Refusal::denied(&denial, &self.about.connection, text)),
        }
    }

    /// A permit for a frame without a statement of its own.
    fn protocol(&mut self, protocol: Protocol) -> Result<Permit, Stop> {
        let current = self.current()?;
        let missing = || Refusal::new("57P03", "the Connection is no longer there");
        let connection = current.document.connection(&self.about.connection).ok_or_else(missing)?;
        let caller = self.about.guard.caller();
        let scope = Scope::default();
        let action = Action::Protocol(protocol);
        let request = Request { generation: current.generation, scope, caller, action };
        match decide(connection, &request) {
            Verdict::Allow(allow) => {
                allow.permit(current.generation, scope, caller).ok_or_else(|| Refusal::no_policy().into())
            }
            Verdict::Deny(denial) => Err(Refusal::denied(&denial, &self.about.connection, "").into()),
        }
    }

    /// A permit for one use of a decision, if it still holds.
    fn permit(&self, allow: &Allow, scope: Scope) -> Option<Permit> {
        let current = self.about.documents.current()?;
        allow.permit(current.generation, scope, self.about.guard.caller())
    }

    /// Sends a message of ours that fails, in place of a refused frame.
    fn refuse(&mut self, kind: Kind, refusal: &Refusal) -> Result<(), Stop> {
        self.counted.refused += 1;
        let broken = |_| Stop::End(End::silent(EndReason::Internal));
        let error = refusal.encode(Severity::Error).freeze();
        let (own, kind) = match kind {
            Kind::Query | Kind::FunctionCall => (Own::failing_query().map_err(broken)?, Kind::Query),
            Kind::Parse | Kind::Bind | Kind::Describe | Kind::Execute | Kind::Close | Kind::Sync => {
                self.open_exchange = true;
                (Own::failing_execute().map_err(broken)?, Kind::Execute)
            }
        };
        let mut state = self.shared.lock();
        state.queue.push(Expected::new(kind, Whose::Refused(error)));
        if kind == Kind::Query {
            state.names.next_exchange();
        }
        drop(state);
        self.writer.own(&own);
        Ok(())
    }

    /// Refuses a frame, and records it.
    fn refuse_recorded(
        &mut self,
        kind: Kind,
        statement: StatementKind,
        text: &Arc<str>,
        refusal: &Refusal,
    ) -> Result<(), Stop> {
        let unrecorded = self.record_refusal(statement, text, refusal).err();
        self.refuse(kind, unrecorded.as_ref().unwrap_or(refusal))
    }

    /// The session is over.
    pub(super) fn leave(&mut self) {
        if let Some(temp) = self.scope.temp_schema() {
            // Another session may get this schema.
            self.catalog.lock().catalog.forget_schema(temp);
        }
    }
}
