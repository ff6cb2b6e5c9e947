//! Frames for which everything is known: decided, recorded and forwarded at once, without waiting, allocating or
//! asking anybody. Whatever is not so plain is left to the thorough way, which decides by the same means.

use std::sync::Arc;

use audit::StatementKind;
use policy::{Allow, Caller, Durability, Generation, Permit, Protocol, Scope};
use wire::{
    DecodeError, Frame,
    postgres::{
        Target,
        frontend::{Bind, Execute, Message, Parse, Query},
    },
};

use super::Gate;
use crate::{
    cleared::Cleared,
    postgres::{
        decision::{Asked, Decision},
        known::{self, Found as Remembered},
        own::RESERVED,
        relay::{
            End, State,
            queue::{Expected, Kind, OUTSTANDING, Whose},
        },
        statements::{Change, Found, NAMES, NamedStatement, Opening, Portal},
    },
};

/// Parameters whose declared types are looked at here.
const TYPES: usize = 32;

/// Decisions about frames without a statement, by kind. They are about one document.
#[derive(Debug, Default)]
pub(super) struct Permits([Option<Allow>; 5]);

const fn place(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Boundary => 0,
        Protocol::Describe => 1,
        Protocol::Close => 2,
        Protocol::CopyData => 3,
        Protocol::Terminate => 4,
    }
}

impl Permits {
    /// A permit for one such frame, if it was decided before and that holds.
    pub(super) fn permit(
        &self,
        protocol: Protocol,
        generation: Generation,
        caller: Caller,
    ) -> Option<Permit> {
        self.0.get(place(protocol))?.as_ref()?.permit(generation, Scope::default(), caller)
    }

    /// Keeps a decision.
    pub(super) fn keep(&mut self, protocol: Protocol, allow: Allow) {
        if let Some(kept) = self.0.get_mut(place(protocol)) {
            *kept = Some(allow);
        }
    }
}

/// What becomes of a frame that may go.
struct Go {
    permit: Permit,
    /// The answer that it gets; none for Flush.
    expected: Option<Expected>,
    change: Option<Change>,
}

impl Go {
    const fn answered(permit: Permit, kind: Kind) -> Self {
        Self { permit, expected: Some(Expected::new(kind, Whose::Client)), change: None }
    }

    fn changing(permit: Permit, kind: Kind, change: Change) -> Self {
        let expected = Expected::new(kind, Whose::Client).changing();
        Self { permit, expected: Some(expected), change: Some(change) }
    }
}

impl Gate<'_> {
    /// Forwards a frame at once if everything that it takes is known. If not, nothing was done, and the frame
    /// comes back.
    pub(super) fn quick(&mut self, frame: Frame) -> Result<Option<Frame>, End> {
        let message = match Message::decode(&frame) {
            Ok(message) => message,
            Err(DecodeError::Encoding) => return Ok(Some(frame)),
            Err(broken) => return Err(End::violation(broken)),
        };
        let shared = self.shared;
        let mut state = shared.lock();
        let plain = !state.copy_in && !state.skips && !state.failed && !state.catalog_is_wrong;
        if !plain || state.queue.len() >= OUTSTANDING || self.about.guard.is_behind() {
            return Ok(Some(frame));
        }
        match self.known(&mut state, &message) {
            Some(Go { permit, expected, change }) => {
                self.go(&mut state, &Cleared::new(permit, frame), expected, change);
                Ok(None)
            }
            None => Ok(Some(frame)),
        }
    }

    /// Sends a frame that was decided on, and expects its answer.
    pub(super) fn go(
        &mut self,
        state: &mut State,
        cleared: &Cleared<Frame>,
        expected: Option<Expected>,
        change: Option<Change>,
    ) {
        if let Some(change) = change {
            state.names.begin(change);
        }
        if let Some(expected) = expected {
            let ends = matches!(expected.kind, Kind::Query | Kind::FunctionCall | Kind::Sync);
            if ends {
                state.names.next_exchange();
                self.end_exchange(state);
            }
            self.open_exchange = !ends;
            state.queue.push(expected);
        }
        self.writer.client(cleared);
    }

    /// What becomes of a frame, if everything is known that it takes.
    fn known(&mut self, state: &mut State, message: &Message<'_>) -> Option<Go> {
        match message {
            Message::Query(query) => self.known_query(query),
            Message::Parse(parse) => self.known_parse(state, parse),
            Message::Bind(bind) => self.known_bind(state, bind),
            Message::Execute(execute) => self.known_execute(state, execute),
            Message::Describe(target) => self.known_describe(state, target),
            Message::Sync => {
                let permit = self.known_protocol(Protocol::Boundary)?;
                Some(Go::answered(permit, Kind::Sync))
            }
            Message::Flush => {
                let permit = self.known_protocol(Protocol::Boundary)?;
                Some(Go { permit, expected: None, change: None })
            }
            Message::Close(_)
            | Message::CopyData(_)
            | Message::CopyDone
            | Message::CopyFail(_)
            | Message::FunctionCall(_)
            | Message::Terminate
            | Message::Password(_) => None,
        }
    }

    /// Who asks, in which state, if that is known and young enough to count.
    fn known_asked(&self) -> Option<Asked> {
        let fresh = !self.scope.is_stale(self.now) && self.catalog.is_fresh(self.now);
        if self.private.is_some() || !fresh {
            return None;
        }
        let generation = self.about.guard.held(self.now)?.generation;
        Some(Asked { generation, scope: self.scope.number(&self.catalog)?, caller: self.caller })
    }

    fn known_protocol(&self, protocol: Protocol) -> Option<Permit> {
        let generation = self.about.guard.held(self.now)?.generation;
        self.permits.permit(protocol, generation, self.caller)
    }

    /// Records that a frame may go, if nothing has to be waited for then.
    fn known_record(&mut self, kind: StatementKind, text: &str, decision: &Decision) -> Option<()> {
        if self.recording.durability != Durability::Process {
            return None;
        }
        self.record_allow(kind, text, decision).ok().filter(Option::is_none).map(drop)
    }

    fn known_query(&mut self, query: &Query<'_>) -> Option<Go> {
        let asked = self.known_asked()?;
        let Remembered::Decided(decision) = known::find(query.text, &asked, &[]) else { return None };
        let permit = decision.permit(asked.generation, asked.caller).filter(|_| decision.is_plain())?;
        self.known_record(StatementKind::Query, query.text, &decision)?;
        Some(Go::answered(permit, Kind::Query))
    }

    fn known_parse(&mut self, state: &State, parse: &Parse<'_>) -> Option<Go> {
        let asked = self.known_asked()?;
        if parse.name.starts_with(RESERVED) || state.names.len() >= NAMES {
            return None;
        }
        let mut types = [0_u32; TYPES];
        let types = types.get_mut(..parse.types.len())?;
        types.iter_mut().zip(parse.types.iter()).for_each(|(place, oid)| *place = oid);
        let Remembered::Decided(decision) = known::find(parse.text, &asked, types) else { return None };
        let permit = decision.permit(asked.generation, asked.caller).filter(|_| decision.is_plain())?;
        self.known_record(StatementKind::Parse, parse.text, &decision)?;
        let again = match state.names.statement(parse.name) {
            Found::Known(named) => named.is(parse.text, &decision).then(|| Arc::clone(named)),
            Found::Absent | Found::Wait => None,
        };
        let named = again.unwrap_or_else(|| Arc::new(NamedStatement::new(parse.text, types, decision)));
        Some(Go::changing(permit, Kind::Parse, Change::Statement(parse.name.to_owned(), named)))
    }

    fn known_bind(&self, state: &State, bind: &Bind<'_>) -> Option<Go> {
        let asked = self.known_asked()?;
        if bind.portal.starts_with(RESERVED) || state.queue.has_effects() {
            return None;
        }
        let Found::Known(named) = state.names.statement(bind.statement) else { return None };
        let decision = named.decision.as_ref().filter(|decision| decision.is_plain())?;
        let permit = decision.permit(asked.generation, asked.caller).filter(|_| decision.holds(&asked))?;
        let opening = Opening::Bound(Arc::clone(decision));
        let portal = Portal { text: Arc::clone(&named.text), opening };
        Some(Go::changing(permit, Kind::Bind, Change::Portal(bind.portal.to_owned(), portal)))
    }

    fn known_execute(&mut self, state: &State, execute: &Execute<'_>) -> Option<Go> {
        if state.queue.has_effects() {
            return None;
        }
        let Found::Known(portal) = state.names.portal(execute.portal) else { return None };
        let Opening::Bound(decision) = &portal.opening else { return None };
        let generation = self.about.guard.held(self.now)?.generation;
        let permit = decision.permit(generation, self.caller).filter(|_| decision.is_plain())?;
        self.known_record(StatementKind::Execute, &portal.text, decision)?;
        Some(Go::answered(permit, Kind::Execute))
    }

    fn known_describe(&self, state: &State, target: &Target<'_>) -> Option<Go> {
        if state.queue.has_effects() {
            return None;
        }
        let known = match target {
            Target::Statement(name) => matches!(state.names.statement(name), Found::Known(_)),
            Target::Portal(name) => matches!(state.names.portal(name), Found::Known(_)),
        };
        let permit = self.known_protocol(Protocol::Describe).filter(|_| known)?;
        Some(Go::answered(permit, Kind::Describe))
    }
}
