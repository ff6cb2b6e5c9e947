//! Deep and long texts: an answer or an error on any thread, never a crash, and in bounded time.
#![expect(clippy::unwrap_used, clippy::panic, clippy::unwrap_in_result, reason = "a test may fail this way")]
use std::sync::Arc;

use chaperone_sql::builtins::Version;
use chaperone_sql::{Catalog, Doubt, Prepared, Scope, SessionNames, SyntaxErrorKind, Unready};

/// Parses and walks on a thread with little stack, as a reactor's may be.
fn walk(text: String) -> Result<usize, SyntaxErrorKind> {
    let thread = std::thread::Builder::new().stack_size(640 << 10);
    let work = move || {
        let syntax = chaperone_sql::parse(&text).map_err(|e| e.kind)?;
        let catalog = Catalog::new(Version::V15);
        let session = SessionNames::default();
        let path = ["pg_catalog".to_owned(), "public".to_owned()];
        let scope = Scope {
            version: Version::V15,
            search_path: &path,
            temp_schema: None,
            catalog: &catalog,
            session: &session,
            parameter_types: &[],
            user: "u",
            database: "d",
            doubt: Doubt::default(),
        };
        for statement in &syntax.statements {
            match chaperone_sql::facts(&Arc::clone(statement), &scope) {
                Ok(_) | Err(Unready::Needs(_)) => {}
                Err(Unready::Refused(refused)) => panic!("{refused:?}"),
            }
        }
        Ok(syntax.statements.len())
    };
    thread.spawn(work).unwrap().join().unwrap()
}

#[test]
fn what_must_parse_parses() {
    assert_eq!(walk(format!("select 1{}", " + 1".repeat(1_500))), Ok(1));
    assert_eq!(walk(format!("select 'a'{}", " || 'b'".repeat(3_000))), Ok(1));
    assert_eq!(walk(format!("select {}1{}", "(select ".repeat(40), ")".repeat(40))), Ok(1));
    assert_eq!(walk(format!("select 1{}", " union all select 2".repeat(1_000))), Ok(1));
    assert_eq!(walk(format!("select a from t where a = 1{}", " or a = 2".repeat(5_000))), Ok(1));
    assert_eq!(walk(format!("select a from t where a in (1{})", ", 2".repeat(100_000))), Ok(1));
    assert_eq!(walk("select 1;".repeat(5_000)), Ok(5_000));
}

#[test]
fn what_is_too_deep_or_too_long_is_an_error() {
    let deep = [
        format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("select 1{}", "+1".repeat(100_000)),
        format!("select {}1", "- ".repeat(100_000)),
        format!("select {}true", "not ".repeat(100_000)),
        format!("select {}1{}", "case when true then ".repeat(20_000), " end".repeat(20_000)),
        format!("select 1{}", "::int".repeat(100_000)),
        format!("select 1{}", " union select 1".repeat(60_000)),
        format!("select {}1{}", "array[".repeat(50_000), "]".repeat(50_000)),
        format!("{}1{}", "select f(".repeat(900), ")".repeat(900)),
        format!("{}select 1", "explain ".repeat(10_000)),
        format!("{} x", "/*".repeat(100)),
        format!("select {}", "/*".repeat(200_000)),
    ];
    for text in deep {
        let start: String = text.chars().take(40).collect();
        let answer = walk(text);
        assert!(answer.is_err(), "{start}: {answer:?}");
    }
    assert_eq!(walk(format!("select '{}'", "x".repeat(17 << 20))), Err(SyntaxErrorKind::TooLarge));
}

#[test]
fn an_error_has_the_parsers_message_and_position() {
    let error = chaperone_sql::parse("select 'é', from where").unwrap_err();
    assert_eq!(error.message, "syntax error at or near \"from\"");
    assert_eq!(error.position, Some(13));
    assert_eq!(error.kind, SyntaxErrorKind::Syntax);
    assert_eq!(chaperone_sql::parse("").unwrap().statements.len(), 0);
    assert_eq!(chaperone_sql::parse(" ; ;-- x\n").unwrap().statements.len(), 0);
}

#[test]
fn statements_know_their_place_and_their_parameters() {
    let syntax = chaperone_sql::parse("select $2, $10 ; select 1").unwrap();
    assert_eq!(syntax.statements[0].parameters(), 10);
    assert_eq!(syntax.statements[0].range(), 0..15);
    assert_eq!(syntax.statements[1].range(), 17..25);
}

#[test]
fn a_deep_statement_behind_a_shallow_one_is_walked_with_room() {
    let deep = chaperone_sql::parse(&format!("select 1{}", " + 1".repeat(3_000))).unwrap();
    let statement = Arc::clone(deep.statements.first().unwrap());
    let mut session = SessionNames::default();
    session.statements.insert("p".to_owned(), Prepared { statement, types: Vec::new() });
    let thread = std::thread::Builder::new().stack_size(640 << 10).spawn(move || {
        let path = ["pg_catalog".to_owned()];
        let catalog = Catalog::new(Version::V15);
        let scope = Scope {
            version: Version::V15,
            search_path: &path,
            temp_schema: None,
            catalog: &catalog,
            session: &session,
            parameter_types: &[],
            user: "u",
            database: "d",
            doubt: Doubt::default(),
        };
        let syntax = chaperone_sql::parse("execute p").unwrap();
        let facts = chaperone_sql::facts(syntax.statements.first().unwrap(), &scope);
        assert!(!matches!(facts, Err(Unready::Refused(_))), "{facts:?}");
    });
    thread.unwrap().join().unwrap();
}
