use pg_query::protobuf::Token;

use super::*;

/// The key of a text, with its pinned constants.
fn key(text: &str) -> Vec<u8> {
    let mut lift = Lift::new();
    lift.read(text);
    let syntax = crate::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let pinned = lift.pinned(text, &syntax);
    lift.pin(text, &pinned);
    lift.key().to_vec()
}

fn is_exact(text: &str) -> bool {
    let mut lift = Lift::new();
    lift.read(text);
    lift.key().first() == Some(&EXACT)
}

#[test]
fn operands_rows_and_bounds_share_a_key() {
    for (one, other) in [
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 22"),
        ("SELECT a FROM t WHERE b = -1", "SELECT a FROM t WHERE b = -22"),
        ("SELECT a FROM t WHERE b = - 1", "SELECT a FROM t WHERE b = - 22"),
        ("SELECT a FROM t WHERE b=-1", "SELECT a FROM t WHERE b=-3"),
        ("SELECT a FROM t WHERE b + 1 > 1.5 * c", "SELECT a FROM t WHERE b + 7 > 12345.678 * c"),
        ("SELECT a FROM t WHERE b IN (1, 'x')", "SELECT a FROM t WHERE b IN (9, 'it''s')"),
        ("SELECT a FROM t WHERE b NOT BETWEEN 1 AND 2", "SELECT a FROM t WHERE b NOT BETWEEN 3 AND 4"),
        ("SELECT a FROM t WHERE b LIKE 'x%'", "SELECT a FROM t WHERE b LIKE '%secret%'"),
        ("SELECT a FROM t LIMIT 1 OFFSET 2", "SELECT a FROM t LIMIT 10 OFFSET 20"),
        ("SELECT a FROM t FETCH FIRST 1 ROW ONLY", "SELECT a FROM t FETCH FIRST 5 ROW ONLY"),
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO t VALUES (3, ''), (4, 'c')"),
        ("VALUES (1), (2)", "VALUES (3), (4)"),
        ("UPDATE t SET a = 1, b = 'x' WHERE c = 2", "UPDATE t SET a = 9, b = '' WHERE c = 7"),
        ("DELETE FROM t WHERE a = 'x';", "DELETE FROM t WHERE a = 'y';"),
        (
            "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 2 WHERE t.c < 3",
            "INSERT INTO t VALUES (7) ON CONFLICT (a) DO UPDATE SET b = 8 WHERE t.c < 9",
        ),
        (
            "MERGE INTO t USING u ON t.a = 1 WHEN MATCHED AND t.b = 2 THEN UPDATE SET c = 3 WHEN NOT MATCHED THEN INSERT VALUES (4)",
            "MERGE INTO t USING u ON t.a = 5 WHEN MATCHED AND t.b = 6 THEN UPDATE SET c = 7 WHEN NOT MATCHED THEN INSERT VALUES (8)",
        ),
        (
            "WITH x AS (SELECT 1 + 2) SELECT a FROM x JOIN y ON y.b = 3 WHERE EXISTS (SELECT a FROM z WHERE c > 4)",
            "WITH x AS (SELECT 7 + 8) SELECT a FROM x JOIN y ON y.b = 9 WHERE EXISTS (SELECT a FROM z WHERE c > 0)",
        ),
        ("SELECT a /* one */ FROM t\n WHERE b=1 -- x", "SELECT a\tFROM   t WHERE b=2"),
        (
            "SELECT f(1 + 2), CASE WHEN a = 3 THEN b END FROM t",
            "SELECT f(7 + 8), CASE WHEN a = 9 THEN b END FROM t",
        ),
    ] {
        assert!(!is_exact(one), "{one}");
        assert_eq!(key(one), key(other), "{one}\n{other}");
    }
}

#[test]
fn where_more_than_the_class_counts_the_value_is_a_part_of_the_key() {
    for (one, other) in [
        ("SELECT 1", "SELECT 2"),
        ("SELECT f(1)", "SELECT f(2)"),
        ("SELECT nextval('a')", "SELECT nextval('b')"),
        ("SELECT a FROM t ORDER BY 1", "SELECT a FROM t ORDER BY 2"),
        ("SELECT a FROM t GROUP BY 1", "SELECT a FROM t GROUP BY 2"),
        ("SELECT DISTINCT ON (1) a FROM t", "SELECT DISTINCT ON (2) a FROM t"),
        ("SELECT a FROM t WHERE b = 'x'::regclass", "SELECT a FROM t WHERE b = 'y'::regclass"),
        ("SELECT a FROM t WHERE b = regclass 'x'", "SELECT a FROM t WHERE b = regclass 'y'"),
        ("SELECT a::varchar(1) FROM t", "SELECT a::varchar(2) FROM t"),
        ("SELECT a FROM t WHERE b -> 'x' = c", "SELECT a FROM t WHERE b -> 'y' = c"),
        ("SELECT a FROM t WHERE b || 'x' = c", "SELECT a FROM t WHERE b || 'y' = c"),
        ("SELECT a FROM t WHERE b OPERATOR(s.=) 1", "SELECT a FROM t WHERE b OPERATOR(s.=) 2"),
        ("SELECT a FROM t TABLESAMPLE system (1)", "SELECT a FROM t TABLESAMPLE system (2)"),
        ("SELECT b[1] FROM t", "SELECT b[2] FROM t"),
        // Another class, or another token.
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 3000000000"),
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = 1.0"),
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = '1'"),
        ("SELECT a FROM t WHERE b = 9223372036854775807", "SELECT a FROM t WHERE b = 9223372036854775809"),
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = -1"),
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE c = 1"),
        ("SELECT a FROM t WHERE b = 1", "SELECT a FROM \"T\" WHERE b = 1"),
        ("SELECT a FROM t WHERE b IN (1)", "SELECT a FROM t WHERE b IN (1, 2)"),
        // pg_dump sets a setting that a comparison names.
        (
            "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'a'",
            "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'b'",
        ),
    ] {
        assert_ne!(key(one), key(other), "{one}\n{other}");
    }
}

#[test]
fn what_is_unusual_is_its_own_key() {
    for text in [
        "SELECT a FROM t WHERE b = E'x'",
        "SELECT a FROM t WHERE b = e'x'",
        "SELECT a FROM t WHERE b = U&'x'",
        "SELECT a FROM t WHERE U&\"x\" = 1",
        "SELECT a FROM t WHERE b = $$x$$",
        "SELECT a FROM t WHERE b = $x$y$x$",
        "SELECT a FROM t WHERE b = B'1'",
        "SELECT a FROM t WHERE b = X'1'",
        "SELECT a FROM t WHERE b = n'x'",
        "SELECT a FROM t WHERE b = 'é'",
        "SELECT a FROM é WHERE b = 1",
        "SELECT a FROM t WHERE b = 'back\\slash'",
        "SELECT a FROM t WHERE b = 'one'\n'two'",
        "SELECT a FROM t WHERE b = 'one' -- more\n 'two'",
        "SELECT a FROM t WHERE b = 1e5",
        "SELECT a FROM t WHERE b = .5",
        "SELECT a FROM t WHERE b = 5.",
        "SELECT a FROM t WHERE b = 1_000",
        "SELECT a FROM t WHERE b = 0x1f",
        "SELECT a FROM t WHERE b = 2147483648",
        "SELECT a FROM t WHERE b = 9223372036854775808",
        "SELECT a FROM t WHERE b = 1; SELECT 2",
        "SELECT a FROM t WHERE b = 1;;",
        "SELECT a FROM t WHERE b = 'open",
        "SELECT a FROM t WHERE b = 1 /* open",
        "SELECT a FROM t WHERE \"open = 1",
        "EXPLAIN SELECT a FROM t WHERE b = 1",
        "SET work_mem = 1",
        "COPY (SELECT a FROM t WHERE b = 1) TO STDOUT",
        ";",
    ] {
        assert!(is_exact(text), "{text}");
    }
}

#[test]
fn an_exact_key_is_no_other_texts_key() {
    let (exact, lifted) = ("SET a = 1", "SELECT a FROM t WHERE b = 1");
    let mut lift = Lift::new();
    lift.read(exact);
    assert_eq!(lift.key(), [&[EXACT], exact.as_bytes()].concat());
    lift.read(lifted);
    assert_ne!(lift.key().first(), Some(&EXACT));
}

/// Pieces that texts are put together from: what PostgreSQL's scanner and ours might read differently.
const PIECES: &[&str] = &[
    "a",
    "u",
    "e",
    "b",
    "x",
    "n",
    "'",
    "''",
    "'x'",
    "\"",
    "\"q\"",
    "$1",
    "$",
    "$$",
    "$a$",
    "1",
    "12",
    "007",
    "1.5",
    ".",
    "..",
    ".5",
    "e5",
    "-",
    "--",
    "+",
    "/",
    "*",
    "/*",
    "*/",
    "/**/",
    "&",
    "U&",
    " ",
    "\n",
    "\t",
    ";",
    "(",
    ")",
    ",",
    "=",
    "<",
    ">",
    "!",
    "@",
    "::",
    ":",
    "[",
    "]",
    "\\",
    "0x1",
    "1_0",
    "%",
    "^",
    "|",
    "?",
    "#",
    "~",
    "`",
    "_",
    "2147483647",
    "2147483648",
    "3000000000",
    "9223372036854775808",
    "99999999999999999999",
    "SELECT",
    "FROM",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 20_000, ..Default::default() })]

    #[test]
    fn constants_are_those_of_postgres(pieces in proptest::collection::vec(0..PIECES.len(), 0..14)) {
        let text = format!("SELECT {}", pieces.iter().map(|piece| PIECES[*piece]).collect::<String>());
        let mut lift = Lift::new();
        lift.read(&text);
        if lift.key().first() == Some(&EXACT) {
            return Ok(());
        }
        // What PostgreSQL cannot read is never remembered.
        let Ok(scanned) = pg_query::scan(&text) else { return Ok(()) };
        let constants: Vec<_> = scanned
            .tokens
            .iter()
            .filter(|token| matches!(token.token(), Token::Iconst | Token::Fconst | Token::Sconst))
            .map(|token| usize::try_from(token.start).unwrap()..usize::try_from(token.end).unwrap())
            .collect();
        proptest::prop_assert_eq!(&lift.constants, &constants, "{}", text);
        let unusual = scanned.tokens.iter().find(|token| {
            matches!(token.token(), Token::Bconst | Token::Xconst | Token::Usconst | Token::Uident)
        });
        proptest::prop_assert!(unusual.is_none(), "{}", text);
    }
}
