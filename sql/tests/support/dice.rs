//! Random queries for the tests that hold us against the server, and what is compared.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::collections::{BTreeMap, BTreeSet};

use chaperone_sql::Facts;
use policy::{Columns, Object, Verb};

pub(crate) const SCHEMA: &str = "
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
pub(crate) const TABLES: &[(&str, &[&str])] = &[
    ("t1", &["a", "b", "c"]),
    ("t2", &["b", "c", "d"]),
    ("t3", &["c", "d", "e"]),
    ("t4", &["a", "e", "t1"]),
    ("v1", &["a", "b"]),
];
pub(crate) const COLUMNS: &[&str] = &["a", "b", "c", "d", "e", "t1", "g"];
pub(crate) const ALIASES: &[&str] = &["t1", "t2", "t3", "x", "y", "a"];

/// What a name reaches at one level: aliases and their columns.
pub(crate) type Level = Vec<(String, Vec<String>)>;

/// A small generator of numbers and queries: the same in every run.
pub(crate) struct Dice {
    pub(crate) state: u64,
    pub(crate) levels: Vec<Level>,
}

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.state >> 33).unwrap() % sides
    }

    pub(crate) fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    pub(crate) fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from.get(self.roll(from.len())).unwrap()
    }

    /// A column that is in sight at some level, most often; now and then any name.
    pub(crate) fn column(&mut self) -> String {
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

    pub(crate) fn row(&mut self) -> String {
        let level = self.levels.last().unwrap().clone();
        if level.is_empty() { "x".to_owned() } else { level.get(self.roll(level.len())).unwrap().0.clone() }
    }

    pub(crate) fn expression(&mut self, depth: usize) -> String {
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
    pub(crate) fn alias(&mut self, columns: &[String]) -> (String, (String, Vec<String>)) {
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
    pub(crate) fn item(&mut self, depth: usize) -> (String, Level) {
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

    pub(crate) fn join(&mut self, depth: usize) -> (String, Level) {
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

    pub(crate) fn condition(&mut self, depth: usize) -> String {
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
    pub(crate) fn named_query(&mut self, depth: usize) -> String {
        format!("SELECT n.p1 AS q, n.p2 AS r FROM ({}) AS n(p1, p2)", self.query(depth, 2))
    }

    /// A query with that many columns.
    pub(crate) fn query(&mut self, depth: usize, width: usize) -> String {
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

    pub(crate) fn plain(&mut self, depth: usize, width: usize, cte: Option<(String, Vec<String>)>) -> String {
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
pub(crate) type Read = (BTreeMap<String, Option<BTreeSet<String>>>, BTreeSet<String>);

pub(crate) fn read(facts: &Facts, through: Option<&str>) -> Read {
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
