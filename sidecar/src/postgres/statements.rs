//! Prepared statements, portals and cursors of a session, as the server has them.
//!
//! A change counts when the *server* confirms it. Within one exchange (up to its Sync) a change that is under way
//! may be used already: if it fails, the server skips whatever builds on it. Across a Sync it may not: then the
//! use waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use policy::{Allow, Scope};
use sql::{Facts, Prepared, SessionNames, Statement};

/// How many names one session may have; more are refused.
pub(super) const NAMES: usize = 4096;

/// A prepared statement with its text, for the record.
#[derive(Clone, Debug)]
pub(super) struct NamedStatement {
    pub(super) text: Arc<str>,
    /// None for an empty text.
    pub(super) statement: Option<Arc<Statement>>,
    pub(super) types: Vec<u32>,
}

/// A portal or cursor: what its opening does, and the decision about it.
#[derive(Clone, Debug)]
pub(super) struct Portal {
    pub(super) text: Arc<str>,
    pub(super) facts: Arc<Facts>,
    /// The decision at its opening and the scope it was made in; none for SQL's own cursors.
    pub(super) allow: Option<(Allow, Scope)>,
}

/// A change of names that the server has not confirmed yet.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Parse.
    Statement(String, NamedStatement),
    /// Close of a statement.
    NoStatement(String),
    /// Bind.
    Portal(String, Box<Portal>),
    /// Close of a portal.
    NoPortal(String),
}

/// What a name means now.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// This.
    Known(T),
    /// Nothing.
    Absent,
    /// It depends on an answer that is outstanding from an earlier exchange.
    Wait,
}

/// The names of a session.
#[derive(Debug, Default)]
pub(super) struct Names {
    statements: HashMap<String, NamedStatement>,
    portals: HashMap<String, Portal>,
    /// The same, as `sql` wants it, for SQL's own EXECUTE and FETCH.
    session: SessionNames,
    pending: VecDeque<(u64, Change)>,
    /// Counts exchanges: every Sync and Query begins another.
    exchange: u64,
}

impl Names {
    /// A Sync or Query goes upstream: what comes belongs to another exchange.
    pub(super) const fn next_exchange(&mut self) {
        self.exchange += 1;
    }

    /// How many names there are, under way ones included.
    pub(super) fn len(&self) -> usize {
        self.statements.len() + self.portals.len() + self.pending.len()
    }

    /// As `sql` wants them: confirmed ones only.
    pub(super) const fn session(&self) -> &SessionNames {
        &self.session
    }

    /// Whether changes are under way that SQL's own EXECUTE or FETCH could depend on.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// A change goes upstream.
    pub(super) fn begin(&mut self, change: Change) {
        self.pending.push_back((self.exchange, change));
    }

    /// The server confirmed the oldest change.
    pub(super) fn confirm(&mut self) {
        if let Some((_, change)) = self.pending.pop_front() {
            self.apply(change);
        }
    }

    /// The server skipped or failed the oldest change.
    pub(super) fn fail(&mut self) {
        match self.pending.pop_front() {
            // A Parse of the unnamed statement drops the old one before it can fail; so does a Bind.
            Some((_, Change::Statement(name, _))) if name.is_empty() => {
                self.apply(Change::NoStatement(name));
            }
            Some((_, Change::Portal(name, _))) if name.is_empty() => self.apply(Change::NoPortal(name)),
            _ => {}
        }
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Statement(name, named) => {
                match &named.statement {
                    Some(statement) => {
                        let prepared =
                            Prepared { statement: Arc::clone(statement), types: named.types.clone() };
                        self.session.statements.insert(name.clone(), prepared);
                    }
                    None => drop(self.session.statements.remove(&name)),
                }
                self.statements.insert(name, named);
            }
            Change::NoStatement(name) => {
                self.session.statements.remove(&name);
                self.statements.remove(&name);
            }
            Change::Portal(name, portal) => {
                self.session.cursors.insert(name.clone(), Arc::clone(&portal.facts));
                self.portals.insert(name, *portal);
            }
            Change::NoPortal(name) => {
                self.session.cursors.remove(&name);
                self.portals.remove(&name);
            }
        }
    }

    /// All prepared statements are gone.
    pub(super) fn forget_statements(&mut self) {
        self.statements.clear();
        self.session.statements.clear();
    }

    /// All portals are gone: the end of a transaction, or CLOSE ALL. Cursors WITH HOLD would stay; their use is
    /// refused then, which is safe.
    pub(super) fn forget_portals(&mut self, keep: impl Fn(&str) -> bool) {
        self.portals.retain(|name, _| keep(name));
        self.session.cursors.retain(|name, _| keep(name));
    }

    /// The prepared statement of that name.
    pub(super) fn statement(&self, name: &str) -> Found<NamedStatement> {
        let under_way = self.pending.iter().rev().find_map(|(exchange, change)| match change {
            Change::Statement(changed, named) if changed == name => Some((*exchange, Some(named))),
            Change::NoStatement(changed) if changed == name => Some((*exchange, None)),
            Change::Statement(..) | Change::NoStatement(_) | Change::Portal(..) | Change::NoPortal(_) => None,
        });
        self.resolve(under_way, self.statements.get(name))
    }

    /// The portal of that name.
    pub(super) fn portal(&self, name: &str) -> Found<Portal> {
        let under_way = self.pending.iter().rev().find_map(|(exchange, change)| match change {
            Change::Portal(changed, portal) if changed == name => Some((*exchange, Some(&**portal))),
            Change::NoPortal(changed) if changed == name => Some((*exchange, None)),
            Change::Statement(..) | Change::NoStatement(_) | Change::Portal(..) | Change::NoPortal(_) => None,
        });
        self.resolve(under_way, self.portals.get(name))
    }

    fn resolve<T: Clone>(&self, under_way: Option<(u64, Option<&T>)>, confirmed: Option<&T>) -> Found<T> {
        match (under_way, confirmed) {
            (Some((exchange, _)), _) if exchange != self.exchange => Found::Wait,
            (Some((_, Some(changed))), _) => Found::Known(changed.clone()),
            (Some((_, None)), _) | (None, None) => Found::Absent,
            (None, Some(confirmed)) => Found::Known(confirmed.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> NamedStatement {
        let statement = sql::parse(text).expect("parses").statements.first().cloned();
        NamedStatement { text: text.into(), statement, types: Vec::new() }
    }

    fn text(found: &Found<NamedStatement>) -> &str {
        match found {
            Found::Known(named) => &named.text,
            Found::Absent => "absent",
            Found::Wait => "wait",
        }
    }

    #[test]
    fn a_change_under_way_counts_in_its_own_exchange_only() {
        let mut names = Names::default();
        names.begin(Change::Statement("a".to_owned(), named("SELECT 1")));
        assert_eq!(text(&names.statement("a")), "SELECT 1");
        names.next_exchange();
        assert_eq!(text(&names.statement("a")), "wait");
        names.confirm();
        assert_eq!(text(&names.statement("a")), "SELECT 1");
    }

    #[test]
    fn a_failed_parse_leaves_what_the_server_has() {
        let mut names = Names::default();
        names.apply(Change::Statement("a".to_owned(), named("SELECT 1")));
        names.begin(Change::Statement("a".to_owned(), named("SELECT 2")));
        names.fail();
        assert_eq!(text(&names.statement("a")), "SELECT 1");
    }

    #[test]
    fn a_failed_parse_of_the_unnamed_statement_leaves_none() {
        let mut names = Names::default();
        names.apply(Change::Statement(String::new(), named("SELECT 1")));
        names.begin(Change::Statement(String::new(), named("SELECT 2")));
        names.fail();
        assert_eq!(text(&names.statement("")), "absent");
    }

    #[test]
    fn a_skipped_close_leaves_the_statement() {
        let mut names = Names::default();
        names.apply(Change::Statement("a".to_owned(), named("SELECT 1")));
        names.begin(Change::NoStatement("a".to_owned()));
        assert_eq!(text(&names.statement("a")), "absent");
        names.fail();
        assert_eq!(text(&names.statement("a")), "SELECT 1");
    }
}
