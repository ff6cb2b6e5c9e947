//! What a decision says, and the proofs that come out of it.

use crate::{Access, Generation};

/// The answer to a request.
#[derive(Debug)]
pub enum Verdict {
    /// It may go. The proof gives one [`Permit`] per use.
    Allow(Allow),
    /// It may not.
    Deny(Denial),
}

/// A rule, by the policy that holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleRef {
    /// The policy's `namespace/name`.
    pub policy: String,
    /// The rule's name.
    pub rule: String,
}

impl std::fmt::Display for RuleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.policy, self.rule)
    }
}

/// Names the state that facts were resolved in: catalog epoch, search path, temporary schema and the like,
/// folded into one number by whoever resolves. Equal scopes resolve a text to equal facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope(pub u64);

/// Names who asks, within one sidecar: the session's identity as one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller(pub u64);

/// A decision that allowed. It may be kept, and gives one [`Permit`] per use as long as generation, scope and
/// caller are still those it was made for.
#[derive(Clone, Debug)]
pub struct Allow {
    generation: Generation,
    scope: Scope,
    caller: Caller,
    rules: Vec<RuleRef>,
}

impl Allow {
    /// Made by `decide` alone.
    pub(crate) const fn new(
        generation: Generation,
        scope: Scope,
        caller: Caller,
        rules: Vec<RuleRef>,
    ) -> Self {
        Self { generation, scope, caller, rules }
    }

    /// The rules that allowed, without the baseline's share.
    #[must_use]
    pub fn rules(&self) -> &[RuleRef] {
        &self.rules
    }

    /// The generation that decided.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// A permit for one frame, if this decision still holds.
    #[must_use]
    pub fn permit(&self, generation: Generation, scope: Scope, caller: Caller) -> Option<Permit> {
        self.holds(generation, scope, caller).then_some(Permit { sealed: () })
    }

    /// Whether this decision still holds.
    #[must_use]
    pub fn holds(&self, generation: Generation, scope: Scope, caller: Caller) -> bool {
        self.generation == generation && self.scope == scope && self.caller == caller
    }
}

/// Proof that one frame of a client may go upstream. It cannot be copied or made outside this crate, and is
/// spent with the frame.
#[derive(Debug)]
#[must_use = "a permit is spent on the frame it was given for"]
pub struct Permit {
    #[expect(dead_code, reason = "keeps the type from being built elsewhere")]
    sealed: (),
}

/// A decision that refused, with everything a person or an agent needs to act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The access that failed; none when nothing at all is allowed.
    pub access: Option<Box<Access>>,
    /// Why.
    pub missing: Missing,
}

/// Why an access was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// No rule of this class allows anything on this Connection.
    AnyAllow,
    /// No Allow matches the access.
    Allow,
    /// An Allow matches, but asks for a WHERE clause on the changed relation.
    Where(RuleRef),
    /// This rule denies.
    Rule {
        /// Which.
        rule: RuleRef,
        /// What its author wants the client to be told.
        message: Option<String>,
    },
    /// This policy could not be read and therefore denies everything.
    BrokenPolicy {
        /// The policy's `namespace/name`.
        policy: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The Connection cannot be used.
    Connection(String),
}

impl Denial {
    /// What was refused, in one line: the primary text of an error.
    #[must_use]
    pub fn summary(&self) -> String {
        let what =
            self.access.as_ref().map_or_else(|| "this statement".to_owned(), |access| access.describe());
        match &self.missing {
            Missing::Connection(reason) => format!("refused by policy: {reason}"),
            Missing::Rule { message: Some(message), .. } => {
                format!("refused by policy: {what} ({message})")
            }
            Missing::AnyAllow | Missing::Allow | Missing::Where(_) | Missing::BrokenPolicy { .. } => {
                format!("refused by policy: {what}")
            }
            Missing::Rule { message: None, .. } => format!("refused by policy: {what}"),
        }
    }

    /// The reason, in one line: the detail of an error.
    #[must_use]
    pub fn detail(&self) -> String {
        match &self.missing {
            Missing::AnyAllow => "no rule allows this pod anything on this Connection".to_owned(),
            Missing::Allow => self.access.as_ref().map_or_else(
                || "no rule allows it".to_owned(),
                |access| format!("no rule allows {}", access.describe()),
            ),
            Missing::Where(rule) => {
                format!("rule `{rule}` allows it only with a WHERE on a column of the changed relation")
            }
            Missing::Rule { rule, .. } => format!("rule `{rule}` denies it"),
            Missing::BrokenPolicy { policy, reason } => {
                format!("policy `{policy}` cannot be read and denies everything: {reason}")
            }
            Missing::Connection(reason) => reason.clone(),
        }
    }

    /// The rule behind the refusal, if there is one.
    #[must_use]
    pub const fn rule(&self) -> Option<&RuleRef> {
        match &self.missing {
            Missing::Rule { rule, .. } | Missing::Where(rule) => Some(rule),
            Missing::AnyAllow | Missing::Allow | Missing::BrokenPolicy { .. } | Missing::Connection(_) => {
                None
            }
        }
    }
}
