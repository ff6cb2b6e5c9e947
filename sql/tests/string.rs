//! Several statements in one string: each is resolved as if the ones before it had been confirmed, and where that
//! is not certain it is refused.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/server.rs"]
mod server;

use std::sync::Arc;

use chaperone_sql::{Facts, Prediction, Reason, Refused, Scope, Unready};

/// The facts of each statement of a string, under prediction.
fn predict(session: &mut server::Session, sql: &str) -> Vec<Result<Arc<Facts>, Refused>> {
    let path = session.search_path();
    let syntax = chaperone_sql::parse(sql).unwrap();
    let mut prediction = Prediction::new(&path, &session.names);
    let mut all = Vec::new();
    for statement in &syntax.statements {
        let facts = loop {
            let scope = Scope {
                version: session.catalog.version(),
                search_path: &path,
                temp_schema: None,
                catalog: &session.catalog,
                session: &session.names,
                parameter_types: &[],
                user: "postgres",
                database: "postgres",
                doubt: chaperone_sql::Doubt::default(),
            };
            match chaperone_sql::facts(statement, &prediction.scope(&scope)) {
                Ok(facts) => break Ok(Arc::new(facts)),
                Err(Unready::Refused(refused)) => break Err(refused),
                Err(Unready::Needs(needs)) => session.ask(&needs),
            }
        };
        if let Ok(facts) = &facts {
            prediction.apply(facts, "postgres", None);
        }
        all.push(facts);
    }
    all
}

fn last(session: &mut server::Session, sql: &str) -> Result<Vec<String>, Reason> {
    let facts = predict(session, sql).pop().unwrap();
    facts.map_err(|refused| refused.reason).map(|facts| {
        let mut lines: Vec<String> =
            facts.accesses.iter().filter(|a| !a.baseline).map(policy::Access::describe).collect();
        lines.sort();
        lines
    })
}

#[test]
fn earlier_statements_of_a_string_change_what_later_ones_mean() {
    let server = server::Server::start();
    server.script(include_str!("cases/schema.sql"));
    let mut session = server.connect();
    let session = &mut session;
    let lines = |lines: &[&str]| Ok(lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());

    assert_eq!(
        last(session, "SET search_path = vault; SELECT id FROM secrets"),
        lines(&["Select vault.secrets.id"])
    );
    assert_eq!(
        last(session, "PREPARE p AS SELECT id FROM orders; EXECUTE p"),
        lines(&["Select shop.orders.id"])
    );
    assert_eq!(
        last(session, "DECLARE c CURSOR FOR SELECT id FROM orders; FETCH 1 FROM c"),
        lines(&["Select shop.orders.id"])
    );
    assert_eq!(last(session, "DEALLOCATE ALL; EXECUTE p"), Err(Reason::NoSuchName));
    assert_eq!(
        last(session, "BEGIN; SET search_path = vault; COMMIT; SELECT id FROM secrets"),
        lines(&["Select vault.secrets.id"])
    );
}

#[test]
fn a_search_path_that_may_not_be_set_is_not_believed() {
    let server = server::Server::start();
    server.script(include_str!("cases/schema.sql"));
    server.script("CREATE TABLE public.secrets (id int)");
    let mut session = server.connect();
    session.run("SET search_path = vault, shop");
    let session = &mut session;
    let sets = "SELECT set_config('search_path', 'public', false)";
    for hides in [
        // Nothing runs at PREPARE, at DECLARE, or where there are no rows.
        format!("PREPARE p AS {sets}"),
        format!("BEGIN; DECLARE c CURSOR FOR {sets}"),
        format!("{sets} WHERE false"),
        "BEGIN; SET LOCAL search_path = public; COMMIT".to_owned(),
        "SET LOCAL search_path = public; PREPARE TRANSACTION 'x'".to_owned(),
        "SET ROLE other; SET search_path = \"$user\"".to_owned(),
        format!("DECLARE c CURSOR FOR {sets}; SET search_path = vault; FETCH c"),
    ] {
        let seen = last(session, &format!("{hides}; SELECT id FROM secrets"));
        let right = Ok(vec!["Select vault.secrets.id".to_owned()]);
        assert!(seen == Err(Reason::Doubt) || seen == right, "{hides}: {seen:?}");
    }
    // A name in a path is cut like any other, and keeps its case where it is quoted or not plain.
    let long = "ä".repeat(40);
    session.run(&format!("CREATE SCHEMA {long}; CREATE TABLE {long}.cut (id int)"));
    let cut = last(session, &format!("SET search_path = '{long}'; SELECT id FROM cut"));
    assert_eq!(cut, Ok(vec![format!("Select {}.cut.id", "ä".repeat(31))]));
}

#[test]
fn what_a_transaction_brings_back_is_not_believed() {
    let server = server::Server::start();
    server.script(include_str!("cases/schema.sql"));
    let mut session = server.connect();
    let path = session.search_path();
    for (reverts, sql) in [(true, "COMMIT"), (true, "ROLLBACK"), (false, "ROLLBACK")] {
        let mut prediction = Prediction::new(&path, &session.names).reverting(reverts);
        let syntax = chaperone_sql::parse(sql).unwrap();
        let facts = session.facts(syntax.statements.first().unwrap(), Default::default()).unwrap();
        prediction.apply(&Arc::new(facts), "postgres", None);
        assert!(prediction.doubt.names, "{sql}");
    }
    let mut prediction = Prediction::new(&path, &session.names);
    let syntax = chaperone_sql::parse("COMMIT").unwrap();
    let facts = session.facts(syntax.statements.first().unwrap(), Default::default()).unwrap();
    prediction.apply(&Arc::new(facts), "postgres", None);
    assert!(!prediction.doubt.names, "nothing was changed that could come back");
}

#[test]
fn what_is_uncertain_is_refused() {
    let server = server::Server::start();
    server.script(include_str!("cases/schema.sql"));
    server.script("CREATE TABLE vault.customers (id int); CREATE TABLE vault.only_here (id int)");
    let mut session = server.connect();
    let session = &mut session;

    // The server skips schemas that the role may not use: which `customers` is meant is not known.
    assert_eq!(last(session, "SET search_path = vault, shop; SELECT id FROM customers"), Err(Reason::Doubt));
    assert!(last(session, "SET search_path = vault, shop; SELECT id FROM only_here").is_ok());
    assert!(last(session, "SET search_path = vault, shop; SELECT id FROM shop.customers").is_ok());
    // What a rollback brings back is not followed.
    for undo in
        ["ROLLBACK", "ROLLBACK TO s", "RESET ALL", "DISCARD ALL", "RESET search_path", "CALL cleanup(1)"]
    {
        let bare = last(session, &format!("{undo}; SELECT id FROM customers"));
        assert_eq!(bare, Err(Reason::Doubt), "{undo}");
        assert!(last(session, &format!("{undo}; SELECT id FROM shop.customers")).is_ok(), "{undo}");
    }
    // Objects may be others than the catalog knows.
    let after = last(session, "DROP VIEW shop.names; SELECT id FROM shop.names").unwrap();
    assert!(after.contains(&"Select names".to_owned()), "{after:?}");
    let after = last(session, "ALTER FUNCTION shop.twice(int) RENAME TO x; SELECT shop.twice(1)").unwrap();
    assert!(after.contains(&"Execute shop.twice".to_owned()), "{after:?}");
}
