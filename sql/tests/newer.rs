//! Words that became grammar: an older server reads them as names of functions or columns, so it must not see them.
#![expect(clippy::expect_used, reason = "a test may fail this way")]

use std::sync::Arc;

use chaperone_sql::builtins::{ALL_VERSIONS, Version};
use chaperone_sql::{Catalog, Doubt, Reason, Scope, SessionNames, Unready};

fn refused(sql: &str, version: Version) -> bool {
    let catalog = Catalog::new(version);
    let session = SessionNames::default();
    let path = ["pg_catalog".to_owned(), "public".to_owned()];
    let scope = Scope {
        version,
        search_path: &path,
        temp_schema: None,
        catalog: &catalog,
        session: &session,
        parameter_types: &[],
        user: "u",
        database: "d",
        doubt: Doubt::default(),
    };
    let syntax = chaperone_sql::parse(sql).expect("parses");
    let statement = syntax.statements.first().map(Arc::clone).expect("a statement");
    let facts = chaperone_sql::facts(&statement, &scope);
    matches!(facts, Err(Unready::Refused(refused)) if refused.reason == Reason::NewerThanServer)
}

#[test]
fn grammar_newer_than_the_server_is_refused() {
    let first = [
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE", Version::V15),
        ("SELECT system_user", Version::V16),
        ("SELECT JSON_ARRAY(1, 2)", Version::V16),
        ("SELECT JSON_ARRAY(SELECT 1)", Version::V16),
        ("SELECT JSON_OBJECT('a': 1)", Version::V16),
        ("SELECT JSON_ARRAYAGG(a) FROM t", Version::V16),
        ("SELECT JSON_OBJECTAGG(a: b) FROM t", Version::V16),
        ("SELECT '1' IS JSON", Version::V16),
        ("SELECT JSON('1')", Version::V17),
        ("SELECT JSON_SCALAR(1)", Version::V17),
        ("SELECT JSON_SERIALIZE('1')", Version::V17),
        ("SELECT JSON_EXISTS(j, '$') FROM t", Version::V17),
        ("SELECT JSON_QUERY(j, '$') FROM t", Version::V17),
        ("SELECT JSON_VALUE(j, '$') FROM t", Version::V17),
        ("SELECT * FROM JSON_TABLE('1', '$' COLUMNS (a int PATH '$')) x", Version::V17),
        ("MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE RETURNING merge_action()", Version::V17),
        ("DELETE FROM t RETURNING WITH (OLD AS o) o.*", Version::V18),
    ];
    for (sql, since) in first {
        for version in ALL_VERSIONS {
            assert_eq!(refused(sql, version), version < since, "{version}: {sql}");
        }
    }
}
