//! The simple protocol: Query, and FunctionCall, which is answered alike.

use std::sync::Arc;

use audit::StatementKind;
use sql::Syntax;
use wire::{
    Frame,
    postgres::frontend::{FunctionCall, Message, Query},
};

use super::{Gate, Stop};
use crate::{
    cleared::Cleared,
    postgres::{
        decision::Decision,
        refusal::Refusal,
        relay::queue::{Effects, Expected, Kind, Whose},
    },
};

/// How often a decision is made again because the policy changed meanwhile.
pub(super) const AGAIN: usize = 3;

impl Gate<'_> {
    /// A Query: every statement of its text is decided before any byte goes.
    pub(super) async fn query(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::Query(Query { text })) = Message::decode(&frame) else { return Err(Stop::Skipped) };
        for _ in 0..AGAIN {
            let decision = match self.decide_query(text).await {
                Ok(decision) => decision,
                Err(Stop::Refused(refusal)) => {
                    return self.refuse_recorded(Kind::Query, StatementKind::Query, text, &refusal);
                }
                Err(stop) => return Err(stop),
            };
            if let Err(refusal) = self.record_durably(StatementKind::Query, text, &decision).await {
                return self.refuse(Kind::Query, &refusal);
            }
            if let Some(permit) = self.permit(&decision) {
                let expected = self.expected(Kind::Query, text, &decision);
                self.forward(&Cleared::new(permit, frame), expected, None);
                return Ok(());
            }
        }
        self.refuse(Kind::Query, &Refusal::no_policy())
    }

    async fn decide_query(&mut self, text: &str) -> Result<Arc<Decision>, Stop> {
        let decision = self.decide_text(text, &[]).await?;
        self.may_rest_on(decision.facts())?;
        Ok(decision)
    }

    /// The answer to a frame with statements: what they do to the session counts once the server confirms it.
    pub(super) fn expected(&mut self, kind: Kind, text: &str, decision: &Decision) -> Expected {
        let mut expected = Expected::new(kind, Whose::Client);
        if !decision.is_plain() {
            self.note_effects(decision.facts());
            let effects = Effects { text: text.into(), facts: decision.facts().to_vec() };
            expected.effects = Some(Box::new(effects));
        }
        expected
    }

    /// A FunctionCall: refused unless a rule names the function, harmless or not.
    pub(super) async fn function_call(&mut self, frame: Frame) -> Result<(), Stop> {
        let Ok(Message::FunctionCall(FunctionCall { function, .. })) = Message::decode(&frame) else {
            return Err(Stop::Skipped);
        };
        let (kind, recorded) = (Kind::FunctionCall, StatementKind::FunctionCall);
        let text = format!("call of function {function}");
        let decision = match self.decide_call(function, &text).await {
            Ok(decision) => decision,
            Err(Stop::Refused(refusal)) => return self.refuse_recorded(kind, recorded, &text, &refusal),
            Err(stop) => return Err(stop),
        };
        if let Err(refusal) = self.record_durably(recorded, &text, &decision).await {
            return self.refuse(kind, &refusal);
        }
        match self.permit(&decision) {
            Some(permit) => {
                let expected = self.expected(kind, &text, &decision);
                self.forward(&Cleared::new(permit, frame), expected, None);
                Ok(())
            }
            None => self.refuse(kind, &Refusal::no_policy()),
        }
    }

    async fn decide_call(&mut self, function: u32, text: &str) -> Result<Decision, Stop> {
        let (facts, scope) = self.resolve_call(function).await?;
        let current = self.current()?;
        // The baseline covers functions within statements, not this message.
        let accesses: Vec<_> =
            facts.accesses.iter().cloned().map(|a| policy::Access { baseline: false, ..a }).collect();
        let allow = self.decide(&current, &accesses, scope, text)?;
        Ok(Decision::new((allow, scope), (Arc::new(Syntax::default()), &[]), vec![facts]))
    }
}
