//! Whatever the text, there is an answer: no panic, no endless need for more.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]
use chaperone_sql::builtins::Version;
use chaperone_sql::{Catalog, Doubt, Scope, SessionNames, Unready};
use proptest::prelude::*;

const SEEDS: &[&str] = &[
    "SELECT a, b.*, (c).d[1] FROM t b JOIN u USING (x) LEFT JOIN LATERAL f(1) AS g(h int) ON true WHERE a IN (SELECT 1)",
    "WITH RECURSIVE r(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r) SELECT n FROM r ORDER BY 1 FOR UPDATE",
    "INSERT INTO t (a, b[1]) VALUES (1, DEFAULT) ON CONFLICT (a) DO UPDATE SET a = excluded.a WHERE t.a > 1 RETURNING *",
    "UPDATE t SET (a, b) = (SELECT 1, 2), c = d FROM u WHERE t.a = u.a RETURNING t.*, ctid",
    "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED AND t.b THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "COPY (SELECT 1) TO STDOUT WITH (FORMAT csv); COPY t (a) FROM STDIN",
    "CREATE TABLE x (a int DEFAULT f(), CHECK (a > 0), FOREIGN KEY (a) REFERENCES t (b)) PARTITION BY RANGE (a)",
    "ALTER TABLE t ADD COLUMN a int, ALTER COLUMN b TYPE text USING f(b), DROP COLUMN c CASCADE",
    "SELECT json_table.* FROM JSON_TABLE(a, '$' COLUMNS (b int PATH '$.b', NESTED PATH '$' COLUMNS (c text))), xmltable('/a' PASSING b COLUMNS c int)",
    "SELECT CASE WHEN a THEN b END, COALESCE(a, b), x::mytype, ROW(1, 2) = ROW(a, b), NULLIF(a, 1), a BETWEEN 1 AND 2, a LIKE ANY (ARRAY['x'])",
    "SET search_path = a, b; RESET ALL; BEGIN; SAVEPOINT a; EXPLAIN ANALYZE SELECT 1; PREPARE p AS SELECT $1; EXECUTE p (1)",
    "GRANT SELECT (a), INSERT ON t TO u; DROP FUNCTION f(int, text); COMMENT ON COLUMN a.b.c IS 'x'; TRUNCATE a, b CASCADE",
];

fn walk(text: &str) {
    let Ok(syntax) = chaperone_sql::parse(text) else { return };
    let catalog = Catalog::new(Version::V15);
    let session = SessionNames::default();
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    for version in [Version::V13, Version::V18] {
        for doubt in [Doubt::default(), Doubt { path: true, names: true, catalog: true }] {
            let scope = Scope {
                version,
                search_path: &path,
                temp_schema: Some("pg_temp_1"),
                catalog: &catalog,
                session: &session,
                parameter_types: &[23],
                user: "u",
                database: "d",
                doubt,
            };
            for statement in &syntax.statements {
                match chaperone_sql::facts(statement, &scope) {
                    Ok(_) | Err(Unready::Refused(_)) => {}
                    Err(Unready::Needs(needs)) => {
                        for question in needs.questions() {
                            assert_eq!(chaperone_sql::parse(question.sql()).unwrap().statements.len(), 1);
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn mutated_statements_never_panic(
        seed in 0..SEEDS.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4, "[ -~]{0,3}"), 0..4),
    ) {
        let mut text = SEEDS[seed].to_owned();
        for (at, length, new) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &new);
            }
        }
        walk(&text);
    }

    #[test]
    fn spliced_statements_never_panic(a in 0..SEEDS.len(), b in 0..SEEDS.len(), cut in any::<prop::sample::Index>()) {
        let words: Vec<&str> = SEEDS[a].split(' ').chain(SEEDS[b].split(' ')).collect();
        let at = cut.index(words.len());
        let (left, right) = words.split_at(at);
        walk(&format!("{} {}", right.join(" "), left.join(" ")));
    }

    #[test]
    fn any_text_has_an_answer(text in "\\PC{0,60}") {
        walk(&text);
        drop(chaperone_sql::template(&text));
    }
}

#[test]
fn the_seeds_parse() {
    for seed in SEEDS {
        chaperone_sql::parse(seed).unwrap_or_else(|e| panic!("{e}: {seed}"));
        walk(seed);
    }
}
