//! What people's tools send: psql's backslash commands and pg_dump's questions are within the baseline.
#![expect(clippy::panic, reason = "a test may fail this way")]
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/server.rs"]
mod server;

use chaperone_sql::{Doubt, Effect};

/// Every backslash command of psql that looks something up, but for those that show what the baseline hides.
const COMMANDS: &str = "\\d \\d+ \\dt \\dv \\ds \\di \\df \\df+ \\do \\dT \\dT+ \\dn \\dn+ \\du \\l \\l+ \\dx \\db \\dC \\dD \\dd \\ddp \\dE \
     \\des \\dF \\dFd \\dg \\dL \\dO \\dp \\dP \\drds \\dRp \\dy \\da \\dA \\dAc \\dX \\z \\dm \\dFp \\dFt \\det \\dew";

fn outside_the_baseline(session: &mut server::Session, sql: &str) -> Vec<String> {
    let syntax = chaperone_sql::parse(sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
    let mut outside = Vec::new();
    for statement in &syntax.statements {
        let facts = match session.facts(statement, Doubt::default()) {
            Ok(facts) => facts,
            Err(refused) => {
                outside.push(refused.message);
                continue;
            }
        };
        outside.extend(facts.accesses.iter().filter(|access| !access.baseline).map(policy::Access::describe));
        for effect in &facts.effects {
            if let Effect::Prepare { name, statement, types } = effect {
                let (statement, types) = (statement.clone(), types.clone());
                session.names.statements.insert(name.clone(), chaperone_sql::Prepared { statement, types });
            }
        }
    }
    outside
}

#[test]
fn psql_looks_things_up_within_the_baseline() {
    let server = server::Server::start();
    server.script(include_str!("cases/schema.sql"));
    // An implicit cast may be meant wherever a type is not known.
    server.script("DROP CAST (shop.colour AS int)");
    let mut session = server.connect();
    let named =
        ["\\d shop.customers", "\\d+ shop.events", "\\d+ shop.leak", "\\d shop.numbers", "\\sf shop.opt"];
    let mut arguments = vec!["-X"];
    for command in COMMANDS.split_whitespace().chain(named) {
        arguments.extend(["-c", command]);
    }
    let statements = server.statements_of("psql", &arguments);
    assert!(statements.len() > 50, "{}", statements.len());
    for sql in statements {
        assert_eq!(outside_the_baseline(&mut session, &sql), Vec::<String>::new(), "{sql}");
    }
}

#[test]
fn pg_dump_needs_nothing_but_the_tables_that_it_dumps() {
    let server = server::Server::start();
    server.script(include_str!("cases/schema.sql"));
    // An implicit cast may be meant wherever a type is not known.
    server.script("DROP CAST (shop.colour AS int)");
    let mut session = server.connect();
    let statements =
        server.statements_of("pg_dump", &["-f", "/dev/null", "--no-subscriptions", "-n", "shop"]);
    assert!(statements.len() > 50, "{}", statements.len());
    for sql in statements {
        for access in outside_the_baseline(&mut session, &sql) {
            let dumped = [
                "Select shop.",
                "CopyTo shop.",
                // The partition of shop.events.
                "Select vault.events_2026",
                // Dumped by the superuser only, who is asked whatever the options are.
                "Select pg_catalog.pg_subscription.",
            ];
            assert!(dumped.iter().any(|prefix| access.starts_with(prefix)), "{access}: {sql}");
        }
    }
}
