//! Records before effects: nothing goes upstream that is not in the log.

use std::sync::Arc;

use audit::{Event, Statement, StatementKind, StatementText, StatementVerdict};
use policy::{Allow, Durability, Recording, StatementRecording};
use sql::Facts;

use super::Gate;
use crate::{policy::Current, postgres::refusal::Refusal};

/// Accesses that one record lists.
const LISTED: usize = 64;

impl Gate<'_> {
    /// Records that frames with this text may go, as durably as the policy asks.
    pub(super) async fn record_allow(
        &mut self,
        kind: StatementKind,
        text: &Arc<str>,
        allow: &Allow,
        facts: &[Arc<Facts>],
    ) -> Result<(), Refusal> {
        let current = self.about.documents.current().ok_or_else(Refusal::no_policy)?;
        let rules = allow.rules().iter().map(ToString::to_string).collect();
        let accesses = facts.iter().flat_map(|facts| &facts.accesses).filter(|access| !access.baseline);
        let accesses = accesses.take(LISTED).map(policy::Access::describe).collect();
        let recording = self.recording(&current);
        let statement = self.statement(kind, text, recording, &current);
        let statement = Statement { verdict: StatementVerdict::Allow { rules }, accesses, ..statement };
        self.store(statement, recording.durability).await
    }

    /// Records a refusal. It needs no durability beyond the process: nothing happens.
    pub(super) fn record_refusal(
        &mut self,
        kind: StatementKind,
        text: &Arc<str>,
        refusal: &Refusal,
    ) -> Result<(), Refusal> {
        let current = self.about.documents.current();
        let (recording, generation) = current.as_ref().map_or_else(
            || {
                (
                    Recording { statements: StatementRecording::Fingerprint, ..Recording::default() },
                    String::new(),
                )
            },
            |current| (self.recording(current), current.generation.to_string()),
        );
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
        stored.map(drop).map_err(|error| Refusal::unrecorded(&error.to_string()))
    }

    fn recording(&self, current: &Current) -> Recording {
        let connection = current.document.connection(&self.about.connection);
        connection.map_or_else(Recording::default, policy::ConnectionDocument::recording)
    }

    fn statement(
        &mut self,
        kind: StatementKind,
        text: &Arc<str>,
        recording: Recording,
        current: &Current,
    ) -> Statement {
        self.counted.statements += 1;
        Statement {
            session: self.about.session,
            number: self.counted.statements,
            kind,
            text: as_recorded(text, recording),
            verdict: StatementVerdict::Allow { rules: Vec::new() },
            accesses: Vec::new(),
            generation: current.generation.to_string(),
        }
    }

    async fn store(&self, statement: Statement, durability: Durability) -> Result<(), Refusal> {
        let stored = self.about.recorder.record(&Event::Statement(statement), durability);
        let stored = stored.map_err(|error| Refusal::unrecorded(&error.to_string()))?;
        if stored.is_durable() {
            return Ok(());
        }
        stored.durable().await.map_err(|error| Refusal::unrecorded(&error.to_string()))
    }
}

fn as_recorded(text: &Arc<str>, recording: Recording) -> StatementText {
    match recording.statements {
        StatementRecording::Full => StatementText::Full(text.to_string()),
        StatementRecording::Fingerprint => StatementText::Fingerprint(sql::template(text)),
    }
}
