//! The extended protocol: Parse, Bind, Describe, Execute, Close, Sync.

use std::sync::Arc;

use audit::StatementKind;
use policy::Protocol;
use wire::{
    Frame,
    postgres::{
        Target,
        frontend::{self, Message},
    },
};

use super::{Gate, Stop};
use crate::{
    cleared::Cleared,
    postgres::{
        decision::Decision,
        own::RESERVED,
        refusal::Refusal,
        relay::queue::{Expected, Kind, Whose},
        statements::{Change, Found, NAMES, NamedStatement, Opening, Portal},
    },
};

/// A name of the client's, if it may be used.
pub(super) fn unreserved(name: &str) -> Result<String, Refusal> {
    if name.starts_with(RESERVED) {
        return Err(Refusal::new(
            "42939",
            format!("the name `{name}` is reserved; choose one without `{RESERVED}`"),
        ));
    }
    Ok(name.to_owned())
}

impl Gate<'_> {
    /// Parse: refused here already if no values could change that.
    pub(super) async fn parse(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Parse(frontend::Parse { name, text, types })) = Message::decode(&frame) else {
            return Err(Stop::Skipped);
        };
        let types: Vec<u32> = types.iter().collect();
        let decision = match self.decide_parse(name, text, &types).await {
            Ok(decision) => decision,
            Err(Stop::Refused(refusal)) => {
                return self.refuse_recorded(Kind::Parse, StatementKind::Parse, text, &refusal);
            }
            Err(stop) => return Err(stop),
        };
        if let Err(refusal) = self.record_durably(StatementKind::Parse, text, &decision).await {
            return self.refuse(Kind::Parse, &refusal);
        }
        let Some(permit) = self.permit(&decision) else {
            return self.refuse(Kind::Parse, &Refusal::no_policy());
        };
        let named = Arc::new(NamedStatement::new(text, &types, decision));
        let change = Change::Statement(name.to_owned(), named);
        self.forward(&Cleared::new(permit, frame), changing(Kind::Parse), Some(change));
        Ok(())
    }

    async fn decide_parse(&mut self, name: &str, text: &str, types: &[u32]) -> Result<Arc<Decision>, Stop> {
        unreserved(name)?;
        if self.shared.lock().names.len() >= NAMES {
            return Err(
                Refusal::new("54000", "the session has too many prepared statements and portals").into()
            );
        }
        self.one_statement(text).await?;
        self.decide_text(text, types).await
    }

    /// Bind: names are resolved anew, and the decision counts for the portal.
    pub(super) async fn bind(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Bind(frontend::Bind { portal, statement, .. })) = Message::decode(&frame) else {
            return Err(Stop::Skipped);
        };
        let (named, decision) = match self.decide_bind(portal, statement).await {
            Ok(decided) => decided,
            Err(Stop::Refused(refusal)) => {
                let text = format!("Bind of statement `{statement}`");
                return self.refuse_recorded(Kind::Bind, StatementKind::Bind, &text, &refusal);
            }
            Err(stop) => return Err(stop),
        };
        let Some(permit) = self.permit(&decision) else {
            return self.refuse(Kind::Bind, &Refusal::no_policy());
        };
        self.shared.lock().names.decided(statement, &named, &decision);
        // Planning runs code, too.
        self.note_code(decision.facts());
        let opened = Portal { text: Arc::clone(&named.text), opening: Opening::Bound(decision) };
        let change = Change::Portal(portal.to_owned(), opened);
        self.forward(&Cleared::new(permit, frame), changing(Kind::Bind), Some(change));
        Ok(())
    }

    async fn decide_bind(
        &mut self,
        portal: &str,
        statement: &str,
    ) -> Result<(Arc<NamedStatement>, Arc<Decision>), Stop> {
        unreserved(portal)?;
        let named = self.named_statement(statement).await?;
        let decision = self.decide_named(&named).await?;
        self.may_rest_on(decision.facts())?;
        Ok((named, decision))
    }

    /// The statement of that name, once it is certain.
    async fn named_statement(&mut self, name: &str) -> Result<Arc<NamedStatement>, Stop> {
        let waits = {
            let state = self.shared.lock();
            state.queue.has_effects() || matches!(state.names.statement(name), Found::Wait)
        };
        if waits {
            self.settle_names().await?;
        }
        match self.shared.lock().names.statement(name) {
            Found::Known(named) => Ok(Arc::clone(named)),
            Found::Absent | Found::Wait => {
                Err(Refusal::new("26000", format!("prepared statement \"{name}\" does not exist")).into())
            }
        }
    }

    /// The portal of that name, once it is certain.
    async fn named_portal(&mut self, name: &str) -> Result<Portal, Stop> {
        let waits = {
            let state = self.shared.lock();
            state.queue.has_effects() || matches!(state.names.portal(name), Found::Wait)
        };
        if waits {
            self.settle_names().await?;
        }
        match self.shared.lock().names.portal(name) {
            Found::Known(portal) => Ok(portal.clone()),
            Found::Absent | Found::Wait => {
                Err(Refusal::new("34000", format!("portal \"{name}\" does not exist")).into())
            }
        }
    }

    /// Execute: decided again at each use; the facts are those of the portal's opening.
    pub(super) async fn execute(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Execute(frontend::Execute { portal: name, .. })) = Message::decode(&frame) else {
            return Err(Stop::Skipped);
        };
        let (kind, recorded) = (Kind::Execute, StatementKind::Execute);
        let (portal, decision) = match self.decide_execute(name).await {
            Ok(decided) => decided,
            Err(Stop::Refused(refusal)) => {
                let text: Arc<str> = match self.shared.lock().names.portal(name) {
                    Found::Known(portal) => Arc::clone(&portal.text),
                    Found::Absent | Found::Wait => format!("Execute of portal `{name}`").into(),
                };
                return self.refuse_recorded(kind, recorded, &text, &refusal);
            }
            Err(stop) => return Err(stop),
        };
        if let Err(refusal) = self.record_durably(recorded, &portal.text, &decision).await {
            return self.refuse(kind, &refusal);
        }
        let Some(permit) = self.permit(&decision) else {
            return self.refuse(kind, &Refusal::no_policy());
        };
        let expected = self.expected(kind, &portal.text, &decision);
        self.forward(&Cleared::new(permit, frame), expected, None);
        Ok(())
    }

    async fn decide_execute(&mut self, name: &str) -> Result<(Portal, Arc<Decision>), Stop> {
        let portal = self.named_portal(name).await?;
        let current = self.current()?;
        let opened = match &portal.opening {
            Opening::Bound(decision) => Some(decision),
            Opening::Declared(_) => None,
        };
        if let Some(decision) = opened
            && self.permit(decision).is_some()
        {
            let decision = Arc::clone(decision);
            return Ok((portal, decision));
        }
        let scope = opened.map(|decision| decision.scope()).unwrap_or_default();
        let accesses: Vec<_> =
            portal.facts().iter().flat_map(|facts| facts.accesses.iter().cloned()).collect();
        let allow = self.decide(&current, &accesses, scope, &portal.text)?;
        let syntax = opened.map(|decision| Arc::clone(decision.syntax())).unwrap_or_default();
        let decision = Decision::new((allow, scope), (syntax, &[]), portal.facts().to_vec());
        Ok((portal, Arc::new(decision)))
    }

    /// Describe: only of what was decided on.
    pub(super) async fn describe(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Describe(target)) = Message::decode(&frame) else { return Err(Stop::Skipped) };
        let known = match target {
            Target::Statement(name) => self.named_statement(name).await.map(drop),
            Target::Portal(name) => self.named_portal(name).await.map(drop),
        };
        let permit = known.and_then(|()| self.protocol(Protocol::Describe));
        match permit {
            Ok(permit) => {
                let expected = Expected::new(Kind::Describe, Whose::Client);
                self.forward(&Cleared::new(permit, frame), expected, None);
                Ok(())
            }
            Err(Stop::Refused(refusal)) => self.refuse(Kind::Describe, &refusal),
            Err(stop) => Err(stop),
        }
    }

    pub(super) fn close(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Close(target)) = Message::decode(&frame) else { return Err(Stop::Skipped) };
        let change = match target {
            Target::Statement(name) => unreserved(name).map(Change::NoStatement),
            Target::Portal(name) => unreserved(name).map(Change::NoPortal),
        };
        match change.map_err(Stop::from).and_then(|change| Ok((change, self.protocol(Protocol::Close)?))) {
            Ok((change, permit)) => {
                self.forward(&Cleared::new(permit, frame), changing(Kind::Close), Some(change));
                Ok(())
            }
            Err(Stop::Refused(refusal)) => self.refuse(Kind::Close, &refusal),
            Err(stop) => Err(stop),
        }
    }

    /// Sync: the end of an exchange. The server always answers it, so it always goes; without a permit our own
    /// takes its place.
    pub(super) fn sync(&mut self, frame: Frame) -> Result<(), Stop> {
        match self.protocol(Protocol::Boundary) {
            Ok(permit) => self.writer.client(&Cleared::new(permit, frame)),
            Err(Stop::Refused(_)) => self.writer.own(&crate::postgres::own::Own::sync()),
            Err(stop) => return Err(stop),
        }
        self.open_exchange = false;
        let shared = self.shared;
        let mut state = shared.lock();
        self.end_exchange(&state);
        state.skips = false;
        state.queue.push(Expected::new(Kind::Sync, Whose::Client));
        state.names.next_exchange();
        Ok(())
    }

    /// Sends a frame that was decided on, and expects its answer.
    pub(super) fn forward(&mut self, cleared: &Cleared<Frame>, expected: Expected, change: Option<Change>) {
        let shared = self.shared;
        self.go(&mut shared.lock(), cleared, Some(expected), change);
    }
}

const fn changing(kind: Kind) -> Expected {
    Expected::new(kind, Whose::Client).changing()
}
