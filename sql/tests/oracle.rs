//! PostgreSQL as the oracle: thousands of random queries, full of names that shadow each other, become views. What
//! the server stored as read and called must be among what we say of the query's text.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};

use chaperone_sql::{Doubt, Facts};
use policy::{Columns, Object, Verb};

const SCHEMA: &str = "
    CREATE SCHEMA o;
    CREATE TABLE o.t1 (a text UNIQUE, b text, c text);
    CREATE TABLE o.t2 (b text, c text, d text);
    CREATE TABLE o.t3 (c text, d text, e text);
    CREATE TABLE o.t4 (a text, e text, t1 text);
    CREATE VIEW o.v1 AS SELECT a, b FROM o.t1 WHERE c = 'x';
    CREATE FUNCTION o.f(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION o.g(o.t2) RETURNS text LANGUAGE sql AS 'SELECT $1.d';
    ALTER DATABASE postgres SET search_path = o, public;";

/// The tables and what they have.
const TABLES: &[(&str, &[&str])] = &[
    ("t1", &["a", "b", "c"]),
    ("t2", &["b", "c", "d"]),
    ("t3", &["c", "d", "e"]),
    ("t4", &["a", "e", "t1"]),
    ("v1", &["a", "b"]),
];
const COLUMNS: &[&str] = &["a", "b", "c", "d", "e", "t1", "g"];
const ALIASES: &[&str] = &["t1", "t2", "t3", "x", "y", "a"];

/// What a name reaches at one level: aliases and their columns.
type Level = Vec<(String, Vec<String>)>;

/// A small generator of numbers and queries: the same in every run.
struct Dice {
    state: u64,
    levels: Vec<Level>,
}

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from.get(self.roll(from.len())).unwrap()
    }

    /// A column that is in sight at some level, most often; now and then any name.
    fn column(&mut self) -> String {
        if self.one_in(12) || self.levels.iter().all(Vec::is_empty) {
            return format!("{}.{}", self.pick(ALIASES), self.pick(COLUMNS));
        }
        let depth = if self.one_in(3) { self.roll(self.levels.len()) } else { self.levels.len() - 1 };
        let level = self.levels.get(depth).unwrap().clone();
        if level.is_empty() {
            return self.pick(COLUMNS).to_owned();
        }
        let (alias, columns) = level.get(self.roll(level.len())).unwrap().clone();
        let column = columns.get(self.roll(columns.len())).unwrap();
        match self.roll(12) {
            0 => alias,
            1 => format!("{alias}.g"),
            2..=4 => column.clone(),
            _ => format!("{alias}.{column}"),
        }
    }

    fn row(&mut self) -> String {
        let level = self.levels.last().unwrap().clone();
        if level.is_empty() { "x".to_owned() } else { level.get(self.roll(level.len())).unwrap().0.clone() }
    }

    fn expression(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 5 } else { 13 }) {
            0..=4 => self.column(),
            5 => format!("CASE WHEN {} IS NULL THEN {}::text END", self.column(), self.column()),
            6 => format!("f({}::text)", self.column()),
            7 => format!("o.f(({})::text)", self.expression(depth - 1)),
            8 => format!("({})", self.query(depth - 1, 1)),
            9 => format!("EXISTS ({})", self.query(depth - 1, 1)),
            10 => format!("count({}) OVER (PARTITION BY {}::text)", self.column(), self.column()),
            11 => format!("row_to_json({})", self.row()),
            _ => format!("{}::text || {}::text", self.column(), self.column()),
        }
    }

    /// An alias, which may rename the first columns.
    fn alias(&mut self, columns: &[String]) -> (String, (String, Vec<String>)) {
        let alias = self.pick(ALIASES);
        let mut columns = columns.to_vec();
        if self.one_in(4) && !columns.is_empty() {
            let name = self.pick(COLUMNS);
            name.clone_into(columns.get_mut(0).unwrap());
            return (format!(" AS {alias}({name})"), (alias.to_owned(), columns));
        }
        (format!(" AS {alias}"), (alias.to_owned(), columns))
    }

    /// An item of FROM, and what it brings into sight.
    fn item(&mut self, depth: usize) -> (String, Level) {
        let kind = if depth == 0 { 0 } else { self.roll(8) };
        match kind {
            0..=2 => {
                let (table, columns) = *TABLES.get(self.roll(TABLES.len())).unwrap();
                let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
                let table = if self.one_in(5) { format!("o.{table}") } else { table.to_owned() };
                if self.one_in(3) {
                    return (table.clone(), vec![(table.trim_start_matches("o.").to_owned(), columns)]);
                }
                let (alias, brought) = self.alias(&columns);
                (table + &alias, vec![brought])
            }
            3 | 4 => {
                let lateral = if kind == 4 { "LATERAL " } else { "" };
                let outputs = ["q".to_owned(), "r".to_owned()];
                let query = self.named_query(depth - 1);
                let (alias, brought) = self.alias(&outputs);
                (format!("{lateral}({query}){alias}"), vec![brought])
            }
            5 => {
                let (sql, level) = self.join(depth - 1);
                let columns: Vec<String> = level.into_iter().flat_map(|(_, columns)| columns).collect();
                let (alias, brought) = self.alias(&columns);
                (format!("({sql}){alias}"), vec![brought])
            }
            _ => self.join(depth - 1),
        }
    }

    fn join(&mut self, depth: usize) -> (String, Level) {
        let (left, mut level) = self.item(depth);
        let (right, more) = self.item(depth);
        level.extend(more);
        let sql = match self.roll(5) {
            0 => format!("{left} NATURAL JOIN {right}"),
            1 => format!("{left} CROSS JOIN {right}"),
            2 => format!("{left} LEFT JOIN {right} USING ({})", self.pick(&["a", "b", "c", "d"])),
            3 => {
                level.push(("m".to_owned(), vec!["c".to_owned()]));
                format!("{left} JOIN {right} USING (c) AS m")
            }
            _ => {
                self.levels.push(level.clone());
                let condition = self.condition(0);
                self.levels.pop();
                format!("{left} JOIN {right} ON {condition}")
            }
        };
        (sql, level)
    }

    fn condition(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 2 } else { 4 }) {
            0 => format!("{}::text = {}::text", self.column(), self.column()),
            1 => format!("{} IS NOT NULL", self.expression(depth)),
            2 => format!(
                "{}::text IN (SELECT u.q::text FROM ({}) AS u)",
                self.column(),
                self.named_query(depth - 1)
            ),
            _ => format!("({} OR {})", self.condition(depth - 1), self.condition(depth - 1)),
        }
    }

    /// A query whose columns are called q and r.
    fn named_query(&mut self, depth: usize) -> String {
        format!("SELECT n.p1 AS q, n.p2 AS r FROM ({}) AS n(p1, p2)", self.query(depth, 2))
    }

    /// A query with that many columns.
    fn query(&mut self, depth: usize, width: usize) -> String {
        if depth > 0 && self.one_in(9) {
            let (left, right) = (self.named_query(depth - 1), self.named_query(depth - 1));
            let columns = if width == 1 { "q::text" } else { "q::text, r::text" };
            return format!(
                "SELECT {columns} FROM ({left}) AS l UNION ALL SELECT {columns} FROM ({right}) AS l ORDER BY 1"
            );
        }
        if depth > 0 && self.one_in(6) {
            let (name, inner) = (self.pick(&["x", "t1", "t2"]), self.query(depth - 1, 2));
            let level = (name.to_owned(), vec!["a".to_owned(), "b".to_owned()]);
            return format!("WITH {name}(a, b) AS ({inner}) {}", self.plain(depth - 1, width, Some(level)));
        }
        self.plain(depth, width, None)
    }

    fn plain(&mut self, depth: usize, width: usize, cte: Option<(String, Vec<String>)>) -> String {
        let (mut from, mut level) = self.item(depth);
        if let Some((name, columns)) = cte {
            from = format!("{name}, {from}");
            level.push((name, columns));
        }
        if self.one_in(3) {
            let (more, brought) = self.item(depth);
            from = format!("{from}, {more}");
            level.extend(brought);
        }
        self.levels.push(level);
        let outputs: Vec<String> = (0..width)
            .map(|at| match self.roll(8) {
                0 if width == 2 && at == 0 => format!("{}.*", self.row()),
                1 => format!("{} AS {}", self.expression(depth), self.pick(COLUMNS)),
                _ => self.expression(depth),
            })
            .collect();
        let mut query = format!("SELECT {} FROM {from}", outputs.join(", "));
        if self.one_in(2) {
            query += &format!(" WHERE {}", self.condition(depth));
        }
        if self.one_in(4) {
            query += &format!(" ORDER BY {}::text", self.column());
        } else if self.one_in(6) {
            query += &format!(" ORDER BY {}", self.pick(COLUMNS));
        }
        self.levels.pop();
        query
    }
}

/// Columns by relation, and users' functions. None is all columns.
type Read = (BTreeMap<String, Option<BTreeSet<String>>>, BTreeSet<String>);

fn read(facts: &Facts, through: Option<&str>) -> Read {
    let (mut relations, mut functions) = (BTreeMap::new(), BTreeSet::new());
    for access in &facts.accesses {
        let via: Vec<String> = access.via.iter().map(|via| via.relation.to_string()).collect();
        let direct =
            via.iter().map(String::as_str).collect::<Vec<_>>() == through.into_iter().collect::<Vec<_>>();
        match (&access.object, access.verb) {
            (Object::Relation(name), Verb::Select) if direct => {
                let known = relations.entry(name.to_string()).or_insert_with(|| Some(BTreeSet::new()));
                match (known.as_mut(), &access.columns) {
                    (Some(known), Columns::Set(columns)) => known.extend(columns.iter().cloned()),
                    (_, Columns::All) => *known = None,
                    (None, Columns::Set(_)) => {}
                }
            }
            (Object::Function(name), _)
                if direct && !name.schema.starts_with("pg_") && name.extension.is_none() =>
            {
                functions.insert(name.to_string());
            }
            _ => {}
        }
    }
    (relations, functions)
}

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

const TYPED: &str = "
    CREATE EXTENSION citext;
    CREATE SCHEMA o;
    CREATE TYPE o.colour AS ENUM ('red', 'green');
    CREATE TYPE o.pair AS (p int, q text);
    CREATE FUNCTION o.positive(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';
    CREATE DOMAIN o.count AS int CHECK (o.positive(VALUE));
    CREATE TABLE o.n (i int, l bigint, n numeric, s text, v varchar(9), f float8, k o.count, e o.colour, t timestamptz,
        d date, j jsonb, ia int[], ta text[], ea o.colour[], c citext, b boolean, p o.pair, u uuid, y \"char\", m name);
    CREATE FUNCTION o.to_int(o.colour) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE CAST (o.colour AS int) WITH FUNCTION o.to_int(o.colour) AS IMPLICIT;
    CREATE FUNCTION o.to_colour(text) RETURNS o.colour LANGUAGE sql AS 'SELECT NULL::o.colour';
    CREATE CAST (text AS o.colour) WITH FUNCTION o.to_colour(text) AS ASSIGNMENT;
    CREATE FUNCTION o.h(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.h(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION o.h(o.colour) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.h(numeric, int DEFAULT 1) RETURNS numeric LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION o.h(VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT NULL::text';
    CREATE FUNCTION o.g(anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION o.g(anyarray) RETURNS anyelement LANGUAGE sql AS 'SELECT $1[1]';
    CREATE FUNCTION o.g(o.pair) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.q(o.pair) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.z(o.n) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.lower(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION o.abs(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION o.length(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.plus(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE OPERATOR o.+ (LEFTARG = text, RIGHTARG = text, FUNCTION = o.plus);
    CREATE FUNCTION o.same(o.colour, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.= (LEFTARG = o.colour, RIGHTARG = int, FUNCTION = o.same);
    CREATE FUNCTION o.same(int, numeric) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.= (LEFTARG = int, RIGHTARG = numeric, FUNCTION = o.same);
    CREATE FUNCTION o.same(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.= (LEFTARG = int, RIGHTARG = int, FUNCTION = o.same);
    CREATE FUNCTION o.likes(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = o.likes);
    CREATE FUNCTION o.less(text, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.<= (LEFTARG = text, RIGHTARG = int, FUNCTION = o.less);
    CREATE FUNCTION o.minus(o.colour) RETURNS o.colour LANGUAGE sql AS 'SELECT $1';
    CREATE OPERATOR o.- (RIGHTARG = o.colour, FUNCTION = o.minus);
    CREATE FUNCTION o.contains(anyarray, anyelement) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.@> (LEFTARG = anyarray, RIGHTARG = anyelement, FUNCTION = o.contains);
    CREATE AGGREGATE o.max(o.colour) (SFUNC = o.keep, STYPE = o.colour);";

/// Random expressions over typed columns, overloads and users' casts.
struct Typed(Dice);

impl Typed {
    fn leaf(&mut self) -> String {
        const COLUMNS: &[&str] = &[
            "i", "l", "n", "s", "v", "f", "k", "e", "t", "d", "j", "ia", "ta", "ea", "c", "b", "p", "u", "y",
            "m",
        ];
        const CONSTANTS: &[&str] =
            &["1", "2.5", "'red'", "'1'", "NULL", "true", "9999999999", "n", "ARRAY[1, 2]", "$q$x$q$"];
        if self.0.one_in(3) {
            self.0.pick(CONSTANTS).to_owned()
        } else {
            format!("n.{}", self.0.pick(COLUMNS))
        }
    }

    #[expect(clippy::too_many_lines, reason = "one line for each form")]
    fn of(&mut self, depth: usize) -> String {
        const BINARY: &[&str] = &[
            "+",
            "-",
            "*",
            "=",
            "<>",
            "<",
            "<=",
            "||",
            "LIKE",
            "@>",
            "->",
            "->>",
            "~~",
            "IS DISTINCT FROM",
            "!~~",
        ];
        const CALLS: &[&str] = &[
            "h",
            "o.h",
            "g",
            "lower",
            "abs",
            "length",
            "max",
            "coalesce",
            "greatest",
            "round",
            "count",
            "to_jsonb",
            "pg_catalog.lower",
            "date_trunc",
            "concat",
            "array_agg",
            "unnest",
            "o.q",
            "z",
            "upper",
        ];
        const TYPES: &[&str] = &[
            "int",
            "text",
            "numeric",
            "o.colour",
            "o.count",
            "count",
            "bigint",
            "text[]",
            "o.colour[]",
            "varchar(3)",
            "citext",
            "date",
            "o.pair",
        ];
        if depth == 0 {
            return self.leaf();
        }
        let d = depth - 1;
        match self.0.roll(15) {
            0..=3 => format!("({} {} {})", self.of(d), self.0.pick(BINARY), self.of(d)),
            4 | 5 => format!("{}({})", self.0.pick(CALLS), self.of(d)),
            6 => format!("{}({}, {})", self.0.pick(CALLS), self.of(d), self.of(d)),
            7 => format!("({})::{}", self.of(d), self.0.pick(TYPES)),
            8 => format!("({} IN ({}, {}))", self.of(d), self.of(d), self.of(d)),
            9 => format!("({} BETWEEN {} AND {})", self.of(d), self.of(d), self.of(d)),
            10 => format!("({} = ANY ({}))", self.of(d), self.of(d)),
            11 => {
                format!("CASE {} WHEN {} THEN {} ELSE {} END", self.of(d), self.of(d), self.of(d), self.of(d))
            }
            12 => format!("NULLIF({}, {})", self.of(d), self.of(d)),
            13 => format!("(ROW({}, {}) = ROW({}, {}))", self.of(d), self.of(d), self.of(d), self.of(d)),
            _ => match self.0.roll(6) {
                0 => format!("(- {})", self.of(d)),
                1 => format!("({})[1]", self.of(d)),
                2 => format!("o.count({})", self.of(d)),
                3 => format!("({} IN (SELECT {} FROM o.n))", self.of(d), self.of(d)),
                4 => "(n).z".to_owned(),
                _ => format!("({} = ALL (SELECT {} FROM o.n))", self.of(d), self.of(d)),
            },
        }
    }
}

#[test]
fn the_server_calls_nothing_that_we_did_not_say() {
    let server = server::Server::start();
    let schema = TYPED.replace(
        "CREATE AGGREGATE",
        "CREATE FUNCTION o.keep(o.colour, o.colour) RETURNS o.colour LANGUAGE sql AS 'SELECT $1'; CREATE AGGREGATE",
    );
    server.script(&schema);
    let mut session = server.connect();
    let (mut accepted, mut calling) = (0, 0);
    for (seed, path) in [(11, "o, public"), (12, "o, pg_catalog, public"), (13, "public, o")] {
        session.run(&format!("SET search_path = {path}"));
        let mut dice = Typed(Dice { state: seed, levels: Vec::new() });
        for _ in 0..5_000 {
            let depth = 1 + dice.0.roll(3);
            let query = format!("SELECT {} AS x FROM o.n AS n", dice.of(depth));
            if !session.makes_view("public.oracle", &query) {
                continue;
            }
            accepted += 1;
            let syntax = chaperone_sql::parse(&query).unwrap();
            let ours = session.facts(syntax.statements.first().unwrap(), Doubt::default());
            let ours = ours.unwrap_or_else(|refused| panic!("{}: {query}", refused.message));
            assert!(ours.unresolved.is_empty(), "{:?}: {query}", ours.unresolved);
            let syntax = chaperone_sql::parse("SELECT x FROM public.oracle").unwrap();
            let theirs = session.facts(syntax.statements.first().unwrap(), Doubt::default()).unwrap();
            session.catalog.forget_schema("public");
            let (_, our_functions) = read(&ours, None);
            let (_, functions) = read(&theirs, Some("public.oracle"));
            calling += usize::from(!functions.is_empty());
            assert!(
                our_functions.is_superset(&functions),
                "{path}: {functions:?} is not within {our_functions:?}: {query}"
            );
        }
    }
    assert!(accepted > 300 && calling > 100, "{accepted} {calling}");
}
