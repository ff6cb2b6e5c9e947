//! The verbs: what a statement does, never which keyword it used.

use serde::{Deserialize, Serialize};

/// One kind of effect. `statements.md` of the design says what counts as which; the `sql` crate maps every
/// node of the grammar to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// Reading rows, also through views.
    Select,
    /// Adding rows.
    Insert,
    /// Changing rows.
    Update,
    /// Removing rows.
    Delete,
    /// `COPY … TO STDOUT`.
    CopyTo,
    /// `COPY … FROM STDIN`.
    CopyFrom,
    /// `EXPLAIN` without `ANALYZE` of a statement that writes.
    Explain,
    /// Row locks and table locks stronger than ACCESS SHARE.
    Lock,
    /// `TRUNCATE`.
    Truncate,
    /// Calling a function, operator, cast, aggregate or domain check.
    Execute,
    /// `CALL` of a procedure.
    Call,
    /// A `DO` block.
    Do,
    /// Making objects.
    Create,
    /// Changing objects.
    Alter,
    /// Removing objects.
    Drop,
    /// Granting rights.
    Grant,
    /// Revoking rights.
    Revoke,
    /// `VACUUM`, `ANALYZE`, `CLUSTER`, `REINDEX`, `REFRESH`, `CHECKPOINT`.
    Maintain,
    /// Changing a setting of the session.
    Set,
    /// Anything that changes who the session is.
    SetRole,
    /// `LISTEN`.
    Listen,
    /// `NOTIFY`.
    Notify,
    /// Two-phase commit.
    TwoPhase,
    /// Administration of the server.
    Admin,
    /// Transaction control (baseline).
    Transaction,
    /// `SHOW` (baseline).
    Show,
    /// Cursors and prepared statements over what is allowed (baseline).
    Cursor,
    /// `DISCARD`, `UNLISTEN`, `RESET ALL` (baseline).
    Discard,
}

impl Verb {
    /// Every verb, in the order of the declaration.
    pub const ALL: [Self; 28] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::CopyTo,
        Self::CopyFrom,
        Self::Explain,
        Self::Lock,
        Self::Truncate,
        Self::Execute,
        Self::Call,
        Self::Do,
        Self::Create,
        Self::Alter,
        Self::Drop,
        Self::Grant,
        Self::Revoke,
        Self::Maintain,
        Self::Set,
        Self::SetRole,
        Self::Listen,
        Self::Notify,
        Self::TwoPhase,
        Self::Admin,
        Self::Transaction,
        Self::Show,
        Self::Cursor,
        Self::Discard,
    ];

    /// The verb's name as resources and refusals spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Select => "Select",
            Self::Insert => "Insert",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::CopyTo => "CopyTo",
            Self::CopyFrom => "CopyFrom",
            Self::Explain => "Explain",
            Self::Lock => "Lock",
            Self::Truncate => "Truncate",
            Self::Execute => "Execute",
            Self::Call => "Call",
            Self::Do => "Do",
            Self::Create => "Create",
            Self::Alter => "Alter",
            Self::Drop => "Drop",
            Self::Grant => "Grant",
            Self::Revoke => "Revoke",
            Self::Maintain => "Maintain",
            Self::Set => "Set",
            Self::SetRole => "SetRole",
            Self::Listen => "Listen",
            Self::Notify => "Notify",
            Self::TwoPhase => "TwoPhase",
            Self::Admin => "Admin",
            Self::Transaction => "Transaction",
            Self::Show => "Show",
            Self::Cursor => "Cursor",
            Self::Discard => "Discard",
        }
    }

    /// The verb of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }

    /// Whether a rule that grants `granted` grants this verb too: Update and Delete include Lock.
    #[must_use]
    pub fn included_in(self, granted: Self) -> bool {
        self == granted || (self == Self::Lock && matches!(granted, Self::Update | Self::Delete))
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A name in a rule that stands for several verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerbGroup {
    /// Select, CopyTo, Explain.
    Read,
    /// Insert, Update, Delete, CopyFrom, Lock.
    Write,
    /// `*`: all verbs.
    All,
}

impl VerbGroup {
    /// The group of that name (`Read`, `Write`, `*`), if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "Read" => Some(Self::Read),
            "Write" => Some(Self::Write),
            "*" => Some(Self::All),
            _ => None,
        }
    }

    /// The verbs of the group.
    #[must_use]
    pub const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Read => &[Verb::Select, Verb::CopyTo, Verb::Explain],
            Self::Write => &[Verb::Insert, Verb::Update, Verb::Delete, Verb::CopyFrom, Verb::Lock],
            Self::All => &Verb::ALL,
        }
    }
}
