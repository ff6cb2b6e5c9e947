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
        last(session, "SELECT set_config('search_path', 'vault', false); SELECT id FROM secrets"),
        lines(&["Select vault.secrets.id"])
    );
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
