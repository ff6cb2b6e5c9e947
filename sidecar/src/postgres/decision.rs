//! A decision that allowed, kept with everything that it is about, for as long as what it rests on holds.

use std::sync::{Arc, OnceLock};

use audit::StatementKind;
use policy::{Allow, Caller, Generation, Permit, Scope};
use sql::{Facts, Syntax};

use crate::recorder::Tail;

/// Who asks, in which state: what a decision counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) generation: Generation,
    pub(super) scope: Scope,
    pub(super) caller: Caller,
}

/// A text that was allowed, with the facts about each of its statements.
#[derive(Debug)]
pub(super) struct Decision {
    allow: Allow,
    scope: Scope,
    /// Declared types of the parameters.
    types: Box<[u32]>,
    /// Of this text, or of one that differs in constants that do not count.
    syntax: Arc<Syntax>,
    facts: Vec<Arc<Facts>>,
    /// Whether nothing that was found changes what is known of the session.
    plain: bool,
    /// What its records end with, by kind of frame, once there was one.
    tails: [OnceLock<Tail>; KINDS],
}

/// The kinds of frames that are recorded.
const KINDS: usize = 5;

impl Decision {
    pub(super) fn new(
        (allow, scope): (Allow, Scope),
        (syntax, types): (Arc<Syntax>, &[u32]),
        facts: Vec<Arc<Facts>>,
    ) -> Self {
        let plain = facts.iter().all(|facts| facts.effects.is_empty());
        Self { allow, scope, types: types.into(), syntax, facts, plain, tails: Default::default() }
    }

    /// Whether it answers this question about the same text.
    pub(super) fn answers(&self, asked: &Asked, types: &[u32]) -> bool {
        self.holds(asked) && *self.types == *types
    }

    /// Whether it still holds.
    pub(super) fn holds(&self, asked: &Asked) -> bool {
        self.scope == asked.scope && self.allow.holds(asked.generation, asked.scope, asked.caller)
    }

    /// A permit for one frame, if it still holds for this generation and caller in the scope that it was made in.
    pub(super) fn permit(&self, generation: Generation, caller: Caller) -> Option<Permit> {
        self.allow.permit(generation, self.scope, caller)
    }

    pub(super) const fn allow(&self) -> &Allow {
        &self.allow
    }

    pub(super) const fn scope(&self) -> Scope {
        self.scope
    }

    pub(super) const fn syntax(&self) -> &Arc<Syntax> {
        &self.syntax
    }

    pub(super) fn facts(&self) -> &[Arc<Facts>] {
        &self.facts
    }

    pub(super) const fn is_plain(&self) -> bool {
        self.plain
    }

    /// Where the end of its records of this kind is kept.
    pub(super) const fn tail(&self, kind: StatementKind) -> &OnceLock<Tail> {
        let [query, parse, bind, execute, call] = &self.tails;
        match kind {
            StatementKind::Query => query,
            StatementKind::Parse => parse,
            StatementKind::Bind => bind,
            StatementKind::Execute => execute,
            StatementKind::FunctionCall => call,
        }
    }
}
