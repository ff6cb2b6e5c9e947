//! The simple protocol: Query, and FunctionCall, which is answered alike.

use std::sync::Arc;

use audit::StatementKind;
use sql::Facts;
use wire::{
    Frame,
    postgres::frontend::{FunctionCall, Message, Query},
};

use super::{Gate, Stop, resolve::Decided};
use crate::{
    cleared::Cleared,
    postgres::{
        parser,
        refusal::Refusal,
        relay::queue::{Effects, Expected, Kind, Whose},
    },
};

/// How often a decision is made again because the policy changed meanwhile.
const AGAIN: usize = 3;

impl Gate<'_> {
    /// A Query: every statement of its text is decided before any byte goes.
    pub(super) async fn query(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Query(Query { text })) = Message::decode(&frame) else { return Err(Stop::Skipped) };
        let text: Arc<str> = text.into();
        for _ in 0..AGAIN {
            let (text, decided) = match self.decide_query(&text).await {
                Ok(decided) => decided,
                Err(Stop::Refused(refusal)) => {
                    return self.refuse_recorded(Kind::Query, StatementKind::Query, &text, &refusal);
                }
                Err(stop) => return Err(stop),
            };
            let recorded =
                self.record_allow(StatementKind::Query, &text, &decided.allow, &decided.facts).await;
            if let Err(refusal) = recorded {
                return self.refuse(Kind::Query, &refusal);
            }
            if let Some(permit) = self.permit(&decided.allow, decided.scope) {
                self.forward_simple(&Cleared::new(permit, frame), Kind::Query, text, decided.facts);
                return Ok(());
            }
        }
        self.refuse(Kind::Query, &Refusal::no_policy())
    }

    async fn decide_query(&mut self, text: &Arc<str>) -> Result<(Arc<str>, Decided), Stop> {
        let parsed = parser::parse(text).await?;
        let decided = self.decide_text(&parsed, &[]).await?;
        if !self.may_rest_on(&decided.facts) {
            return Err(Refusal::new("54000", "the session has changed too many settings and cursors").into());
        }
        Ok((parsed.text, decided))
    }

    fn forward_simple(
        &mut self,
        cleared: &Cleared<Frame>,
        kind: Kind,
        text: Arc<str>,
        facts: Vec<Arc<Facts>>,
    ) {
        self.note_effects(&facts);
        let mut expected = Expected::new(kind, Whose::Client);
        if facts.iter().any(|facts| !facts.effects.is_empty()) {
            expected.effects = Some(Effects { text, facts });
        }
        let mut state = self.shared.lock();
        state.queue.push(expected);
        state.names.next_exchange();
        drop(state);
        self.open_exchange = false;
        self.writer.client(cleared);
    }

    /// A FunctionCall: refused unless a rule names the function, harmless or not.
    pub(super) async fn function_call(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::FunctionCall(FunctionCall { function, .. })) = Message::decode(&frame) else {
            return Err(Stop::Skipped);
        };
        let text: Arc<str> = format!("call of function {function}").into();
        let decided = match self.decide_call(function, &text).await {
            Ok(decided) => decided,
            Err(Stop::Refused(refusal)) => {
                return self.refuse_recorded(
                    Kind::FunctionCall,
                    StatementKind::FunctionCall,
                    &text,
                    &refusal,
                );
            }
            Err(stop) => return Err(stop),
        };
        let recorded =
            self.record_allow(StatementKind::FunctionCall, &text, &decided.allow, &decided.facts).await;
        if let Err(refusal) = recorded {
            return self.refuse(Kind::FunctionCall, &refusal);
        }
        match self.permit(&decided.allow, decided.scope) {
            Some(permit) => {
                let cleared = Cleared::new(permit, frame);
                self.forward_simple(&cleared, Kind::FunctionCall, text, decided.facts);
                Ok(())
            }
            None => self.refuse(Kind::FunctionCall, &Refusal::no_policy()),
        }
    }

    async fn decide_call(&mut self, function: u32, text: &str) -> Result<Decided, Stop> {
        let facts = self.resolve_call(function).await?;
        let current = self.current()?;
        let scope = self.call_scope();
        // The baseline covers functions within statements, not this message.
        let accesses: Vec<_> =
            facts.accesses.iter().cloned().map(|a| policy::Access { baseline: false, ..a }).collect();
        let allow = self.decide(&current, &accesses, scope, text)?;
        Ok(Decided { allow, scope, facts: vec![facts] })
    }
}
