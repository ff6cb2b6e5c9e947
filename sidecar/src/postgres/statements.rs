//! Prepared statements, portals and cursors of a session, as the server has them.
//!
//! A change counts when the *server* confirms it. Within one exchange (up to its Sync) a change that is under way
//! may be used already: if it fails, the server skips whatever builds on it. Across a Sync it may not: then the
//! use waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use sql::{Facts, Prepared, SessionNames, Statement};

use super::decision::Decision;

/// How many names one session may have; more are refused.
pub(super) const NAMES: usize = 4096;

/// A prepared statement with its text, for the record.
#[derive(Clone, Debug)]
pub(super) struct NamedStatement {
    pub(super) text: Arc<str>,
    /// None for an empty text.
    pub(super) statement: Option<Arc<Statement>>,
    pub(super) types: Box<[u32]>,
    /// Whether the text is the statement's own, not that of a PREPARE around it.
    pub(super) own_text: bool,
    /// The newest decision about it: as long as that holds, a Bind needs no other.
    pub(super) decision: Option<Arc<Decision>>,
}

impl NamedStatement {
    /// What Parse makes of a text that was decided on.
    pub(super) fn new(text: &str, types: &[u32], decision: Arc<Decision>) -> Self {
        let statement = decision.syntax().statements.first().cloned();
        Self { text: text.into(), statement, types: types.into(), own_text: true, decision: Some(decision) }
    }

    /// Whether it is this text with this decision: a Parse of it changes nothing then.
    pub(super) fn is(&self, text: &str, decision: &Arc<Decision>) -> bool {
        let same = self.decision.as_ref().is_some_and(|own| Arc::ptr_eq(own, decision));
        same && self.own_text && *self.text == *text
    }
}

/// A portal or cursor.
#[derive(Clone, Debug)]
pub(super) struct Portal {
    pub(super) text: Arc<str>,
    pub(super) opening: Opening,
}

/// What a portal's opening does.
#[derive(Clone, Debug)]
pub(super) enum Opening {
    /// Bind: what was decided then.
    Bound(Arc<Decision>),
    /// SQL's own DECLARE: its facts.
    Declared(Arc<Facts>),
}

impl Portal {
    /// The facts of its opening; none for an empty text.
    pub(super) fn facts(&self) -> &[Arc<Facts>] {
        match &self.opening {
            Opening::Bound(decision) => decision.facts(),
            Opening::Declared(facts) => std::slice::from_ref(facts),
        }
    }
}

/// A change of names that the server has not confirmed yet.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Parse.
    Statement(String, Arc<NamedStatement>),
    /// Close of a statement.
    NoStatement(String),
    /// Bind.
    Portal(String, Portal),
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

/// The names of a session. The unnamed statement and portal are kept apart: drivers use them for everything, and
/// SQL cannot name them.
#[derive(Debug, Default)]
pub(super) struct Names {
    statements: HashMap<String, Arc<NamedStatement>>,
    portals: HashMap<String, Portal>,
    unnamed_statement: Option<Arc<NamedStatement>>,
    unnamed_portal: Option<Portal>,
    /// The same, as `sql` wants it, for SQL's own EXECUTE and FETCH.
    session: SessionNames,
    pending: VecDeque<(u64, Change)>,
    /// How many of the pending changes are about statements.
    pending_statements: usize,
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

    /// Whether no change is under way that SQL's own EXECUTE or FETCH could depend on.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// A change goes upstream.
    pub(super) fn begin(&mut self, change: Change) {
        self.pending_statements += usize::from(change.is_of_statement());
        self.pending.push_back((self.exchange, change));
    }

    fn end(&mut self) -> Option<Change> {
        let (_, change) = self.pending.pop_front()?;
        self.pending_statements -= usize::from(change.is_of_statement());
        Some(change)
    }

    /// The server confirmed the oldest change.
    pub(super) fn confirm(&mut self) {
        if let Some(change) = self.end() {
            self.apply(change);
        }
    }

    /// The server skipped or failed the oldest change.
    pub(super) fn fail(&mut self) {
        match self.end() {
            // A Parse of the unnamed statement drops the old one before it can fail; so does a Bind.
            Some(Change::Statement(name, _)) if name.is_empty() => self.unnamed_statement = None,
            Some(Change::Portal(name, _)) if name.is_empty() => self.unnamed_portal = None,
            _ => {}
        }
    }

    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Statement(name, named) if name.is_empty() => self.unnamed_statement = Some(named),
            Change::Statement(name, named) => {
                match &named.statement {
                    Some(statement) => {
                        let statement = Arc::clone(statement);
                        let prepared = Prepared { statement, types: named.types.to_vec() };
                        self.session.statements.insert(name.clone(), prepared);
                    }
                    None => drop(self.session.statements.remove(&name)),
                }
                self.statements.insert(name, named);
            }
            Change::NoStatement(name) if name.is_empty() => self.unnamed_statement = None,
            Change::NoStatement(name) => {
                self.session.statements.remove(&name);
                self.statements.remove(&name);
            }
            Change::Portal(name, portal) if name.is_empty() => self.unnamed_portal = Some(portal),
            Change::Portal(name, portal) => {
                match portal.facts() {
                    [facts] => drop(self.session.cursors.insert(name.clone(), Arc::clone(facts))),
                    _ => drop(self.session.cursors.remove(&name)),
                }
                self.portals.insert(name, portal);
            }
            Change::NoPortal(name) if name.is_empty() => self.unnamed_portal = None,
            Change::NoPortal(name) => {
                self.session.cursors.remove(&name);
                self.portals.remove(&name);
            }
        }
    }

    /// All prepared statements are gone.
    pub(super) fn forget_statements(&mut self) {
        self.statements.clear();
        self.unnamed_statement = None;
        self.session.statements.clear();
    }

    /// All portals are gone but those to keep: the end of a transaction, or CLOSE ALL.
    pub(super) fn forget_portals(&mut self, keep: impl Fn(&str) -> bool) {
        self.unnamed_portal = None;
        self.portals.retain(|name, _| keep(name));
        self.session.cursors.retain(|name, _| keep(name));
    }

    /// The prepared statement of that name.
    pub(super) fn statement(&self, name: &str) -> Found<&Arc<NamedStatement>> {
        let confirmed = if name.is_empty() { &self.unnamed_statement } else { &None };
        let confirmed = confirmed.as_ref().or_else(|| self.statements.get(name));
        if self.pending_statements == 0 {
            return confirmed.map_or(Found::Absent, Found::Known);
        }
        let under_way = self.pending.iter().rev().find_map(|(exchange, change)| match change {
            Change::Statement(changed, named) if changed == name => Some((*exchange, Some(named))),
            Change::NoStatement(changed) if changed == name => Some((*exchange, None)),
            Change::Statement(..) | Change::NoStatement(_) | Change::Portal(..) | Change::NoPortal(_) => None,
        });
        self.resolve(under_way, confirmed)
    }

    /// The portal of that name.
    pub(super) fn portal(&self, name: &str) -> Found<&Portal> {
        let confirmed = if name.is_empty() { &self.unnamed_portal } else { &None };
        let confirmed = confirmed.as_ref().or_else(|| self.portals.get(name));
        let under_way = self.pending.iter().rev().find_map(|(exchange, change)| match change {
            Change::Portal(changed, portal) if changed == name => Some((*exchange, Some(portal))),
            Change::NoPortal(changed) if changed == name => Some((*exchange, None)),
            Change::Statement(..) | Change::NoStatement(_) | Change::Portal(..) | Change::NoPortal(_) => None,
        });
        self.resolve(under_way, confirmed)
    }

    fn resolve<'a, T>(
        &self,
        under_way: Option<(u64, Option<&'a T>)>,
        confirmed: Option<&'a T>,
    ) -> Found<&'a T> {
        match (under_way, confirmed) {
            (Some((exchange, _)), _) if exchange != self.exchange => Found::Wait,
            (Some((_, Some(changed))), _) => Found::Known(changed),
            (Some((_, None)), _) | (None, None) => Found::Absent,
            (None, Some(confirmed)) => Found::Known(confirmed),
        }
    }

    /// A statement was decided on again: the next Bind finds that. `of` is what the name meant then.
    pub(super) fn decided(&mut self, name: &str, of: &Arc<NamedStatement>, decision: &Arc<Decision>) {
        let pending = self.pending.iter_mut().rev().find_map(|(_, change)| match change {
            Change::Statement(changed, named) if changed == name => Some(named),
            Change::Statement(..) | Change::NoStatement(_) | Change::Portal(..) | Change::NoPortal(_) => None,
        });
        let confirmed =
            if name.is_empty() { self.unnamed_statement.as_mut() } else { self.statements.get_mut(name) };
        for named in [pending, confirmed].into_iter().flatten().filter(|named| Arc::ptr_eq(named, of)) {
            *named = Arc::new(NamedStatement { decision: Some(Arc::clone(decision)), ..(**of).clone() });
        }
    }
}

impl Change {
    const fn is_of_statement(&self) -> bool {
        matches!(self, Self::Statement(..) | Self::NoStatement(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Arc<NamedStatement> {
        let statement = sql::parse(text).expect("parses").statements.first().cloned();
        Arc::new(NamedStatement {
            text: text.into(),
            statement,
            types: Box::default(),
            own_text: true,
            decision: None,
        })
    }

    fn text<'a>(found: &Found<&'a Arc<NamedStatement>>) -> &'a str {
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
