//! PostgreSQL as the oracle: thousands of random queries, full of names that shadow each other, become views and
//! rules. What the server stored as read and changed must be among what we say of the text.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]
#[path = "support/dice.rs"]
mod dice;
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/server.rs"]
mod server;

use std::collections::BTreeSet;

use chaperone_sql::Doubt;
use dice::{ALIASES, Dice, SCHEMA, TABLES, read};
use policy::Columns;

#[test]
fn the_server_reads_nothing_that_we_did_not_say() {
    let server = server::Server::start();
    server.script(SCHEMA);
    let mut session = server.connect();
    let mut dice = Dice { state: 7, levels: Vec::new() };
    let (mut accepted, mut precise) = (0, 0);
    for _ in 0..12_000 {
        let depth = 1 + dice.roll(3);
        let query = dice.query(depth, 2);
        if !session.makes_view("public.oracle", &format!("SELECT 1 AS one FROM ({query}) AS oracle_query")) {
            continue;
        }
        accepted += 1;
        let syntax = chaperone_sql::parse(&query).unwrap();
        let ours = session.facts(syntax.statements.first().unwrap(), Doubt::default());
        let ours = ours.unwrap_or_else(|refused| panic!("{}: {query}", refused.message));
        assert!(ours.unresolved.is_empty(), "{:?}: {query}", ours.unresolved);
        let syntax = chaperone_sql::parse("SELECT one FROM public.oracle").unwrap();
        let theirs = session.facts(syntax.statements.first().unwrap(), Doubt::default()).unwrap();
        session.catalog.forget_schema("public");

        let (our_relations, our_functions) = read(&ours, None);
        let (relations, functions) = read(&theirs, Some("public.oracle"));
        for (relation, columns) in &relations {
            let ours =
                our_relations.get(relation).unwrap_or_else(|| panic!("{relation} is missing: {query}"));
            let Some(ours) = ours else { continue };
            let columns = columns.as_ref().unwrap_or_else(|| panic!("all of {relation} is missing: {query}"));
            assert!(ours.is_superset(columns), "{relation}: {columns:?} is not within {ours:?}: {query}");
        }
        assert!(
            our_functions.is_superset(&functions),
            "{functions:?} is not within {our_functions:?}: {query}"
        );
        assert!(our_relations.keys().all(|name| relations.contains_key(name)), "{our_relations:?}: {query}");
        precise += usize::from(our_relations.iter().all(|(name, columns)| {
            columns.is_none() || relations.get(name).is_some_and(|theirs| theirs == columns)
        }));
    }
    assert!(accepted > 300, "{accepted}");
    assert!(precise * 100 > accepted * 95, "{precise} of {accepted} say no more than is true");
}

impl Dice {
    /// A statement that changes rows.
    fn change(&mut self) -> String {
        let (table, columns) = *TABLES.get(self.roll(4)).unwrap();
        let alias = if self.one_in(2) { table } else { self.pick(ALIASES) };
        let owned: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        let column = self.pick(columns);
        let depth = 1 + self.roll(2);
        match self.roll(4) {
            0 => {
                let query = self.query(depth, 1);
                format!("INSERT INTO {table} ({column}) SELECT i::text FROM ({query}) AS r(i)")
            }
            1 => {
                let query = self.query(1, 1);
                let own = vec![("t1".to_owned(), vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])];
                self.levels.push(own);
                let (value, condition) = (self.expression(1), self.condition(1));
                self.levels.pop();
                format!(
                    "INSERT INTO t1 (a) SELECT i::text FROM ({query}) AS r(i) ON CONFLICT (a) DO UPDATE \
                     SET b = ({value})::text || excluded.c WHERE {condition}"
                )
            }
            2 => {
                let (from, mut level) = self.item(depth);
                level.push((alias.to_owned(), owned));
                self.levels.push(level);
                let (value, condition) = (self.expression(depth), self.condition(depth));
                self.levels.pop();
                let row = if self.one_in(4) {
                    format!(", ({column}) = (SELECT {column} FROM {table} AS z)")
                } else {
                    String::new()
                };
                let set = format!("{} = ({value})::text", columns.first().unwrap());
                format!("UPDATE {table} AS {alias} SET {set}{row} FROM {from} WHERE {condition}")
            }
            _ => {
                let (using, mut level) = self.item(depth);
                level.push((alias.to_owned(), owned));
                self.levels.push(level);
                let condition = self.condition(depth);
                self.levels.pop();
                format!("DELETE FROM {table} AS {alias} USING {using} WHERE {condition}")
            }
        }
    }
}

/// What a stored rule needs, by verb, relation and columns. `excluded` (relkind c) is the row that the statement
/// brings, not one of the table.
const NEEDED: &str = "
    SELECT c.relname, p.verb, array_to_string(array(
        SELECT COALESCE(a.attname::text, '*') FROM unnest(string_to_array(btrim(p.bits), ' ')) AS u(bit)
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.bit::int - 7), ' ')
    FROM pg_rewrite w
    CROSS JOIN LATERAL regexp_matches(w.ev_action::text, ':relid ([0-9]+) :relkind [rv] :rellockmode [0-9]+ :tablesample <> :lateral [a-z]+ :inh [a-z]+ :inFromCl [a-z]+ :requiredPerms ([0-9]+) :checkAsUser [0-9]+ :selectedCols .b([ 0-9]*). :insertedCols .b([ 0-9]*). :updatedCols .b([ 0-9]*).', 'g') AS m(m)
    CROSS JOIN LATERAL (VALUES (1, 'Insert', m.m[4]), (2, 'Select', m.m[3]), (4, 'Update', m.m[5]), (8, 'Delete', '')) AS p(bit, verb, bits)
    JOIN pg_class c ON c.oid = m.m[1]::oid
    WHERE w.rulename = 'oracle' AND m.m[2]::int & p.bit <> 0 AND c.relname <> 'log'";

#[test]
fn the_server_changes_nothing_that_we_did_not_say() {
    let server = server::Server::start();
    assert_eq!(
        server.version,
        chaperone_sql::builtins::Version::V15,
        "the form of stored rules is that of 15"
    );
    server.script(SCHEMA);
    server.script("CREATE TABLE public.log (x int)");
    let mut session = server.connect();
    let mut dice = Dice { state: 3, levels: Vec::new() };
    let mut accepted = 0;
    for _ in 0..6_000 {
        let sql = dice.change();
        if !session
            .makes(&format!("CREATE OR REPLACE RULE oracle AS ON INSERT TO public.log DO INSTEAD {sql}"))
        {
            continue;
        }
        accepted += 1;
        let syntax = chaperone_sql::parse(&sql).unwrap();
        let ours = session.facts(syntax.statements.first().unwrap(), Doubt::default());
        let ours = ours.unwrap_or_else(|refused| panic!("{}: {sql}", refused.message));
        assert!(ours.unresolved.is_empty(), "{:?}: {sql}", ours.unresolved);
        for row in session.rows(NEEDED) {
            let [Some(relation), Some(verb), Some(columns)] = &row[..] else { panic!("{row:?}") };
            let own = ours.accesses.iter().filter(|access| {
                access.verb.name() == verb
                    && access.object.to_string() == format!("o.{relation}")
                    && access.via.is_empty()
            });
            let mut said: Option<BTreeSet<String>> = Some(BTreeSet::new());
            let mut any = false;
            for access in own {
                any = true;
                match (&access.columns, &mut said) {
                    (Columns::Set(columns), Some(said)) => said.extend(columns.iter().cloned()),
                    _ => said = None,
                }
            }
            let told = |column: &str| said.as_ref().is_none_or(|said| said.contains(column));
            // The server asks for Select on what DO UPDATE … WHERE compares even where no column is named.
            assert!(any || columns.is_empty(), "{verb} {relation} ({columns}): {sql}");
            assert!(
                columns.split_whitespace().all(told),
                "{verb} {relation} ({columns}) is not within {said:?}: {sql}"
            );
        }
    }
    assert!(accepted > 300, "{accepted}");
}
