//! What an agent may do, and what never arrives, with tokio-postgres.

use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use crate::support::World;

const SCHEMA: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, customer text, amount numeric);
    INSERT INTO orders SELECT n, 'c' || n, n * 1.5 FROM generate_series(1, 1000) n;
    CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text);
    INSERT INTO customers VALUES (1, 'Ann', '123-45-6789');
    CREATE VIEW totals AS SELECT customer, sum(amount) AS total FROM orders GROUP BY customer;
    CREATE TABLE notes (id int, body text);
    CREATE FUNCTION secret() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM customers LIMIT 1';";

const RULES: &str = "
  - {name: read, verdict: Allow, sql: {verbs: [Read], relations: [public.orders, public.totals]}}
  - {name: names, verdict: Allow, sql: {verbs: [Select], relations: [public.customers], columns: [id, name]}}
  - {name: notes, verdict: Allow, sql: {verbs: [Read, Write], relations: [public.notes]}}
  - {name: no-drop, verdict: Deny, message: never, sql: {verbs: [Drop], relations: ['*.*']}}";

const FEWER: &str = "
  - {name: notes, verdict: Allow, sql: {verbs: [Read, Write], relations: [public.notes]}}";

async fn refused(client: &Client, text: &str) -> tokio_postgres::error::DbError {
    let error = client.batch_execute(text).await.err().unwrap_or_else(|| panic!("`{text}` went through"));
    error.as_db_error().unwrap_or_else(|| panic!("`{text}`: {error}")).clone()
}

async fn one(client: &Client, text: &str) -> String {
    let rows = client.simple_query(text).await.unwrap_or_else(|error| panic!("`{text}`: {error:?}"));
    rows.iter()
        .find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            SimpleQueryMessage::CommandComplete(_) | SimpleQueryMessage::RowDescription(_) | _ => None,
        })
        .unwrap_or_default()
}

#[tokio::test]
async fn what_is_allowed_works_and_what_is_not_never_arrives() {
    let world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    assert_eq!(one(&agent, "SELECT count(*) FROM orders").await, "1000");
    assert_eq!(one(&agent, "SELECT name FROM customers WHERE id = 1").await, "Ann");
    assert_eq!(one(&agent, "SELECT total FROM totals WHERE customer = 'c2'").await, "3.0");
    let forbidden = [
        "DROP TABLE orders /* mark */",
        "SELECT ssn FROM customers /* mark */",
        "SELECT * FROM customers /* mark */",
        "SELECT c FROM customers c /* mark */",
        "UPDATE orders SET amount = 0 /* mark */",
        "SELECT 1; DELETE FROM orders /* mark */",
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone /* mark */",
        "SELECT secret() /* mark */",
        "SELECT name FROM customers WHERE ssn LIKE '1%' /* mark */",
        "SELECT name FROM customers ORDER BY ssn /* mark */",
        "COPY customers TO STDOUT /* mark */",
        "COPY (SELECT ssn FROM customers) TO STDOUT /* mark */",
        "CREATE TABLE copy_of AS SELECT 1 AS x /* mark */",
        "DO $$ BEGIN PERFORM 1; END $$ /* mark */",
        "SET ROLE postgres /* mark */",
        "SET standard_conforming_strings = off /* mark */",
        "SELECT pg_read_file('/etc/passwd') /* mark */",
        "SELECT query_to_xml('SELECT ssn FROM customers', true, true, '') /* mark */",
        "EXPLAIN ANALYZE DELETE FROM orders /* mark */",
        "PREPARE p AS DELETE FROM orders /* mark */",
        "COPY orders TO '/tmp/x' /* mark */",
        "ALTER SYSTEM SET work_mem = '1GB' /* mark */",
        "GRANT SELECT ON customers TO PUBLIC /* mark */",
        "SELECT rolpassword FROM pg_authid /* mark */",
        "SELECT lo_import('/etc/passwd') /* mark */",
        "LISTEN anything /* mark */",
    ];
    for text in forbidden {
        let error = refused(&agent, text).await;
        assert!(["42501", "42601", "22023"].contains(&error.code().code()), "`{text}`: {error:?}");
    }
    assert!(!world.server_log().contains("mark"), "a refused statement reached the server");
    assert_eq!(one(&agent, "SELECT count(*) FROM orders").await, "1000");
}

#[tokio::test]
async fn a_refusal_names_what_is_missing_and_how_to_ask() {
    let world = World::ready(SCHEMA, RULES).await;
    let error = refused(&world.agent().await, "SELECT name, ssn FROM customers").await;
    assert_eq!(error.code(), &SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(error.message(), "refused by policy: Select public.customers.ssn");
    assert!(error.hint().unwrap_or_default().contains("AccessPolicy for Connection `shop/db`"));
}

#[tokio::test]
async fn a_refusal_leaves_transaction_state_to_the_server() {
    let world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    agent.batch_execute("BEGIN; INSERT INTO notes VALUES (1, 'kept'); SAVEPOINT s").await.expect("allowed");
    refused(&agent, "DROP TABLE notes").await;
    assert_eq!(refused(&agent, "SELECT 1").await.code().code(), "25P02");
    agent.batch_execute("ROLLBACK TO s; COMMIT").await.expect("allowed");
    assert_eq!(one(&agent, "SELECT body FROM notes").await, "kept");
    refused(&agent, "DROP TABLE notes").await;
    assert_eq!(one(&agent, "SELECT count(*) FROM notes").await, "1");
}

#[tokio::test]
async fn prepared_statements_are_decided_at_each_use() {
    let mut world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    let statement = agent.prepare("SELECT amount::text FROM orders WHERE id = $1").await.expect("allowed");
    agent.query_one(&statement, &[&5_i32]).await.expect("allowed");
    agent.batch_execute("PREPARE q AS SELECT id FROM orders").await.expect("allowed");
    world.change_rules(FEWER);
    let error = agent.query_one(&statement, &[&5_i32]).await.expect_err("refused now");
    assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    refused(&agent, "EXECUTE q").await;
    world.change_rules(RULES);
    agent.query_one(&statement, &[&5_i32]).await.expect("allowed again");
    agent.batch_execute("EXECUTE q").await.expect("allowed again");
}

#[tokio::test]
async fn a_pipeline_with_a_refusal_in_the_middle_skips_as_the_server_does() {
    let world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    let (before, refused, after) = tokio::join!(
        agent.query("SELECT id FROM orders LIMIT 1", &[]),
        agent.query("SELECT ssn FROM customers", &[]),
        agent.query("SELECT id FROM orders LIMIT 2", &[]),
    );
    assert_eq!(before.expect("allowed").len(), 1);
    assert_eq!(refused.expect_err("refused").code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    assert_eq!(after.expect("allowed").len(), 2);
}

#[tokio::test]
async fn copy_works_both_ways_where_it_is_allowed() {
    use futures_util::{SinkExt, TryStreamExt};

    let world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    let mut sink = Box::pin(agent.copy_in("COPY notes FROM STDIN").await.expect("allowed"));
    for n in 0..1000 {
        sink.send(bytes::Bytes::from(format!("{n}\tnote {n}\n"))).await.expect("sends");
    }
    assert_eq!(sink.as_mut().finish().await.expect("finishes"), 1000);
    let out = Box::pin(agent.copy_out("COPY orders TO STDOUT").await.expect("allowed"));
    let copied: Vec<_> = out.try_collect().await.expect("reads");
    assert_eq!(copied.iter().map(|part| part.iter().filter(|b| **b == b'\n').count()).sum::<usize>(), 1000);
    assert!(agent.copy_in::<_, bytes::Bytes>("COPY orders FROM STDIN").await.is_err());
}

#[tokio::test]
async fn names_are_resolved_as_the_server_resolves_them() {
    let world = World::ready(SCHEMA, RULES).await;
    let admin = world.admin("shop").await;
    admin
        .batch_execute("SET ROLE app; CREATE SCHEMA other; CREATE TABLE other.orders (id int, secret text)")
        .await
        .expect("runs");
    let agent = world.agent().await;
    agent.batch_execute("SELECT id FROM orders").await.expect("allowed");
    agent.batch_execute("SET search_path TO other, public").await.expect("allowed");
    refused(&agent, "SELECT id FROM orders").await;
    agent.batch_execute("RESET search_path").await.expect("allowed");
    agent.batch_execute("SELECT id FROM orders").await.expect("allowed");
    agent.batch_execute("BEGIN; SET LOCAL search_path TO other").await.expect("allowed");
    refused(&agent, "SELECT id FROM orders").await;
    agent.batch_execute("ROLLBACK").await.expect("allowed");
    agent.batch_execute("SELECT id FROM orders").await.expect("allowed");
    // One string: the later statement is resolved under what the earlier one sets.
    refused(&agent, "SET search_path TO other; SELECT id FROM orders").await;
    assert_eq!(refused(&agent, "SELECT nothing FROM orders").await.code().code(), "42703");
    assert_eq!(refused(&agent, "SELECT 1 FROM nowhere").await.code().code(), "42P01");
}

#[tokio::test]
async fn what_other_sessions_define_is_seen() {
    let world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    refused(&agent, "SELECT 1 FROM later").await;
    let admin = world.admin("shop").await;
    admin.batch_execute("SET ROLE app; CREATE TABLE later (id int)").await.expect("runs");
    assert_eq!(refused(&agent, "SELECT 1 FROM later").await.code().code(), "42501");
    admin.batch_execute("ALTER TABLE orders ADD COLUMN extra int").await.expect("runs");
    agent.batch_execute("SELECT extra FROM orders").await.expect("allowed");
}

#[tokio::test]
async fn a_snapshot_does_not_hide_what_names_mean_now() {
    let world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    agent
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT id FROM orders")
        .await
        .expect("allowed");
    let admin = world.admin("shop").await;
    admin.batch_execute("SET ROLE app; ALTER TABLE customers RENAME TO persons").await.expect("runs");
    // The transaction's own snapshot does not have the new name; the server resolves it all the same.
    assert_eq!(refused(&agent, "SELECT id FROM persons").await.code().code(), "42501");
}

#[tokio::test]
async fn a_large_result_streams() {
    use futures_util::TryStreamExt;

    let world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    let before = world.peak_memory();
    let text = "SELECT n, repeat('x', 100) FROM generate_series(1, 1000000) n";
    let rows = agent.query_raw(text, std::iter::empty::<i32>()).await.expect("allowed");
    let count = rows.try_fold(0_u32, |count, _| async move { Ok(count + 1) }).await.expect("streams");
    assert_eq!(count, 1_000_000);
    let grown = world.peak_memory() - before;
    assert!(grown < 8 * 1024, "a result of 110 MB took {grown} KiB");
}

#[tokio::test]
async fn a_cancel_arrives() {
    let world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    let token = agent.cancel_token();
    let endless = agent.batch_execute("SELECT count(*) FROM orders a, orders b, orders c, orders d");
    let admin = world.admin("shop").await;
    let cancel = async {
        let text =
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%orders d'";
        let runs = async || one(&admin, text).await == "t";
        crate::support::eventually("the statement runs", runs).await;
        token.cancel_query(tokio_postgres::NoTls).await.expect("sends");
    };
    let (cancelled, ()) = tokio::join!(endless, cancel);
    assert_eq!(cancelled.expect_err("cancelled").code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(one(&agent, "SELECT 1").await, "1");
}

#[tokio::test]
async fn records_survive_kill_and_verify() {
    let mut world = World::ready(SCHEMA, RULES).await;
    let agent = world.agent().await;
    agent.batch_execute("SELECT id FROM orders").await.expect("allowed");
    refused(&agent, "DROP TABLE orders").await;
    world.restart_sidecar().await;
    world.recorded("DROP TABLE orders").await;
    let mut verifier = audit::Verifier::new();
    let mut text = String::new();
    for file in world.records() {
        let bytes = std::fs::read(&file).expect("reads");
        verifier.add("file", &bytes);
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert_eq!(verifier.report().findings, []);
    assert!(!text.contains(crate::support::PASSWORD));
    assert!(!world.sidecar_log().contains("DROP TABLE"));
}
