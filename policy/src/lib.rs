//! The decision engine: pure, synchronous, without a clock.
//!
//! A statement is a set of [`Access`]es. Each is decided alone: a matching Deny, else a matching Allow,
//! else it is refused; the statement gets the worst of its accesses. Order never matters, adding a Deny
//! never allows more, and a policy that could not be read denies everything on its Connections.
//!
//! [`decide`] is the only place in Chaperone that makes a [`Permit`], directly or through the [`Allow`]
//! it returns. A `Permit` cannot be copied, and the sidecar cannot forward a client's frame without one.

mod access;
mod decide;
mod document;
mod pattern;
mod verb;
mod verdict;

pub use access::{Access, Columns, FunctionName, Object, RelationName, Via, ViaKind};
pub use decide::{Action, Protocol, Request, decide};
pub use document::{
    Baseline, ConnectionDocument, DecodeError, DnsMode, Document, Durability, FORMAT, Generation, Matches,
    PolicyDocument, PostgresDocument, Recording, Rule, RuleVerdict, SqlRule, StatementRecording, TlsDocument,
    TlsMode, Upstream, UpstreamProtocol,
};
pub use pattern::{ColumnPattern, FunctionPattern, NamePattern, PatternError, RelationPattern};
pub use verb::{Verb, VerbGroup};
pub use verdict::{Allow, Caller, Denial, Missing, Permit, RuleRef, Scope, Verdict};
