//! An access: one verb on one object. What `sql` finds in a statement and rules speak about.

use std::collections::BTreeSet;

use crate::Verb;

/// One verb on one object, decided alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What is done.
    pub verb: Verb,
    /// To what.
    pub object: Object,
    /// Which columns of a relation; [`Columns::none`] for everything else and for `count(*)`.
    pub columns: Columns,
    /// How the statement came here when it did not name the object itself, outermost first.
    pub via: Vec<Via>,
    /// The tables that a partition or child belongs to, at all levels: a Deny of one of them is a Deny of it.
    pub ancestors: Vec<RelationName>,
    /// Whether the Standard baseline covers this access: harmless built-ins, listed settings, readable
    /// catalog columns, transaction control and the like.
    pub baseline: bool,
    /// For Update and Delete: the WHERE clause mentions a column of the changed relation.
    pub filtered: bool,
    /// Byte offset in the statement's text, where it is known.
    pub position: Option<u32>,
}

impl Access {
    /// An access that names its object itself, outside the baseline, without columns.
    #[must_use]
    pub const fn new(verb: Verb, object: Object) -> Self {
        Self {
            verb,
            object,
            columns: Columns::none(),
            via: Vec::new(),
            ancestors: Vec::new(),
            baseline: false,
            filtered: false,
            position: None,
        }
    }

    /// How a refusal names it: `Select shop.customers.email`.
    #[must_use]
    pub fn describe(&self) -> String {
        let verb = self.verb;
        match (&self.object, &self.columns) {
            (Object::Session, _) => verb.name().to_owned(),
            (Object::Relation(name), Columns::Set(set)) if !set.is_empty() => {
                let columns: Vec<String> = set.iter().map(|column| format!("{name}.{column}")).collect();
                format!("{verb} {}", columns.join(", "))
            }
            (object, _) => format!("{verb} {object}"),
        }
    }
}

/// What an access is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A table, view, sequence, foreign table or materialised view.
    Relation(RelationName),
    /// A function, or the function behind an operator or a cast.
    Function(FunctionName),
    /// A setting, by its lower-case name.
    Setting(String),
    /// A notification channel.
    Channel(String),
    /// A schema, and what lives in it that is neither relation nor function (types, collations, …).
    Schema(String),
    /// The session or the server as a whole.
    Session,
    /// A name that the catalog does not know, as the statement wrote it. Only an unrestricted rule allows it.
    Unresolved(String),
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Relation(name) => name.fmt(f),
            Self::Function(name) => name.fmt(f),
            Self::Setting(name) | Self::Channel(name) | Self::Schema(name) | Self::Unresolved(name) => {
                f.write_str(name)
            }
            Self::Session => f.write_str("session"),
        }
    }
}

/// A relation's schema and name as the catalog has them. Temporary schemas are written `pg_temp`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelationName {
    /// Schema.
    pub schema: String,
    /// Name within the schema.
    pub name: String,
}

impl RelationName {
    /// A relation name from its two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl std::fmt::Display for RelationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A function's schema, name and argument types.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionName {
    /// Schema.
    pub schema: String,
    /// Name within the schema.
    pub name: String,
    /// Argument types as `format_type` spells them.
    pub arguments: Vec<String>,
    /// The extension that the function belongs to.
    pub extension: Option<String>,
}

impl std::fmt::Display for FunctionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}({})", self.schema, self.name, self.arguments.join(", "))
    }
}

/// Columns of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// All columns, also those that are added later: `*` and whole rows.
    All,
    /// These columns.
    Set(BTreeSet<String>),
}

impl Columns {
    /// No column: `count(*)`, and objects that have none.
    #[must_use]
    pub const fn none() -> Self {
        Self::Set(BTreeSet::new())
    }

    /// Adds the columns of `other`.
    pub fn unite(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Set(mine), Self::Set(theirs)) => mine.extend(theirs),
        }
    }
}

/// One step on the way from what the statement names to what it reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Via {
    /// What kind of step.
    pub kind: ViaKind,
    /// The relation through which the statement came.
    pub relation: RelationName,
}

/// The kinds of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViaKind {
    /// A view that reads or writes the object. An Allow of the view by exact name, for the same verb, covers it.
    View,
    /// A parent table whose partition or child the object is. An Allow of the parent covers it.
    Parent,
}
