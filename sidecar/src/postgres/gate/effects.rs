//! What a statement that goes upstream means for what is known of the session.

use std::sync::Arc;

use policy::{Access, Verb};
use sql::{Effect, Facts};
use wire::postgres::TransactionStatus;

use super::{Gate, extended::unreserved};
use crate::postgres::{catalog::SharedCatalog, refusal::Refusal, relay::State};

/// How many accesses the session's state may rest on.
const RESTS_ON: usize = 256;

impl Gate<'_> {
    /// Takes note when a statement goes upstream. What is in doubt until the server answers is asked again later.
    pub(super) fn note_effects(&mut self, facts: &[Arc<Facts>]) {
        for facts in facts {
            for effect in &facts.effects {
                self.note_effect(effect);
            }
            if facts.effects.iter().any(changes_session) {
                self.rest_on(&facts.accesses);
            }
        }
    }

    /// Takes note of code that runs before its statement does.
    pub(super) fn note_code(&mut self, facts: &[Arc<Facts>]) {
        let code = |effect: &Effect| matches!(effect, Effect::SearchPathMayChange);
        if facts.iter().any(|facts| facts.effects.iter().any(code)) {
            self.note_effect(&Effect::SearchPathMayChange);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all other effects leave this alone")]
    fn note_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Set { name, .. }
                if matches!(name.as_str(), "search_path" | "role" | "session_authorization") =>
            {
                self.scope.touched = true;
                self.scope.forget();
            }
            Effect::ResetAll | Effect::Role => {
                self.scope.touched = true;
                self.scope.forget();
            }
            Effect::SearchPathMayChange => {
                self.scope.touched = true;
                self.scope.suspect = true;
                self.scope.forget();
                self.forget_temp();
            }
            Effect::DiscardAll | Effect::DiscardTemp => {
                self.scope.touched = true;
                self.scope.forget();
                self.forget_temp();
            }
            Effect::Commit { .. }
            | Effect::Rollback { .. }
            | Effect::PrepareTransaction
            | Effect::RollbackTo(_) => {
                if std::mem::take(&mut self.scope.touched) {
                    self.forget_touched();
                }
                // After ROLLBACK TO the transaction goes on, with what was changed before the savepoint.
                self.scope.touched = matches!(effect, Effect::RollbackTo(_));
                // The next one may see another snapshot.
                self.scope.snapshot = false;
            }
            Effect::Begin | Effect::Isolation { .. } => self.scope.forget(),
            Effect::Ddl => {
                self.scope.touched = true;
                self.scope.forget();
                self.private = Some(SharedCatalog::new(self.version));
                self.scope.forget_number();
            }
            Effect::TempDdl => {
                self.scope.touched = true;
                self.scope.forget();
                self.forget_temp();
            }
            _ => {}
        }
    }

    /// What was changed in a transaction may be as it was before.
    pub(super) fn forget_touched(&mut self) {
        self.scope.forget();
        self.forget_made();
    }

    /// Objects that were made in a transaction may be gone.
    pub(super) fn forget_made(&mut self) {
        self.forget_temp();
        if self.private.is_some() {
            self.private = Some(SharedCatalog::new(self.version));
            self.scope.forget_number();
        }
    }

    /// The end of an exchange ends an implicit transaction, and what was local to it.
    pub(super) fn end_exchange(&mut self, state: &State) {
        let ends = |effect: &Effect| {
            matches!(effect, Effect::Commit { .. } | Effect::Rollback { .. } | Effect::PrepareTransaction)
        };
        let in_block = state.status != TransactionStatus::Idle && !state.queue.any_effect(ends);
        if self.scope.touched && !in_block {
            self.forget_touched();
        }
    }

    fn forget_temp(&self) {
        if let Some(temp) = self.scope.temp_schema() {
            self.names().lock().catalog.forget_schema(temp);
        }
    }

    /// Once a transaction that changed the catalog has ended, everybody sees the changes, or nobody.
    pub(super) fn end_privacy(&mut self) {
        // An exchange that is open may be a transaction of which no answer has told yet.
        let ended = !self.open_exchange && {
            let state = self.shared.lock();
            state.queue.is_empty() && state.status == TransactionStatus::Idle
        };
        if !ended {
            return;
        }
        self.scope.touched = false;
        if self.private.is_none() {
            return;
        }
        self.private = None;
        self.scope.forget_number();
        self.catalog.forget();
    }

    /// Refuses statements that make or drop what only we may have.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other effects are about other names")]
    pub(super) fn unreserved_names(facts: &[Arc<Facts>]) -> Result<(), Refusal> {
        let mut names = facts.iter().flat_map(|facts| &facts.effects).filter_map(|effect| match effect {
            Effect::Prepare { name, .. }
            | Effect::DeclareCursor { name, .. }
            | Effect::Deallocate(Some(name))
            | Effect::CloseCursor(Some(name)) => Some(name),
            _ => None,
        });
        names.try_for_each(|name| unreserved(name).map(drop))
    }

    fn rest_on(&mut self, accesses: &[Access]) {
        for access in accesses.iter().filter(|access| !access.baseline) {
            if !self.rests_on.contains(access) && self.rests_on.len() < RESTS_ON {
                self.rests_on.push(access.clone());
            }
        }
    }

    /// Refuses when the session's state would rest on too much.
    pub(super) fn may_rest_on(&self, facts: &[Arc<Facts>]) -> Result<(), Refusal> {
        let more = facts.iter().filter(|facts| facts.effects.iter().any(changes_session));
        let count: usize =
            more.map(|facts| facts.accesses.iter().filter(|a| a.verb != Verb::Select).count()).sum();
        if self.rests_on.len() + count <= RESTS_ON {
            return Ok(());
        }
        Err(Refusal::new("54000", "the session has changed too many settings and cursors"))
    }
}

/// Whether the session is another one afterwards: what allowed that must go on being allowed.
const fn changes_session(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Set { .. }
            | Effect::Listen(_)
            | Effect::DeclareCursor { .. }
            | Effect::TempDdl
            | Effect::Role
    )
}
