//! Everything that a statement's meaning depends on besides its text.

use std::collections::HashMap;
use std::sync::Arc;

use crate::builtins::Version;
use crate::{Catalog, Effect, Facts, Statement};

/// What a statement's meaning depends on besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The server's major version.
    pub version: Version,
    /// The effective search path, as `current_schemas(true)` gives it: with `pg_catalog`, and with the
    /// temporary schema where there is one.
    pub search_path: &'a [String],
    /// The session's temporary schema (`pg_temp_3`), if it has one.
    pub temp_schema: Option<&'a str>,
    /// What is known of the database.
    pub catalog: &'a Catalog,
    /// Prepared statements and cursors of the session.
    pub session: &'a SessionNames,
    /// Types of the parameters as Parse gave them; 0 or missing is unknown.
    pub parameter_types: &'a [u32],
    /// The role of the upstream session.
    pub user: &'a str,
    /// The database of the upstream session.
    pub database: &'a str,
    /// What earlier statements of the same string have made uncertain.
    pub doubt: Doubt,
}

/// What earlier statements of the same string, not yet confirmed by the server, have made uncertain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// The search path holds these schemas, but the server may skip some: a relation or type that more than
    /// one of them has is refused.
    pub path: bool,
    /// The search path is not known at all: every unqualified relation or type is refused.
    pub names: bool,
    /// Objects may have been made, changed or dropped: what the statement names is unresolved.
    pub catalog: bool,
}

/// A prepared statement of the session.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The statement behind it.
    pub statement: Arc<Statement>,
    /// Declared types of its parameters; 0 is unknown.
    pub types: Vec<u32>,
}

/// The names that SQL and protocol statements share.
#[derive(Clone, Debug, Default)]
pub struct SessionNames {
    /// Prepared statements by name.
    pub statements: HashMap<String, Prepared>,
    /// Cursors and portals by name, with the facts of their opening.
    pub cursors: HashMap<String, Arc<Facts>>,
}

/// The state that the statements of one string are resolved under: starts as the session's, and takes the
/// effects of each statement in turn as if the server had confirmed them.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// Effective search path.
    pub search_path: Vec<String>,
    /// Names as they would be.
    pub session: SessionNames,
    /// What became uncertain.
    pub doubt: Doubt,
    /// The end of the transaction brings back a search path that is not known.
    reverts: bool,
    /// Another role may be in force than the one before the string.
    other_role: bool,
}

impl Prediction {
    /// The state before the first statement of a string.
    #[must_use]
    pub fn new(search_path: &[String], session: &SessionNames) -> Self {
        Self {
            search_path: search_path.to_vec(),
            session: session.clone(),
            doubt: Doubt::default(),
            reverts: false,
            other_role: false,
        }
    }

    /// With a transaction under way that may have changed the search path: its end may change it back.
    #[must_use]
    pub fn reverting(self, reverts: bool) -> Self {
        Self { reverts, ..self }
    }

    /// The scope for the next statement; everything else is taken from `scope`.
    #[must_use]
    pub fn scope<'a>(&'a self, scope: &Scope<'a>) -> Scope<'a> {
        Scope { search_path: &self.search_path, session: &self.session, doubt: self.doubt, ..*scope }
    }

    /// Takes the effects of a statement; `scope` is the one its facts were made in.
    pub fn apply(&mut self, facts: &Arc<Facts>, user: &str, temp_schema: Option<&str>) {
        for effect in &facts.effects {
            self.apply_one(effect, facts, user, temp_schema);
        }
    }

    fn apply_one(&mut self, effect: &Effect, facts: &Arc<Facts>, user: &str, temp_schema: Option<&str>) {
        match effect {
            Effect::Set { name, value, local } if name == "search_path" => {
                self.reverts = *local;
                match value {
                    Some(schemas) => self.search_path_set(schemas, user, temp_schema),
                    None => self.lose_path(),
                }
            }
            // In a failed transaction it is a ROLLBACK.
            Effect::Commit { .. } | Effect::PrepareTransaction => {
                if std::mem::take(&mut self.reverts) {
                    self.lose_path();
                }
            }
            Effect::Rollback { .. } | Effect::RollbackTo(_) | Effect::ResetAll | Effect::Role => {
                self.lose_path();
            }
            Effect::SearchPathMayChange => {
                self.lose_path();
                self.reverts = true;
            }
            Effect::DiscardAll => {
                self.lose_path();
                self.session = SessionNames::default();
            }
            Effect::Prepare { name, statement, types } => {
                let prepared = Prepared { statement: Arc::clone(statement), types: types.clone() };
                self.session.statements.insert(name.clone(), prepared);
            }
            Effect::Deallocate(Some(name)) => {
                self.session.statements.remove(name);
            }
            Effect::Deallocate(None) => self.session.statements.clear(),
            Effect::DeclareCursor { name, .. } => {
                self.session.cursors.insert(name.clone(), Arc::clone(facts));
            }
            Effect::CloseCursor(Some(name)) => {
                self.session.cursors.remove(name);
            }
            Effect::CloseCursor(None) => self.session.cursors.clear(),
            Effect::Ddl | Effect::TempDdl | Effect::DiscardTemp => self.doubt.catalog = true,
            Effect::Begin
            | Effect::Savepoint(_)
            | Effect::Release(_)
            | Effect::Set { .. }
            | Effect::Execute { .. }
            | Effect::Fetch(_)
            | Effect::Listen(_)
            | Effect::Unlisten(_)
            | Effect::CopyIn
            | Effect::CopyOut
            | Effect::Isolation { .. } => {}
        }
    }

    /// Only the server knows the search path now, and whose it is.
    const fn lose_path(&mut self) {
        self.doubt.names = true;
        self.other_role = true;
    }

    fn search_path_set(&mut self, schemas: &[String], user: &str, temp_schema: Option<&str>) {
        let mut path: Vec<String> = Vec::new();
        for schema in schemas {
            let name = match (schema.as_str(), temp_schema) {
                ("$user", _) => user,
                ("pg_temp", Some(temp)) => temp,
                ("pg_temp" | "", None) | ("", Some(_)) => continue,
                (name, _) => name,
            };
            if !path.iter().any(|known| known == name) {
                path.push(name.to_owned());
            }
        }
        if !path.iter().any(|known| known == "pg_catalog") {
            path.insert(0, "pg_catalog".to_owned());
        }
        if let Some(temp) = temp_schema
            && !path.iter().any(|known| known == temp)
        {
            path.insert(0, temp.to_owned());
        }
        self.search_path = path;
        self.doubt.path = true;
        self.doubt.names = self.other_role && schemas.iter().any(|schema| schema == "$user");
    }
}
