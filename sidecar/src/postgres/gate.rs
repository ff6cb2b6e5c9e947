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
mod quick;
mod read;
mod record;
mod resolve;
mod scope;
mod simple;

use std::{sync::Arc, time::Instant};

use audit::StatementKind;
use policy::{
    Access, Action, Allow, Caller, ConnectionDocument, Permit, Protocol, Recording, Request, Scope, Verdict,
    decide,
};
use uuid::Uuid;
use wire::{
    DecodeError, Frame,
    postgres::{TransactionStatus, frontend::Message, write::Severity},
};

use super::{
    CancelGate, EndReason,
    catalog::{Catalogs, SharedCatalog},
    decision::Decision,
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
    policy::{Current, SessionGuard},
    recorder::{Head, Recorder},
};
use quick::Permits;
use scope::SessionScope;

/// What the gate knows of the session from its beginning.
#[derive(Debug)]
pub(super) struct About {
    pub(super) session: Uuid,
    pub(super) connection: String,
    pub(super) database: String,
    /// The upstream's role.
    pub(super) role: String,
    pub(super) version: ServerVersion,
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
    caller: Caller,
    /// What every record of a statement begins with.
    head: Head,
    version: sql::builtins::Version,
    catalog: SharedCatalog,
    /// Instead of the shared one, while this session has changes that nobody else sees.
    private: Option<SharedCatalog>,
    scope: SessionScope,
    /// When the client was last heard: what is older than something is looked at by this.
    now: Instant,
    /// What the document that this session decides by says about recording.
    recording: Recording,
    /// Decisions about frames without a statement, by the same document.
    permits: Permits,
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
    pub(super) fn new(shared: &'a Shared, writer: UpstreamWriter, about: About) -> Result<Self, End> {
        let version = scope::version(about.version);
        let catalog = about.catalogs.of(&about.connection, &about.database, &about.role, version);
        Ok(Self {
            shared,
            writer,
            caller: about.guard.class(&about.connection),
            head: Head::new(about.session).map_err(|_| End::silent(EndReason::Internal))?,
            version,
            catalog,
            private: None,
            scope: SessionScope::default(),
            now: Instant::now(),
            recording: Recording::default(),
            permits: Permits::default(),
            rests_on: Vec::new(),
            counted: Counted::default(),
            open_exchange: false,
            about,
        })
    }

    /// The client was heard: a cancel that comes now is meant for what it sent.
    pub(super) fn heard(&mut self) {
        self.now = Instant::now();
        self.about.cancel.deciding();
    }

    /// Everything that the client sent is decided: writes what is gathered.
    pub(super) async fn rest(&mut self) -> Result<(), End> {
        self.flush().await?;
        self.about.cancel.decided();
        Ok(())
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
        let end = match self.quick(frame)? {
            None => None,
            Some(frame) => Box::pin(self.thorough(frame)).await?,
        };
        if self.writer.is_full() {
            self.flush().await?;
        }
        Ok(end)
    }

    /// One frame for which something must be found out, or waited for.
    async fn thorough(&mut self, frame: Frame) -> Result<Option<End>, End> {
        if self.shared.lock().queue.len() >= OUTSTANDING {
            self.flush().await?;
            self.shared.until(|state| state.queue.len() < OUTSTANDING / 2).await;
        }
        match self.dispatch(frame).await {
            Ok(end) => Ok(end),
            Err(Stop::End(end)) => Err(end),
            // What was to be told has been told where it was found out.
            Err(Stop::Skipped | Stop::Refused(_)) => Ok(None),
        }
    }

    async fn dispatch(&mut self, frame: Frame) -> Result<Option<End>, Stop> {
        let message = match Message::decode(&frame) {
            Ok(message) => message,
            Err(DecodeError::Encoding) => return self.not_utf8(&frame),
            Err(broken) => return Err(End::violation(broken).into()),
        };
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

    /// A text in another encoding than the session's: an ordinary error, as in the server.
    fn not_utf8(&mut self, frame: &Frame) -> Result<Option<End>, Stop> {
        let (copies, skips) = {
            let state = self.shared.lock();
            (state.copy_in, state.skips)
        };
        let (kind, statement) = match frame.tag() {
            b'Q' if !copies => (Kind::Query, StatementKind::Query),
            b'P' if !copies => (Kind::Parse, StatementKind::Parse),
            _ => return Err(End::violation(DecodeError::Encoding).into()),
        };
        if !skips {
            let refusal = Refusal::new("22021", "invalid byte sequence for encoding \"UTF8\"");
            self.refuse_recorded(kind, statement, "a text that is not UTF-8", &refusal)?;
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
        self.now = Instant::now();
        self.policy_changed()?;
        let current = self.about.guard.held(self.now).ok_or_else(Refusal::no_policy)?;
        Ok(Arc::clone(current))
    }

    /// If another document came into force: the session goes on by it, and only if its present state is still
    /// allowed.
    pub(super) fn policy_changed(&mut self) -> Result<(), End> {
        if !self.about.guard.is_behind() {
            return Ok(());
        }
        let Some(next) = self.about.guard.next() else { return Ok(()) };
        let gone = || {
            End::telling(
                EndReason::PolicyChanged,
                "57P01",
                "terminating connection: the Connection is no longer there",
            )
        };
        let connection = next.1.document.connection(&self.about.connection).ok_or_else(gone)?;
        let request = Request {
            generation: next.1.generation,
            scope: Scope::default(),
            caller: self.caller,
            action: Action::Statement(&self.rests_on),
        };
        if let (false, Verdict::Deny(denial)) = (self.rests_on.is_empty(), decide(connection, &request)) {
            let message =
                format!("terminating connection: the policy no longer allows its state: {}", denial.detail());
            return Err(End::telling(EndReason::PolicyChanged, "57P01", message));
        }
        self.recording = connection.recording();
        self.permits = Permits::default();
        self.about.guard.move_to(next);
        Ok(())
    }

    /// This session's Connection as a document has it.
    fn connection<'d>(&self, current: &'d Current) -> Result<&'d ConnectionDocument, Refusal> {
        let connection = current.document.connection(&self.about.connection);
        connection.ok_or_else(|| Refusal::new("57P03", "the Connection is no longer there"))
    }

    /// Decides accesses; a refusal names what is missing.
    fn decide(
        &self,
        current: &Current,
        accesses: &[Access],
        scope: Scope,
        text: &str,
    ) -> Result<Allow, Refusal> {
        let action = Action::Statement(accesses);
        let request = Request { generation: current.generation, scope, caller: self.caller, action };
        match decide(self.connection(current)?, &request) {
            Verdict::Allow(allow) => Ok(allow),
            Verdict::Deny(denial) => Err(Refusal::denied(&denial, &self.about.connection, text)),
        }
    }

    /// A permit for a frame without a statement of its own.
    fn protocol(&mut self, protocol: Protocol) -> Result<Permit, Stop> {
        let current = self.current()?;
        let (generation, scope, caller) = (current.generation, Scope::default(), self.caller);
        if let Some(permit) = self.permits.permit(protocol, generation, caller) {
            return Ok(permit);
        }
        let request = Request { generation, scope, caller, action: Action::Protocol(protocol) };
        match decide(self.connection(&current)?, &request) {
            Verdict::Allow(allow) => {
                let permit = allow.permit(generation, scope, caller);
                self.permits.keep(protocol, allow);
                permit.ok_or_else(|| Refusal::no_policy().into())
            }
            Verdict::Deny(denial) => Err(Refusal::denied(&denial, &self.about.connection, "").into()),
        }
    }

    /// A permit for one use of a decision, if it still holds.
    fn permit(&self, decision: &Decision) -> Option<Permit> {
        if self.about.guard.is_behind() {
            return None;
        }
        let current = self.about.guard.held(self.now)?;
        decision.permit(current.generation, self.caller)
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
        text: &str,
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
