//! Sessions whose state is not what it seems: each reads `ssn` of `public.customers` unless the sidecar knows what
//! the server knows.

use bytes::BytesMut;
use tokio_postgres::Client;
use wire::{
    Frame,
    postgres::{
        startup::Version,
        write::{self, Bound},
    },
};

use crate::{
    raw::{Raw, error, tags},
    support::World,
};

const SCHEMA: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text);
    INSERT INTO customers VALUES (1, 'Ann', '123-45-6789');
    CREATE SCHEMA scratch;
    CREATE SCHEMA other;
    CREATE TABLE other.customers (id int, ssn text);
    ALTER ROLE app SET search_path = scratch, public;
    CREATE FUNCTION scratch.path(text) RETURNS text LANGUAGE sql AS $$SELECT pg_catalog.set_config('search_path', $1, false)$$;";

const RULES: &str = "
  - {name: own, verdict: Allow, sql: {verbs: [Read, Write, Create, Drop], relations: ['pg_temp.*', 'scratch.*', 'other.*']}}
  - {name: code, verdict: Allow, sql: {verbs: [Execute], functions: ['scratch.*']}}
  - {name: blocks, verdict: Allow, sql: {verbs: [Do]}}";

const READS: &str = "SELECT ssn FROM customers";

async fn world() -> World {
    World::ready(SCHEMA, RULES).await
}

async fn runs(client: &Client, text: &str) {
    client.batch_execute(text).await.unwrap_or_else(|error| panic!("`{text}`: {error:?}"));
}

async fn is_refused(client: &Client, text: &str) {
    let refused = client.batch_execute(text).await.err().unwrap_or_else(|| panic!("`{text}` went through"));
    assert_eq!(refused.code().map(|code| code.code()), Some("42501"), "`{text}`: {refused:?}");
}

/// Parse and Bind and Execute of a text.
fn run(to: &mut BytesMut, text: &str) {
    write::parse(to, "", text, &[]).expect("fits");
    execute(to, "");
}

/// Bind and Execute of a statement.
fn execute(to: &mut BytesMut, statement: &str) {
    write::bind(to, "", statement, Bound { formats: &[], values: &[], results: &[] }).expect("fits");
    write::execute(to, "", 0).expect("fits");
}

fn is_denied(heard: &[Frame]) -> bool {
    error(heard).is_some_and(|(_, sqlstate, _)| sqlstate == "42501")
}

#[tokio::test]
async fn a_temporary_table_that_is_gone_hides_nothing() {
    let world = world().await;
    let agent = world.agent().await;
    is_refused(&agent, READS).await;
    for (made, gone) in [
        ("BEGIN; CREATE TEMP TABLE customers (ssn text)", "ROLLBACK"),
        ("BEGIN; CREATE TEMP TABLE customers (ssn text) ON COMMIT DROP", "COMMIT"),
        ("BEGIN; SAVEPOINT s; CREATE TEMP TABLE customers (ssn text)", "ROLLBACK TO s"),
        ("BEGIN; CREATE TEMP TABLE customers (ssn text)", "ROLLBACK AND CHAIN"),
        ("CREATE TEMP TABLE customers (ssn text)", "DROP TABLE pg_temp.customers"),
        ("CREATE TEMP TABLE customers (ssn text)", "DISCARD TEMP"),
    ] {
        runs(&agent, "ROLLBACK").await;
        runs(&agent, made).await;
        runs(&agent, READS).await;
        runs(&agent, gone).await;
        is_refused(&agent, READS).await;
        // A refusal in a transaction aborts it, as any error does.
        if gone.contains("TO s") || gone.contains("CHAIN") {
            runs(&agent, "ROLLBACK").await;
        }
    }
}

#[tokio::test]
async fn a_table_that_was_rolled_back_hides_nothing() {
    let world = world().await;
    let agent = world.agent().await;
    for (made, gone) in [
        ("BEGIN; CREATE TABLE scratch.customers (ssn text)", "ROLLBACK"),
        ("BEGIN; SAVEPOINT s; CREATE TABLE scratch.customers (ssn text)", "ROLLBACK TO s"),
    ] {
        runs(&agent, made).await;
        runs(&agent, READS).await;
        // Sent together: the second is decided before the server answers the first.
        let (gone, read) = tokio::join!(agent.batch_execute(gone), agent.batch_execute(READS));
        gone.expect("allowed");
        assert_eq!(read.expect_err("refused").code().map(|code| code.code()), Some("42501"));
        runs(&agent, "ROLLBACK").await;
    }
}

#[tokio::test]
async fn the_end_of_an_exchange_ends_what_was_local_to_it() {
    let world = world().await;
    for (made, holds) in [
        ("SET LOCAL search_path = other", READS),
        ("SELECT set_config('search_path', 'other', true)", READS),
        ("CREATE TEMP TABLE customers (ssn text) ON COMMIT DROP", READS),
    ] {
        let (mut raw, _) = Raw::session(world.port("db"), Version::V3_0, &[]).await;
        raw.say(|to| {
            run(to, made);
            write::parse(to, "s", holds, &[]).expect("fits");
            execute(to, "s");
            write::sync(to);
        })
        .await;
        let heard = raw.until(b'Z').await;
        assert_eq!(error(&heard), None, "{made}: {}", tags(&heard));
        raw.say(|to| {
            execute(to, "s");
            write::sync(to);
        })
        .await;
        let heard = raw.until(b'Z').await;
        assert!(is_denied(&heard), "{made}: {} {:?}", tags(&heard), error(&heard));
    }
}

#[tokio::test]
async fn a_search_path_that_is_set_late_is_noticed() {
    let world = world().await;
    let agent = world.agent().await;
    let read = "SELECT ssn FROM customers";
    // The cursor's function runs with its rows.
    runs(&agent, "SET search_path = other").await;
    runs(&agent, "BEGIN; DECLARE c CURSOR FOR SELECT scratch.path('public')").await;
    runs(&agent, read).await;
    runs(&agent, "FETCH c").await;
    is_refused(&agent, read).await;
    runs(&agent, "ROLLBACK").await;
    runs(&agent, read).await;
    runs(&agent, "BEGIN; DECLARE c CURSOR FOR SELECT set_config('search_path', 'public', false)").await;
    runs(&agent, read).await;
    runs(&agent, "FETCH c").await;
    is_refused(&agent, read).await;
    runs(&agent, "ROLLBACK").await;
    // Within one string it is not known what the server makes of it.
    runs(&agent, "RESET search_path").await;
    for hides in [
        "SELECT set_config('search_path', 'other', false) WHERE false",
        "PREPARE p AS SELECT set_config('search_path', 'other', false)",
        "BEGIN; SET LOCAL search_path = other; COMMIT",
    ] {
        is_refused(&agent, &format!("{hides}; {read}")).await;
    }
    runs(&agent, "BEGIN; SET LOCAL search_path = other").await;
    is_refused(&agent, &format!("COMMIT; {read}")).await;
    runs(&agent, "ROLLBACK").await;
    // What is kept and runs by itself may not set anything.
    is_refused(&agent, "CREATE TEMP TABLE t (a text DEFAULT set_config('search_path', 'public', false))")
        .await;
}

#[tokio::test]
async fn a_session_whose_texts_would_be_read_otherwise_ends() {
    let world = world().await;
    for block in [
        "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$",
        "DO $$ BEGIN PERFORM set_config('client_encoding', 'LATIN1', false); END $$",
    ] {
        let (mut raw, _) = Raw::session(world.port("db"), Version::V3_0, &[]).await;
        raw.say(|to| {
            write::query(to, block).expect("fits");
            // Read with backslashes, the string ends early and another statement follows.
            write::query(to, "SET application_name = 'a\\'' ; SELECT 1 AS mark; --'").expect("fits");
        })
        .await;
        let heard = raw.rest().await;
        let told = error(&heard);
        assert!(told.as_ref().is_some_and(|(severity, ..)| severity == "FATAL"), "{block}: {told:?}");
        assert!(!world.server_log().contains("mark"), "{block}");
    }
}

#[tokio::test]
async fn names_of_ours_are_refused_in_sql_too() {
    let world = world().await;
    let agent = world.agent().await;
    for text in [
        "PREPARE chaperone_read AS SELECT 1",
        "BEGIN; DECLARE chaperone_refused CURSOR FOR SELECT 1",
        "DEALLOCATE chaperone_read",
    ] {
        let refused =
            agent.batch_execute(text).await.err().unwrap_or_else(|| panic!("`{text}` went through"));
        assert_eq!(refused.code().map(|code| code.code()), Some("42939"), "{text}: {refused:?}");
    }
    runs(&agent, "SELECT 1").await;
}
