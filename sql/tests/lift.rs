//! Constants lifted: the facts under an equal key are those of a fresh parse. Random statements with constants
//! wherever the grammar takes them are written twice, with other constants, before a real catalog.
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/dice.rs"]
mod dice;
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/server.rs"]
mod server;

use chaperone_sql::{Doubt, Facts, Lift, Refused};
use dice::Dice;

const SCHEMA: &str = "
    CREATE SCHEMA o;
    CREATE TYPE o.colour AS ENUM ('red', 'green');
    CREATE FUNCTION o.positive(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';
    CREATE DOMAIN o.count AS int CHECK (o.positive(VALUE));
    CREATE TABLE o.n (i int, l bigint, n numeric, s text, v varchar(9), k o.count, e o.colour, d date, j jsonb, r regclass);
    CREATE VIEW o.few AS SELECT i, s FROM o.n WHERE i < 10;
    CREATE FUNCTION o.h(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.h(bigint) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.h(numeric) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.h(text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION o.h(o.colour) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION o.same(int, numeric) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.= (LEFTARG = int, RIGHTARG = numeric, FUNCTION = o.same);
    CREATE FUNCTION o.same(int, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.= (LEFTARG = int, RIGHTARG = bigint, FUNCTION = o.same);
    CREATE FUNCTION o.less(text, int) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR o.<= (LEFTARG = text, RIGHTARG = int, FUNCTION = o.less);
    CREATE SEQUENCE o.q1; CREATE SEQUENCE o.q2;
    ALTER DATABASE postgres SET search_path = o, public;";

const INTEGERS: &[&str] = &["0", "1", "2", "007", "42", "2147483647"];
const LONGS: &[&str] = &["2147483649", "3000000000", "9223372036854775807"];
const NUMERICS: &[&str] = &["1.0", "0.5", "3.14", "99999999999999999999", "9223372036854775809"];
const EDGES: &[&str] = &["2147483648", "9223372036854775808", "1e3", ".5", "-1", "- 2"];
/// Strings that would matter if a value could.
const STRINGS: &[&str] = &[
    "''",
    "'a'",
    "'it''s'",
    "'o.n'",
    "'pg_class'",
    "'q1'",
    "'q2'",
    "'red'",
    "'search_path'",
    "'role'",
    "'o.q1'",
    "'1'",
    "'$.a'",
    "'2020-01-01'",
    "'--'",
    "'/*'",
    "E'x'",
    "'back\\slash'",
    "$$x$$",
];
const COLUMNS: &[&str] = &["i", "l", "n", "s", "v", "k", "e", "d", "j", "r"];

/// A statement with holes for constants.
struct Holes(Dice);

impl Holes {
    fn constant(&mut self) -> String {
        match self.0.roll(10) {
            0..=3 => "\u{1}".to_owned(),
            4 => "\u{2}".to_owned(),
            5 => "\u{3}".to_owned(),
            6 => self.0.pick(EDGES).to_owned(),
            _ => "\u{4}".to_owned(),
        }
    }

    fn value(&mut self, depth: usize) -> String {
        let sides = if depth == 0 { 6 } else { 22 };
        match self.0.roll(sides) {
            0 | 1 => self.0.pick(COLUMNS).to_owned(),
            2..=5 => self.constant(),
            6 => format!("-{}", self.value(depth - 1)),
            7..=10 => {
                let operator = self.0.pick(&["+", "-", "*", "/", "||", "%", "->", "->>"]);
                format!("({} {operator} {})", self.value(depth - 1), self.value(depth - 1))
            }
            11 => format!("h({})", self.value(depth - 1)),
            12 => format!("nextval({})", self.constant()),
            13 => format!("set_config('a.b', {}, false)", self.constant()),
            14 => format!(
                "({})::{}",
                self.value(depth - 1),
                self.0.pick(&["int", "text", "regclass", "o.count", "date"])
            ),
            15 => format!(
                "CASE {} WHEN {} THEN {} ELSE {} END",
                self.value(0),
                self.constant(),
                self.value(0),
                self.constant()
            ),
            16 => format!("COALESCE({}, {})", self.value(depth - 1), self.constant()),
            17 => format!("(SELECT {} FROM n LIMIT {})", self.value(depth - 1), self.constant()),
            18 => format!("greatest({}, {})", self.value(depth - 1), self.constant()),
            19 => format!("ARRAY[{}, {}]", self.value(depth - 1), self.constant()),
            20 => format!("substring({} FROM {})", self.value(depth - 1), self.constant()),
            _ => format!("varchar({}) {}", self.constant(), self.constant()),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        let (a, b) = (self.value(depth), self.value(depth));
        match self.0.roll(11) {
            0..=3 => format!("{a} {} {b}", self.0.pick(&["=", "<>", "!=", "<", "<=", ">", ">="])),
            4 => format!("{a} IN ({b}, {})", self.constant()),
            5 => format!("{a} BETWEEN {b} AND {}", self.constant()),
            6 => format!("{a} {} {b}", self.0.pick(&["LIKE", "NOT LIKE", "ILIKE", "SIMILAR TO", "~"])),
            7 => format!("({a}, {b}) = ({}, {})", self.constant(), self.constant()),
            8 => format!("{a} IS DISTINCT FROM {b}"),
            9 => format!("{a} OPERATOR(pg_catalog.=) {b}"),
            _ => format!("({} OR NOT {})", self.condition(depth.saturating_sub(1)), self.condition(0)),
        }
    }

    fn query(&mut self) -> String {
        let mut text = format!(
            "SELECT {}, {} FROM {}",
            self.value(2),
            self.value(1),
            self.0.pick(&["n", "o.n", "few", "pg_settings"])
        );
        if self.0.one_in(2) {
            text = format!("{text} WHERE {}", self.condition(2));
        }
        if self.0.one_in(4) {
            text = format!("{text} GROUP BY {}, {}", self.constant(), self.value(1));
        }
        if self.0.one_in(4) {
            text = format!("{text} ORDER BY {}, {}", self.constant(), self.value(1));
        }
        if self.0.one_in(3) {
            text = format!("{text} LIMIT {} OFFSET {}", self.constant(), self.constant());
        }
        text
    }

    fn statement(&mut self) -> String {
        match self.0.roll(9) {
            0 => format!(
                "INSERT INTO n (i, s) VALUES ({}, {}), ({}, DEFAULT)",
                self.value(1),
                self.constant(),
                self.value(0)
            ),
            1 => format!("INSERT INTO n (i, s) {} RETURNING {}", self.query(), self.value(1)),
            2 => format!(
                "UPDATE n SET i = {}, s = {} WHERE {}",
                self.value(1),
                self.constant(),
                self.condition(1)
            ),
            3 => format!("DELETE FROM n WHERE {}", self.condition(2)),
            4 => format!(
                "WITH w AS ({}) SELECT {} FROM n WHERE {}",
                self.query(),
                self.value(1),
                self.condition(1)
            ),
            5 => format!(
                "MERGE INTO n USING few ON n.i = {} WHEN MATCHED AND n.l = {} THEN UPDATE SET s = {} WHEN NOT MATCHED THEN INSERT (i) VALUES ({})",
                self.constant(),
                self.constant(),
                self.constant(),
                self.constant()
            ),
            6 => format!(
                "SELECT set_config(name, {}, false) FROM pg_settings WHERE name = {}",
                self.constant(),
                self.constant()
            ),
            _ => self.query(),
        }
    }

    fn fill(&mut self, holes: &str) -> String {
        let mut text = String::new();
        for character in holes.chars() {
            match character {
                '\u{1}' => text.push_str(self.0.pick(INTEGERS)),
                '\u{2}' => text.push_str(self.0.pick(LONGS)),
                '\u{3}' => text.push_str(self.0.pick(NUMERICS)),
                '\u{4}' => text.push_str(self.0.pick(STRINGS)),
                ' ' => text.push_str(self.0.pick(&[
                    " ",
                    " ",
                    " ",
                    " ",
                    " ",
                    "  ",
                    "\n",
                    " /* 'x' */ ",
                    " -- 1\n",
                ])),
                other => text.push(other),
            }
        }
        text
    }
}

/// What is said of a statement, without the positions in its text.
fn said(facts: Result<Facts, Refused>) -> String {
    match facts {
        Ok(mut facts) => {
            facts.accesses.iter_mut().for_each(|access| access.position = None);
            facts.unresolved.iter_mut().for_each(|unresolved| unresolved.position = None);
            format!("{facts:?}")
        }
        Err(refused) => format!("{:?} {}", refused.reason, refused.message),
    }
}

#[test]
fn facts_under_an_equal_key_are_those_of_a_fresh_parse() {
    let server = server::Server::start();
    server.script(SCHEMA);
    let mut session = server.connect();
    let mut holes = Holes(Dice { state: 11, levels: Vec::new() });
    let (mut one, mut other) = (Lift::new(), Lift::new());
    let (mut shared, mut understood) = (0, 0);
    for _ in 0..30_000 {
        let statement = holes.statement();
        let (first, second) = (holes.fill(&statement), holes.fill(&statement));
        let (Ok(syntax), Ok(fresh)) = (chaperone_sql::parse(&first), chaperone_sql::parse(&second)) else {
            continue;
        };
        one.read(&first);
        other.read(&second);
        if first == second || one.key() != other.key() {
            continue;
        }
        let pinned = one.pinned(&first, &syntax);
        assert_eq!(pinned, other.pinned(&second, &fresh), "{first}\n{second}");
        one.pin(&first, &pinned);
        other.pin(&second, &pinned);
        if one.key() != other.key() {
            continue;
        }
        shared += 1;
        let mut facts = |syntax: &chaperone_sql::Syntax| {
            session.facts(syntax.statements.first().unwrap(), Doubt::default())
        };
        let (kept, fresh) = (facts(&syntax), facts(&fresh));
        understood += usize::from(kept.is_ok());
        assert_eq!(said(kept), said(fresh), "{first}\n{second}");
    }
    assert!(shared > 2_000, "{shared}");
    assert!(understood * 2 > shared, "{understood} of {shared}");
}
