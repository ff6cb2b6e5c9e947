//! Records before effects: nothing goes upstream that is not in the log.

use audit::{Event, Statement, StatementKind, StatementText, StatementVerdict};
use policy::{Durability, Recording, StatementRecording};

use super::Gate;
use crate::{
    postgres::{decision::Decision, refusal::Refusal},
    recorder::{RecorderError, Stored, Tail},
};

/// Accesses that one record lists.
const LISTED: usize = 64;

impl Gate<'_> {
    /// Records that a frame with this text may go. Something is returned when that must become durable first.
    pub(super) fn record_allow(
        &mut self,
        kind: StatementKind,
        text: &str,
        decision: &Decision,
    ) -> Result<Option<Stored>, Refusal> {
        let kept = decision.tail(kind);
        let tail = match kept.get() {
            Some(tail) => tail,
            None => {
                let made = Tail::new(self.statement(kind, text, decision)).map_err(unrecorded)?;
                kept.get_or_init(|| made)
            }
        };
        let number = self.counted.statements + 1;
        let head = (&self.head, number);
        let stored = self.about.recorder.statement(head, (tail, text), self.recording.durability);
        let stored = stored.map_err(unrecorded)?;
        self.counted.statements = number;
        Ok(stored)
    }

    /// The same, and waits until it is as durable as the policy asks.
    pub(super) async fn record_durably(
        &mut self,
        kind: StatementKind,
        text: &str,
        decision: &Decision,
    ) -> Result<(), Refusal> {
        match self.record_allow(kind, text, decision)? {
            Some(stored) => stored.durable().await.map_err(unrecorded),
            None => Ok(()),
        }
    }

    /// What all records of a decision have in common.
    fn statement(&self, kind: StatementKind, text: &str, decision: &Decision) -> Statement {
        let allow = decision.allow();
        let rules = allow.rules().iter().map(ToString::to_string).collect();
        let accesses = decision.facts().iter().flat_map(|facts| &facts.accesses);
        let accesses = accesses.filter(|access| !access.baseline).take(LISTED);
        Statement {
            session: self.about.session,
            number: 0,
            kind,
            text: as_recorded(text, self.recording),
            verdict: StatementVerdict::Allow { rules },
            accesses: accesses.map(policy::Access::describe).collect(),
            generation: allow.generation().to_string(),
        }
    }

    /// Records a refusal. It needs no durability beyond the process: nothing happens.
    pub(super) fn record_refusal(
        &mut self,
        kind: StatementKind,
        text: &str,
        refusal: &Refusal,
    ) -> Result<(), Refusal> {
        let current = self.about.guard.held(self.now);
        let unknown = Recording { statements: StatementRecording::Fingerprint, ..self.recording };
        let recording = if current.is_some() { self.recording } else { unknown };
        let generation = current.map(|current| current.generation.to_string()).unwrap_or_default();
        self.counted.statements += 1;
        let statement = Statement {
            session: self.about.session,
            number: self.counted.statements,
            kind,
            text: as_recorded(text, recording),
            verdict: StatementVerdict::Deny { rule: refusal.rule.clone(), reason: refusal.reason() },
            accesses: Vec::new(),
            generation,
        };
        let stored = self.about.recorder.record(&Event::Statement(statement), Durability::Process);
        stored.map(drop).map_err(unrecorded)
    }
}

fn unrecorded(error: impl Into<RecorderError>) -> Refusal {
    Refusal::unrecorded(&error.into().to_string())
}

fn as_recorded(text: &str, recording: Recording) -> StatementText {
    match recording.statements {
        StatementRecording::Full => StatementText::Full(text.to_owned()),
        StatementRecording::Fingerprint => StatementText::Fingerprint(sql::template(text)),
    }
}
