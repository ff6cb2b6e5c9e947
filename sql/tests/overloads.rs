//! PostgreSQL as the oracle: random expressions over overloads, operators and users' casts become views. What the
//! server stored as called must be among what we say of the text.
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/dice.rs"]
mod dice;
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/server.rs"]
mod server;

use chaperone_sql::Doubt;
use dice::{Dice, read};

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

/// Whether the view's stored tree checks a value against a domain.
const CHECKS: &str = "SELECT ev_action::text OPERATOR(pg_catalog.~~) '%COERCETODOMAIN %' FROM pg_catalog.pg_rewrite \
    WHERE ev_class OPERATOR(pg_catalog.=) 'public.oracle'::pg_catalog.regclass";

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
            let (_, mut functions) = read(&theirs, Some("public.oracle"));
            if !session.rows(CHECKS).iter().flatten().flatten().any(|checks| checks == "t") {
                // The check of every domain that a view names counts for who reads it, whether it runs or not.
                functions.remove("o.positive(integer)");
            }
            calling += usize::from(!functions.is_empty());
            assert!(
                our_functions.is_superset(&functions),
                "{path}: {functions:?} is not within {our_functions:?}: {query}"
            );
        }
    }
    assert!(accepted > 300 && calling > 100, "{accepted} {calling}");
}
