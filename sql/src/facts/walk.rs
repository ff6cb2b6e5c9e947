//! The state of one walk over a statement's tree: what it found so far, and where it stands.

use policy::{Access, Object, RelationName, Verb, Via};

use super::found::Found;
use super::range::{Cte, Frame};
use super::target::Target;
use super::{Effect, Reason, Refused, Unresolved, UnresolvedKind};
use crate::{Needs, Scope};

/// Deepest nesting of views in views, and of domains' checks.
const VIEWS: usize = 32;
/// Most view bodies that one statement may unfold to.
const BODIES: usize = 2_000;

/// A walk over a statement.
pub(super) struct Walk<'a> {
    pub(super) scope: Scope<'a>,
    /// The search path that names are read in.
    pub(super) path: Vec<String>,
    /// How the walk came to where it is: the views it is inside of.
    pub(super) via: Vec<Via>,
    pub(super) found: Found,
    pub(super) targets: Vec<Target>,
    pub(super) needs: Needs,
    pub(super) effects: Vec<Effect>,
    pub(super) unresolved: Vec<Unresolved>,
    pub(super) refused: Option<Refused>,
    /// The innermost level of FROM, and those around it.
    pub(super) level: Frame,
    pub(super) outer: Vec<Frame>,
    pub(super) ctes: Vec<Cte>,
    /// Inside EXPLAIN without ANALYZE: nothing is written.
    pub(super) explaining: bool,
    pub(super) returns_rows: bool,
    /// Calls functions whose bodies are not known.
    pub(super) runs_code: bool,
    /// Declared types of the parameters.
    pub(super) parameters: Vec<u32>,
    /// The row types that are being cast to.
    pub(super) rows: Vec<u32>,
    /// The WITH query whose body comes next, if it may name itself.
    pub(super) recursing: Option<usize>,
    /// In an expression that is kept, to run later and unseen: a default, a check, a view, a rule.
    pub(super) storing: bool,
    /// View bodies and checks: how deep, and how many so far.
    nesting: usize,
    bodies: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(scope: &Scope<'a>) -> Self {
        Self {
            scope: *scope,
            path: scope.search_path.to_vec(),
            via: Vec::new(),
            found: Found::default(),
            targets: Vec::new(),
            needs: Needs::default(),
            effects: Vec::new(),
            unresolved: Vec::new(),
            refused: None,
            level: Frame::default(),
            outer: Vec::new(),
            ctes: Vec::new(),
            explaining: false,
            returns_rows: false,
            runs_code: false,
            parameters: scope.parameter_types.to_vec(),
            rows: Vec::new(),
            recursing: None,
            storing: false,
            nesting: 0,
            bodies: 0,
        }
    }

    /// Whether the walk is in the client's own text, so that positions mean something.
    pub(super) const fn own_text(&self) -> bool {
        self.nesting == 0
    }

    pub(super) fn position(&self, location: i32) -> Option<u32> {
        if self.own_text() { u32::try_from(location).ok() } else { None }
    }

    /// Refuses whatever the policy says. The first refusal stands.
    pub(super) fn refuse(&mut self, reason: Reason, message: impl Into<String>, location: i32) {
        if self.refused.is_none() {
            let position = self.position(location);
            self.refused = Some(Refused { reason, message: message.into(), position });
        }
    }

    /// Refuses a form of the grammar that has no meaning here.
    pub(super) fn unknown(&mut self, what: &str) {
        self.refuse(Reason::Unknown, format!("a statement with {what} is not understood"), -1);
    }

    /// Refuses what an older server reads differently.
    pub(super) fn newer(&mut self, what: &str, location: i32) {
        self.refuse(Reason::NewerThanServer, format!("{what} is newer than the server"), location);
    }

    pub(super) fn access(&mut self, access: Access) {
        self.found.add(access);
    }

    /// An access on something without columns, from where the walk stands.
    pub(super) fn plain(&mut self, verb: Verb, object: Object, location: i32) {
        let position = self.position(location);
        self.access(Access { via: self.via.clone(), position, ..Access::new(self.verb(verb), object) });
    }

    /// The same within the baseline.
    pub(super) fn baseline(&mut self, verb: Verb, object: Object) {
        self.access(Access { baseline: true, ..Access::new(verb, object) });
    }

    /// What a verb stands for here: under EXPLAIN nothing is written.
    pub(super) const fn verb(&self, verb: Verb) -> Verb {
        match verb {
            Verb::Select | Verb::Execute | Verb::Cursor => verb,
            _ if self.explaining => Verb::Explain,
            _ => verb,
        }
    }

    /// A name that the server does not have.
    pub(super) fn missing(&mut self, kind: UnresolvedKind, verb: Verb, name: &str, location: i32) {
        self.plain(verb, Object::Unresolved(name.to_owned()), location);
        let (name, position) = (name.to_owned(), self.position(location));
        self.unresolved.push(Unresolved { kind, name, suggestion: None, position });
    }

    /// Walks what is not in the client's text (a view, a domain's checks, a prepared statement), with nothing of
    /// the statement in sight.
    pub(super) fn apart(&mut self, view: Option<Via>, walk: impl FnOnce(&mut Self)) {
        self.bodies += 1;
        if self.nesting >= VIEWS || self.bodies > BODIES {
            self.refuse(Reason::TooDeep, "views nest too deeply", -1);
            return;
        }
        let (level, outer) = (std::mem::take(&mut self.level), std::mem::take(&mut self.outer));
        let ctes = std::mem::take(&mut self.ctes);
        let steps = self.via.len();
        self.via.extend(view);
        self.nesting += 1;
        walk(self);
        self.nesting -= 1;
        self.via.truncate(steps);
        (self.level, self.outer, self.ctes) = (level, outer, ctes);
    }

    /// How accesses name a relation: temporary schemas have one name.
    pub(super) fn named(&self, schema: &str, name: &str) -> RelationName {
        RelationName::new(self.schema_name(schema), name)
    }

    /// How accesses name a schema.
    pub(super) fn schema_name<'n>(&self, schema: &'n str) -> &'n str {
        if Some(schema) == self.scope.temp_schema { "pg_temp" } else { schema }
    }
}
