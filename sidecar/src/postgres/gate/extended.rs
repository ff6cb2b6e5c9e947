//! The extended protocol: Parse, Bind, Describe, Execute, Close, Sync.

use std::sync::Arc;

use audit::StatementKind;
use policy::Protocol;
use sql::{Facts, Syntax, Tag};
use wire::{
    Frame,
    postgres::{
        Target,
        frontend::{self, Message},
    },
};

use super::{Gate, Stop, resolve::Decided};
use crate::{
    cleared::Cleared,
    postgres::{
        own::RESERVED,
        parser::{self, Parsed},
        refusal::Refusal,
        relay::queue::{Effects, Expected, Kind, Whose},
        statements::{Change, Found, NAMES, NamedStatement, Portal},
    },
};

/// A name of the client's, if it may be used.
fn unreserved(name: &str) -> Result<String, Refusal> {
    if name.starts_with(RESERVED) {
        return Err(Refusal::new(
            "42939",
            format!("the name `{name}` is reserved; choose one without `{RESERVED}`"),
        ));
    }
    Ok(name.to_owned())
}

/// A statement under a name, parsed again from its own syntax.
fn parsed(named: &NamedStatement) -> Parsed {
    let statements = named.statement.iter().cloned().collect();
    Parsed { text: Arc::clone(&named.text), syntax: Arc::new(Syntax { statements }) }
}

fn no_facts() -> Arc<Facts> {
    let (accesses, effects, unresolved) = (Vec::new(), Vec::new(), Vec::new());
    Arc::new(Facts { tag: Tag::Select, accesses, effects, unresolved, returns_rows: false })
}

impl Gate<'_> {
    /// Parse: refused here already if no values could change that.
    pub(super) async fn parse(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Parse(frontend::Parse { name, text, types })) = Message::decode(&frame) else {
            return Err(Stop::Skipped);
        };
        let types: Vec<u32> = types.iter().collect();
        let text: Arc<str> = text.into();
        let (parsed, decided) = match self.decide_parse(name, &text, &types).await {
            Ok(decided) => decided,
            Err(Stop::Refused(refusal)) => {
                return self.refuse_recorded(Kind::Parse, StatementKind::Parse, &text, &refusal);
            }
            Err(stop) => return Err(stop),
        };
        let recorded =
            self.record_allow(StatementKind::Parse, &parsed.text, &decided.allow, &decided.facts).await;
        if let Err(refusal) = recorded {
            return self.refuse(Kind::Parse, &refusal);
        }
        let Some(permit) = self.permit(&decided.allow, decided.scope) else {
            return self.refuse(Kind::Parse, &Refusal::no_policy());
        };
        let statement = parsed.syntax.statements.first().cloned();
        let named = NamedStatement { text: parsed.text, statement, types };
        let change = Change::Statement(name.to_owned(), named);
        self.forward(Cleared::new(permit, frame), Expected::new(Kind::Parse, Whose::Client), Some(change));
        Ok(())
    }

    async fn decide_parse(
        &mut self,
        name: &str,
        text: &Arc<str>,
        types: &[u32],
    ) -> Result<(Parsed, Decided), Stop> {
        unreserved(name)?;
        if self.shared.lock().names.len() >= NAMES {
            return Err(
                Refusal::new("54000", "the session has too many prepared statements and portals").into()
            );
        }
        let parsed = parser::parse(text).await?;
        if parsed.syntax.statements.len() > 1 {
            return Err(
                Refusal::new("42601", "cannot insert multiple commands into a prepared statement").into()
            );
        }
        let decided = self.decide_text(&parsed, types).await?;
        Ok((parsed, decided))
    }

    /// Bind: names are resolved anew, and the decision counts for the portal.
    pub(super) async fn bind(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Bind(frontend::Bind { portal, statement, .. })) = Message::decode(&frame) else {
            return Err(Stop::Skipped);
        };
        let (named, decided) = match self.decide_bind(portal, statement).await {
            Ok(decided) => decided,
            Err(Stop::Refused(refusal)) => {
                let text: Arc<str> = format!("Bind of statement `{statement}`").into();
                return self.refuse_recorded(Kind::Bind, StatementKind::Bind, &text, &refusal);
            }
            Err(stop) => return Err(stop),
        };
        let Some(permit) = self.permit(&decided.allow, decided.scope) else {
            return self.refuse(Kind::Bind, &Refusal::no_policy());
        };
        let facts = decided.facts.first().cloned().unwrap_or_else(no_facts);
        let opened = Portal { text: named.text, facts, allow: Some((decided.allow, decided.scope)) };
        let change = Change::Portal(portal.to_owned(), Box::new(opened));
        self.forward(Cleared::new(permit, frame), Expected::new(Kind::Bind, Whose::Client), Some(change));
        Ok(())
    }

    async fn decide_bind(
        &mut self,
        portal: &str,
        statement: &str,
    ) -> Result<(NamedStatement, Decided), Stop> {
        unreserved(portal)?;
        let named = self.named_statement(statement).await?;
        let decided = self.decide_text(&parsed(&named), &named.types).await?;
        if !self.may_rest_on(&decided.facts) {
            return Err(Refusal::new("54000", "the session has changed too many settings and cursors").into());
        }
        Ok((named, decided))
    }

    /// The statement of that name, once it is certain.
    async fn named_statement(&mut self, name: &str) -> Result<NamedStatement, Stop> {
        if self.shared.lock().queue.has_effects() {
            self.settle_names().await?;
        }
        let found = self.shared.lock().names.statement(name);
        let found = match found {
            Found::Wait => {
                self.settle_names().await?;
                self.shared.lock().names.statement(name)
            }
            Found::Known(_) | Found::Absent => found,
        };
        match found {
            Found::Known(named) => Ok(named),
            Found::Absent | Found::Wait => {
                Err(Refusal::new("26000", format!("prepared statement \"{name}\" does not exist")).into())
            }
        }
    }

    /// The portal of that name, once it is certain.
    async fn named_portal(&mut self, name: &str) -> Result<Portal, Stop> {
        if self.shared.lock().queue.has_effects() {
            self.settle_names().await?;
        }
        let found = self.shared.lock().names.portal(name);
        let found = match found {
            Found::Wait => {
                self.settle_names().await?;
                self.shared.lock().names.portal(name)
            }
            Found::Known(_) | Found::Absent => found,
        };
        match found {
            Found::Known(portal) => Ok(portal),
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
        let (portal, decided) = match self.decide_execute(name).await {
            Ok(decided) => decided,
            Err(Stop::Refused(refusal)) => {
                let portal = self.shared.lock().names.portal(name);
                let text: Arc<str> = match portal {
                    Found::Known(portal) => portal.text,
                    Found::Absent | Found::Wait => format!("Execute of portal `{name}`").into(),
                };
                return self.refuse_recorded(Kind::Execute, StatementKind::Execute, &text, &refusal);
            }
            Err(stop) => return Err(stop),
        };
        let recorded =
            self.record_allow(StatementKind::Execute, &portal.text, &decided.allow, &decided.facts).await;
        if let Err(refusal) = recorded {
            return self.refuse(Kind::Execute, &refusal);
        }
        let Some(permit) = self.permit(&decided.allow, decided.scope) else {
            return self.refuse(Kind::Execute, &Refusal::no_policy());
        };
        self.note_effects(&decided.facts);
        let mut expected = Expected::new(Kind::Execute, Whose::Client);
        if decided.facts.iter().any(|facts| !facts.effects.is_empty()) {
            expected.effects = Some(Effects { text: portal.text, facts: decided.facts });
        }
        self.forward(Cleared::new(permit, frame), expected, None);
        Ok(())
    }

    async fn decide_execute(&mut self, name: &str) -> Result<(Portal, Decided), Stop> {
        let portal = self.named_portal(name).await?;
        let facts = vec![Arc::clone(&portal.facts)];
        if let Some((allow, scope)) = &portal.allow
            && self.permit(allow, *scope).is_some()
        {
            let decided = Decided { allow: allow.clone(), scope: *scope, facts };
            return Ok((portal, decided));
        }
        let current = self.current()?;
        let scope = portal.allow.as_ref().map(|(_, scope)| *scope).unwrap_or_default();
        let allow = self.decide(&current, &portal.facts.accesses, scope, &portal.text)?;
        Ok((portal, Decided { allow, scope, facts }))
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
                self.forward(Cleared::new(permit, frame), Expected::new(Kind::Describe, Whose::Client), None);
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
                let expected = Expected::new(Kind::Close, Whose::Client);
                self.forward(Cleared::new(permit, frame), expected, Some(change));
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
        let mut state = self.shared.lock();
        state.skips = false;
        state.queue.push(Expected::new(Kind::Sync, Whose::Client));
        state.names.next_exchange();
        Ok(())
    }

    fn forward(&mut self, cleared: Cleared<Frame>, expected: Expected, change: Option<Change>) {
        let mut state = self.shared.lock();
        match change {
            Some(change) => {
                state.names.begin(change);
                state.queue.push(expected.changing());
            }
            None => state.queue.push(expected),
        }
        drop(state);
        self.open_exchange = true;
        self.writer.client(&cleared);
    }
}
