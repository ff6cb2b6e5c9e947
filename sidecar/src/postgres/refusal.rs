//! What a client is told when something is refused: an ordinary error that names what is missing and how to
//! ask for it, so that a person, or an agent, can act on it.

use bytes::BytesMut;
use policy::{Denial, Missing, Object};
use sql::{Refused, SyntaxError, Unresolved};
use wire::postgres::{
    backend::Fields,
    write::{self, ErrorText, Severity},
};

/// Why something does not go upstream, as the client and the record see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The SQLSTATE.
    pub(super) sqlstate: String,
    pub(super) message: String,
    pub(super) detail: Option<String>,
    pub(super) hint: Option<String>,
    /// In characters of the client's text, from 1.
    pub(super) position: Option<usize>,
    /// The rule behind it.
    pub(super) rule: Option<String>,
}

impl Refusal {
    pub(super) fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        let (sqlstate, message) = (sqlstate.to_owned(), message.into());
        Self { sqlstate, message, detail: None, hint: None, position: None, rule: None }
    }

    /// No document, or too old a one.
    pub(super) fn no_policy() -> Self {
        Self {
            hint: Some("the sidecar refuses until the operator can be heard again".to_owned()),
            ..Self::new("57P03", "no policy is in force")
        }
    }

    /// The record cannot be kept, so nothing may happen.
    pub(super) fn unrecorded(reason: &str) -> Self {
        Self {
            detail: Some(reason.to_owned()),
            hint: Some("statements go on once the record store takes records again".to_owned()),
            ..Self::new("53400", "the statement cannot be recorded, so it is refused")
        }
    }

    /// A statement in a failed transaction, as the server says it.
    pub(super) fn aborted() -> Self {
        Self::new("25P02", "current transaction is aborted, commands ignored until end of transaction block")
    }

    /// A name that the server does not have either; `connection` is where it was looked for.
    pub(super) fn unresolved(unresolved: &Unresolved, text: &str) -> Self {
        let Unresolved { kind, name, suggestion, position } = unresolved;
        let message = match kind {
            sql::UnresolvedKind::Relation => format!("relation \"{name}\" does not exist"),
            sql::UnresolvedKind::Column => format!("column \"{name}\" does not exist"),
            sql::UnresolvedKind::Function => format!("function {name} does not exist"),
            sql::UnresolvedKind::Type => format!("type \"{name}\" does not exist"),
        };
        let hint = suggestion.as_ref().map(|suggestion| format!("Perhaps you meant \"{suggestion}\"."));
        Self {
            hint,
            position: position.and_then(|at| character(text, at)),
            ..Self::new(kind.sqlstate(), message)
        }
    }

    /// What is never forwarded, whatever the policy says.
    pub(super) fn from_statement(refused: Refused, text: &str) -> Self {
        let position = refused.position.and_then(|at| character(text, at));
        Self { position, ..Self::new(refused.reason.sqlstate(), refused.message) }
    }

    /// A denial, with the way to ask.
    pub(super) fn denied(denial: &Denial, connection: &str, text: &str) -> Self {
        let sqlstate = match denial.missing {
            Missing::Connection(_) => "57P03",
            Missing::AnyAllow
            | Missing::Allow
            | Missing::Where(_)
            | Missing::Rule { .. }
            | Missing::BrokenPolicy { .. } => "42501",
        };
        let hint = match (&denial.missing, &denial.access) {
            (Missing::Rule { .. } | Missing::Connection(_), _) => None,
            (Missing::BrokenPolicy { policy, .. }, _) => Some(format!("mend AccessPolicy `{policy}`")),
            (_, Some(access)) if !matches!(access.object, Object::Unresolved(_)) => Some(format!(
                "to allow it, add `{}` to an AccessPolicy for Connection `{connection}`; do not retry it unchanged",
                access.describe()
            )),
            _ => Some(format!("an AccessPolicy for Connection `{connection}` must allow it")),
        };
        let position = denial.access.as_ref().and_then(|access| access.position);
        Self {
            detail: Some(denial.detail()),
            hint,
            position: position.and_then(|at| character(text, at)),
            rule: denial.rule().map(ToString::to_string),
            ..Self::new(sqlstate, denial.summary())
        }
    }

    /// The reason, for the record.
    pub(super) fn reason(&self) -> String {
        self.detail.clone().unwrap_or_else(|| self.message.clone())
    }

    /// The ErrorResponse.
    pub(super) fn encode(&self, severity: Severity) -> BytesMut {
        let mut to = BytesMut::new();
        let error = ErrorText {
            detail: self.detail.as_deref(),
            hint: self.hint.as_deref(),
            position: self.position,
            ..ErrorText::new(severity, &self.sqlstate, &self.message)
        };
        write::error(&mut to, &error);
        to
    }
}

impl From<SyntaxError> for Refusal {
    fn from(error: SyntaxError) -> Self {
        Self { position: error.position, ..Self::new(error.kind.sqlstate(), error.message) }
    }
}

/// The server's own words about a read of ours that failed.
impl From<Fields<'_>> for Refusal {
    fn from(fields: Fields<'_>) -> Self {
        let text = |letter| fields.text(letter).map(str::to_owned);
        let sqlstate = fields.sqlstate().unwrap_or("XX000");
        Self::new(sqlstate, text(b'M').unwrap_or_else(|| "the catalog cannot be read".to_owned()))
    }
}

/// A byte offset as PostgreSQL counts: in characters, from 1.
fn character(text: &str, at: u32) -> Option<usize> {
    let before = text.get(..at as usize)?;
    Some(before.chars().count() + 1)
}
