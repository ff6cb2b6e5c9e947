//! What a SQL statement means: text to syntax to facts in a scope.
//!
//! ```text
//! text ── parse ──> Syntax ── facts(statement, Scope) ──> Facts { accesses, effects, unresolved }
//!                                       │
//!                                       └─> Unready::Needs ── questions ──> server ── answer ──> Catalog
//! ```
//! Pure: no clock, no network, no log. Whoever calls asks the server the [`Question`]s that [`Needs`] makes
//! and tells the [`Catalog`] what it answered; then the facts are asked for again.

pub mod builtins;
mod catalog;
mod facts;
mod lex;
mod lift;
mod scope;
mod syntax;

pub use catalog::{Assumed, Catalog, CatalogError, Needs, Question};
pub use facts::{Effect, Facts, Reason, Refused, Unready, Unresolved, UnresolvedKind, facts, function_call};
pub use lex::template;
pub use lift::{Lift, Pinned};
pub use scope::{Doubt, Prediction, Prepared, Scope, SessionNames};
pub use syntax::{Statement, Syntax, SyntaxError, SyntaxErrorKind, Tag, parse};
