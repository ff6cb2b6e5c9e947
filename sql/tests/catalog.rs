//! The questions on a real server: what they answer, and that no search path turns them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail this way")]
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/server.rs"]
mod server;

use chaperone_sql::Doubt;

fn accesses(session: &mut server::Session, sql: &str) -> Vec<String> {
    let syntax = chaperone_sql::parse(sql).unwrap();
    let facts = session.facts(&syntax.statements[0], Doubt::default()).unwrap();
    let mut lines: Vec<String> =
        facts.accesses.iter().filter(|access| !access.baseline).map(policy::Access::describe).collect();
    lines.sort();
    lines
}

#[test]
fn a_hostile_search_path_does_not_turn_the_questions() {
    for server in server::Server::start_all() {
        hostile_search_path(&server);
    }
}

fn hostile_search_path(server: &server::Server) {
    server.script(include_str!("cases/schema.sql"));
    server.script(
        "CREATE SCHEMA evil;
         CREATE FUNCTION evil.boom() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''boom''; END';
         CREATE FUNCTION evil.boom(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT evil.boom()';
         CREATE FUNCTION evil.boom(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT evil.boom()';
         CREATE FUNCTION evil.boom(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.boom()';
         CREATE FUNCTION evil.boom(\"char\", \"char\") RETURNS boolean LANGUAGE sql AS 'SELECT evil.boom()';
         CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.boom);
         CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.boom);
         CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.boom);
         CREATE OPERATOR evil.= (LEFTARG = \"char\", RIGHTARG = \"char\", FUNCTION = evil.boom);
         CREATE FUNCTION evil.pg_get_viewdef(oid) RETURNS text LANGUAGE sql AS 'SELECT evil.boom()::text';
         CREATE FUNCTION evil.unnest(name[]) RETURNS SETOF name LANGUAGE sql AS 'SELECT evil.boom()::text::name';
         CREATE TABLE evil.pg_class (oid int);
         CREATE TABLE evil.pg_type (oid int);
         CREATE TYPE evil.text AS ENUM ('a');
         CREATE TYPE evil.name AS ENUM ('a');",
    );
    let mut plain = server.connect();
    let mut hostile = server.connect();
    hostile.run("SET search_path = evil, pg_catalog, shop");
    for sql in [
        "SELECT secret FROM shop.outer_leak",
        "SELECT shop.twice(1)",
        "SELECT 1 OPERATOR(shop.===) 'x'",
        "SELECT 'x'::shop.email",
        "TRUNCATE vault.secrets CASCADE",
        "SELECT body FROM shop.events",
    ] {
        assert_eq!(accesses(&mut plain, sql), accesses(&mut hostile, sql), "{sql}");
    }
    // Names of the hostile schema are found where they would be: all of them must be allowed.
    let found = accesses(&mut hostile, "SELECT 'x'::pg_catalog.text = 'y'::pg_catalog.text");
    assert!(found.contains(&"Execute evil.boom(text, text)".to_owned()), "{found:?}");
    assert_eq!(accesses(&mut hostile, "SELECT oid FROM pg_class"), ["Select evil.pg_class.oid"]);
}

#[test]
fn answers_that_do_not_change_leave_the_epoch_alone() {
    let server = server::Server::start();
    server.script(include_str!("cases/schema.sql"));
    let mut session = server.connect();
    accesses(
        &mut session,
        "SELECT secret, shop.twice(id) FROM shop.outer_leak, shop.customers WHERE id === name",
    );
    let (epoch, asked) = (session.catalog.epoch(), session.asked);
    accesses(
        &mut session,
        "SELECT secret, shop.twice(id) FROM shop.outer_leak, shop.customers WHERE id === name",
    );
    assert_eq!((session.catalog.epoch(), session.asked), (epoch, asked), "everything is known");
    let again = session.catalog.recheck();
    session.ask(&again);
    assert_eq!(session.catalog.epoch(), epoch);
    session.run("ALTER TABLE vault.secrets ADD COLUMN more text");
    let again = session.catalog.recheck();
    session.ask(&again);
    assert_ne!(session.catalog.epoch(), epoch);
    session.catalog.forget_all();
    assert_eq!(accesses(&mut session, "SELECT more FROM vault.secrets"), ["Select vault.secrets.more"]);
}

#[test]
fn few_round_trips_are_needed() {
    let server = server::Server::start();
    server.script(include_str!("cases/schema.sql"));
    let mut session = server.connect();
    accesses(&mut session, "SELECT id, name FROM shop.customers WHERE id = 1");
    assert!(session.asked <= 4, "{}", session.asked);
}

#[test]
fn questions_are_too_cheap_to_be_compiled_by_the_server() {
    /// `jit_above_cost`: from there on a query takes half a second to be prepared.
    const COMPILED: f64 = 100_000.0;
    for server in server::Server::start_all() {
        server.script(include_str!("cases/schema.sql"));
        let mut session = server.connect();
        let sql = "SELECT secret, shop.twice(id), 'x'::shop.email FROM shop.outer_leak, shop.events, shop.people WHERE id === name";
        accesses(&mut session, sql);
        accesses(&mut session, "TRUNCATE vault.secrets CASCADE");
        for question in session.catalog.recheck().questions() {
            let plan = session.rows(&format!("EXPLAIN {}", question.sql()));
            let first = plan[0][0].clone().unwrap();
            let cost = first.split("..").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            let cost: f64 = cost.parse().unwrap();
            assert!(cost < COMPILED / 2.0, "{:?}: {cost}: {}", server.version, question.sql());
        }
    }
}
