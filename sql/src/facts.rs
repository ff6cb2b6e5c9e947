//! What a statement does in a scope: the accesses it makes and its effects on the session.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the grammar has 271 nodes: `grammar` names each, every other match refuses what it does not know"
)]

mod builtin;
mod copy;
mod create;
mod dml;
mod expression;
mod figure;
mod found;
mod from;
mod functions;
mod grammar;
mod grants;
mod json;
mod maintenance;
mod names;
mod objects;
mod operators;
mod overload;
mod range;
mod reviewed;
mod select;
mod session;
mod settings;
mod special;
mod statement;
mod suggest;
mod table;
mod target;
mod types;
mod views;
mod walk;

use std::sync::Arc;

use policy::Access;

use crate::syntax::with_room;
use crate::{Needs, Scope, Statement, Tag};
use walk::Walk;

/// What a statement does.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kind of statement.
    pub tag: Tag,
    /// What it does to what: one entry per verb, object and way there, with the columns united.
    pub accesses: Vec<Access>,
    /// What it does to the session once the server confirms it, in order.
    pub effects: Vec<Effect>,
    /// Names that the server does not have either. Each has its access on `Object::Unresolved` too.
    pub unresolved: Vec<Unresolved>,
    /// Whether it answers with rows.
    pub returns_rows: bool,
}

/// What a statement does to the session when the server confirms it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Starts a transaction.
    Begin,
    /// Commits; `chain` starts another at once.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// Rolls back; `chain` starts another at once.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// Sets a savepoint.
    Savepoint(String),
    /// Rolls back to a savepoint.
    RollbackTo(String),
    /// Releases a savepoint.
    Release(String),
    /// Two-phase: the transaction leaves the session.
    PrepareTransaction,
    /// Sets a setting; no value is the default.
    Set {
        /// Lower-case name.
        name: String,
        /// The value's items; none is DEFAULT, RESET or a value that is only known at run time.
        value: Option<Vec<String>>,
        /// SET LOCAL.
        local: bool,
    },
    /// RESET ALL.
    ResetAll,
    /// DISCARD ALL.
    DiscardAll,
    /// DISCARD TEMP.
    DiscardTemp,
    /// PREPARE.
    Prepare {
        /// The name.
        name: String,
        /// The statement under it.
        statement: Arc<Statement>,
        /// Declared types; 0 is unknown.
        types: Vec<u32>,
    },
    /// DEALLOCATE; none is ALL.
    Deallocate(Option<String>),
    /// EXECUTE of a prepared statement.
    Execute {
        /// Its name.
        name: String,
    },
    /// DECLARE of a cursor: its facts are this statement's.
    DeclareCursor {
        /// The name.
        name: String,
        /// WITH HOLD.
        hold: bool,
    },
    /// FETCH or MOVE.
    Fetch(String),
    /// CLOSE; none is ALL.
    CloseCursor(Option<String>),
    /// LISTEN.
    Listen(String),
    /// UNLISTEN; none is `*`.
    Unlisten(Option<String>),
    /// Objects may have been made, changed or dropped.
    Ddl,
    /// Temporary objects may have been made, changed or dropped.
    TempDdl,
    /// The session's role may be another.
    Role,
    /// The client will send COPY data.
    CopyIn,
    /// The server will send COPY data.
    CopyOut,
    /// Sets the isolation level of the transaction (or, with `session`, of those to come).
    Isolation {
        /// Lower-case, as written: `repeatable read`.
        level: String,
        /// SET SESSION CHARACTERISTICS.
        session: bool,
    },
    /// The search path may have changed in a way that only the server knows.
    SearchPathMayChange,
}

/// Why there are no facts.
#[derive(Clone, Debug)]
pub enum Unready {
    /// Names must be read first.
    Needs(Needs),
    /// Whatever the policy says, this is not forwarded.
    Refused(Refused),
}

/// A statement that is refused whatever the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// In words, one line.
    pub message: String,
    /// Byte offset in the statement's text, where it is known.
    pub position: Option<u32>,
}

/// The classes of refusals that no policy lifts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A node of the grammar that has no verb here.
    Unknown,
    /// Newer grammar than the server has.
    NewerThanServer,
    /// Reads or writes a file, or runs a program, on the server.
    ServerFile,
    /// Earlier statements of the same string leave its names uncertain.
    Doubt,
    /// A prepared statement that the session does not have.
    NoSuchName,
    /// A cursor that the session does not have.
    NoSuchCursor,
    /// Nested too deeply to be understood.
    TooDeep,
    /// A setting's value that would change how text is read.
    Setting,
}

impl Reason {
    /// The SQLSTATE to answer with.
    #[must_use]
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Self::Unknown | Self::ServerFile | Self::Doubt => "42501",
            Self::NewerThanServer => "42601",
            Self::NoSuchName => "26000",
            Self::NoSuchCursor => "34000",
            Self::TooDeep => "54001",
            Self::Setting => "22023",
        }
    }
}

/// A name that the server does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// What kind of name.
    pub kind: UnresolvedKind,
    /// As the statement wrote it.
    pub name: String,
    /// A name close to it that exists.
    pub suggestion: Option<String>,
    /// Byte offset in the statement's text, where it is known.
    pub position: Option<u32>,
}

/// The kinds of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnresolvedKind {
    /// A relation: 42P01.
    Relation,
    /// A column: 42703.
    Column,
    /// A function or operator: 42883.
    Function,
    /// A type: 42704.
    Type,
}

impl UnresolvedKind {
    /// The SQLSTATE to answer with.
    #[must_use]
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Self::Relation => "42P01",
            Self::Column => "42703",
            Self::Function => "42883",
            Self::Type => "42704",
        }
    }
}

/// What a statement does in a scope.
///
/// # Errors
/// [`Unready::Needs`] while names must be read first, and [`Unready::Refused`] for what is never forwarded.
pub fn facts(statement: &Arc<Statement>, scope: &Scope<'_>) -> Result<Facts, Unready> {
    let walked = with_room(statement.deep(), || {
        let mut walk = Walk::new(scope);
        match statement.node() {
            Some(node) => walk.statement_node(node, statement),
            None => walk.unknown("nothing in it"),
        }
        finish(walk, statement.tag())
    });
    walked.unwrap_or_else(|| {
        let message = "no thread to look at a deep statement on".to_owned();
        Err(Unready::Refused(Refused { reason: Reason::TooDeep, message, position: None }))
    })
}

/// What the FunctionCall message does: calling the function of that OID.
///
/// # Errors
/// As [`facts`].
pub fn function_call(oid: u32, scope: &Scope<'_>) -> Result<Facts, Unready> {
    let mut walk = Walk::new(scope);
    walk.call_oid(oid);
    finish(walk, Tag::FunctionCall)
}

fn finish(mut walk: Walk<'_>, tag: Tag) -> Result<Facts, Unready> {
    walk.settle();
    if let Some(refused) = walk.refused {
        return Err(Unready::Refused(refused));
    }
    if !walk.needs.is_empty() {
        return Err(Unready::Needs(walk.needs));
    }
    if walk.runs_code && !walk.explaining {
        walk.effects.push(Effect::SearchPathMayChange);
    }
    Ok(Facts {
        tag,
        returns_rows: walk.returns_rows,
        accesses: walk.found.into_accesses(),
        effects: walk.effects,
        unresolved: walk.unresolved,
    })
}
