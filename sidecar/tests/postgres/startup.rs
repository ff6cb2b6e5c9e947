//! What comes before a session, with a real server behind: versions, keys, cancel, TLS towards the client.

use std::time::Duration;

use bytes::BytesMut;
use rustls::ClientConfig;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use wire::postgres::{backend::Message, startup::Version, write};

use crate::{
    raw::{Raw, error, key, message, tags},
    support::{Plan, Route, World, eventually},
    tls::Anyone,
};

const ENDLESS: &str = "SELECT count(*) FROM t a, t b, t c, t d, t e";

async fn world() -> World {
    let schema = "CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 1000)";
    let strict = Route { tls: "{mode: Require}", ..Route::new("strict") };
    World::new(Plan { schema, routes: vec![Route::new("db"), strict], ..Plan::default() }).await
}

/// Whether the statement was cancelled; waits for its end.
async fn is_cancelled(raw: &mut Raw) -> bool {
    error(&raw.until(b'Z').await).is_some_and(|(_, sqlstate, _)| sqlstate == "57014")
}

async fn running(world: &World, wanted: i64) {
    let admin = world.admin("shop").await;
    // Reads of the sidecar's own are active as well, for a moment.
    let count = "SELECT count(DISTINCT coalesce(leader_pid, pid)) FROM pg_stat_activity \
                 WHERE state = 'active' AND usename = 'app' AND query LIKE 'SELECT count(*) FROM t a%'";
    eventually("the statement runs", async || {
        admin.query_one(count, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == wanted)
    })
    .await;
}

async fn cancel(world: &World, pid: u32, secret: &[u8]) {
    let mut raw = Raw::open(world.port("db")).await;
    raw.say(|to| write::cancel_request(to, pid, secret).expect("fits")).await;
    assert_eq!(raw.rest().await, [], "a cancel request is never answered");
}

#[tokio::test]
async fn each_version_gets_keys_of_its_length_and_they_cancel() {
    let world = world().await;
    let versions = [(Version::V3_0, 4), (Version { major: 3, minor: 1 }, 4), (Version::V3_2, 32)];
    for (version, length) in versions {
        let (mut raw, heard) = Raw::session(world.port("db"), version, &[]).await;
        let (pid, secret) = key(&heard);
        assert_eq!(secret.len(), length, "{version:?}");
        raw.say(|to| write::query(to, "SELECT pg_backend_pid()").expect("fits")).await;
        assert_eq!(tags(&raw.until(b'Z').await), "TDCZ");
        raw.say(|to| write::query(to, ENDLESS).expect("fits")).await;
        running(&world, 1).await;
        cancel(&world, pid, &secret).await;
        assert!(is_cancelled(&mut raw).await, "{version:?}");
    }
    world.recorded("\"cancel\"").await;
}

#[tokio::test]
async fn only_the_right_key_cancels_and_only_what_runs() {
    let world = world().await;
    let (mut raw, heard) = Raw::session(world.port("db"), Version::V3_2, &[]).await;
    let (pid, secret) = key(&heard);
    let (mut other, heard) = Raw::session(world.port("db"), Version::V3_0, &[]).await;
    let (_, others) = key(&heard);
    raw.say(|to| write::query(to, ENDLESS).expect("fits")).await;
    running(&world, 1).await;
    let mut wrong = secret.clone();
    wrong[31] ^= 1;
    for (pid, secret) in
        [(pid, &wrong[..]), (pid, &secret[..4]), (pid + 1, &secret), (pid, &others), (pid, &[0; 256])]
    {
        cancel(&world, pid, secret).await;
    }
    world.recorded("no session has this key").await;
    running(&world, 1).await;
    cancel(&world, pid, &secret).await;
    assert!(is_cancelled(&mut raw).await);
    // Nothing runs any more: the cancel must not wait for the next statement.
    cancel(&world, pid, &secret).await;
    for session in [&mut raw, &mut other] {
        session.say(|to| write::query(to, "SELECT count(*) FROM t a, t b").expect("fits")).await;
        assert!(!is_cancelled(session).await);
    }
    world.recorded("has nothing to cancel").await;
}

#[tokio::test]
async fn unknown_minors_and_options_are_negotiated() {
    let world = world().await;
    let newest = Version { major: 3, minor: 9999 };
    for (asked, options, spoken, unknown) in [
        (newest, &[][..], 2, &[][..]),
        (newest, &[("_pq_.x", "1"), ("_pq_.y", "")], 2, &["_pq_.x", "_pq_.y"]),
        (Version::V3_2, &[("_pq_.x", "1")], 2, &["_pq_.x"]),
        (Version::V3_0, &[("_pq_.x", "1")], 0, &["_pq_.x"]),
    ] {
        let (_, heard) = Raw::session(world.port("db"), asked, options).await;
        let Ok(Message::NegotiateProtocolVersion(negotiated)) = Message::decode(&heard[0]) else {
            panic!("{asked:?}: {}", tags(&heard));
        };
        assert_eq!(negotiated.newest, Version { major: 3, minor: spoken }.code(), "{asked:?}");
        assert_eq!(negotiated.unknown, unknown, "{asked:?}");
        let length = if spoken == 2 { 32 } else { 4 };
        assert_eq!(key(&heard).1.len(), length, "{asked:?}");
    }
    let (_, heard) = Raw::session(world.port("db"), Version::V3_2, &[]).await;
    assert_eq!(heard[0].tag(), b'R', "nothing is negotiated without need");
}

#[tokio::test]
async fn settings_of_the_client_and_of_the_upstream_are_passed_on() {
    let world = world().await;
    let settings = [
        ("application_name", "mine"),
        ("client_encoding", "'utf-8'"),
        ("options", "-c DateStyle=German --statement-timeout=77s -cextra_float_digits=0"),
        ("replication", "off"),
    ];
    let (mut raw, heard) = Raw::session(world.port("db"), Version::V3_0, &settings).await;
    let said = |name: &str| {
        heard.iter().find_map(|frame| match Message::decode(frame) {
            Ok(Message::ParameterStatus(found, value)) if found == name => Some(value.to_owned()),
            _ => None,
        })
    };
    assert_eq!(said("client_encoding").as_deref(), Some("UTF8"));
    assert_eq!(said("standard_conforming_strings").as_deref(), Some("on"));
    assert_eq!(said("DateStyle").as_deref(), Some("German, DMY"));
    assert_eq!(said("application_name").as_deref(), Some("mine"));
    assert!(said("server_version").is_some());
    raw.say(|to| write::query(to, "SHOW statement_timeout").expect("fits")).await;
    let shown = raw.until(b'Z').await;
    assert!(shown[1].raw().ends_with(b"77s"), "{:?}", shown[1].raw());
}

#[tokio::test]
async fn tls_is_offered_to_clients_after_a_request_and_directly() {
    let world = world().await;
    for direct in [false, true] {
        let mut tls = secured(&world, direct, &[b"postgresql"]).await.expect("shakes hands");
        let mut start = BytesMut::new();
        write::startup(&mut start, Version::V3_0, &[("user", "agent")]).expect("fits");
        tls.write_all(&start).await.expect("sends");
        assert_eq!(tls.read_u8().await.expect("answers"), b'R');
    }
    // Through TLS there is no second TLS.
    let mut tls = secured(&world, false, &[]).await.expect("shakes hands");
    tls.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await.expect("sends");
    assert_eq!(tls.read_u8().await.expect("answers"), b'E');
}

#[tokio::test]
async fn direct_tls_for_something_else_is_closed() {
    let world = world().await;
    for alpn in [&[][..], &[&b"h2"[..]]] {
        let mut heard = Vec::new();
        if let Ok(mut tls) = secured(&world, true, alpn).await {
            let mut start = BytesMut::new();
            write::startup(&mut start, Version::V3_0, &[("user", "agent")]).expect("fits");
            drop(tls.write_all(&start).await);
            drop(tls.read_to_end(&mut heard).await);
        }
        assert_eq!(heard, b"");
    }
    world.recorded("ALPN").await;
}

async fn secured(
    world: &World,
    direct: bool,
    alpn: &[&[u8]],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut stream = Raw::open(world.port("db")).await.into_stream();
    if !direct {
        stream.write_all(b"\0\0\0\x08\x04\xd2\x16\x2f").await?;
        assert_eq!(stream.read_u8().await?, b'S');
    }
    let mut config: ClientConfig = Anyone::config();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = "localhost".try_into().expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_where_tls_is_asked_for() {
    let world = world().await;
    let told = world.told("strict").await;
    assert_eq!(told.code().code(), "08006");
    assert!(told.message().ends_with("it refuses TLS, which the Connection asks for"), "{}", told.message());
    // The sidecar's own reads of the other Connection aside, nobody has logged in.
    assert!(!world.server_log().contains("connection authorized: user=app"));
}

#[tokio::test]
async fn a_session_ends_with_the_client_and_with_the_server() {
    let world = world().await;
    let admin = world.admin("shop").await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'";
    let left = async || admin.query_one(count, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) == 0);
    let (mut raw, _) = Raw::session(world.port("db"), Version::V3_0, &[]).await;
    raw.say(write::terminate).await;
    assert_eq!(raw.rest().await, []);
    eventually("the upstream session ends with Terminate", left).await;
    let (raw, _) = Raw::session(world.port("db"), Version::V3_0, &[]).await;
    drop(raw);
    eventually("the upstream session ends with the connection", left).await;
    let (mut raw, _) = Raw::session(world.port("db"), Version::V3_0, &[]).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'";
    admin.batch_execute(kill).await.expect("runs");
    let told = tokio::time::timeout(Duration::from_secs(20), raw.rest()).await.expect("ends");
    assert_eq!(error(&told).expect("is told").1, "57P01", "the server's own words");
}

/// Sent in the middle of a session; the message, and part of what the client is told.
#[tokio::test]
async fn malformed_messages_end_the_session_and_never_arrive() {
    let world = world().await;
    let table: [(&str, Vec<u8>, &str); 16] = [
        ("unknown tag", message(b'z', b"mark"), "no message has the tag 0x7a"),
        ("a startup packet", b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec(), "no message has the tag 0x00"),
        ("length below itself", b"Q\0\0\0\x03".to_vec(), "length field says 3"),
        ("negative length", b"Q\xff\xff\xff\xff".to_vec(), "claims"),
        ("text too long", b"Q\x7f\0\0\0".to_vec(), "claims"),
        ("query without an end", message(b'Q', b"SELECT 'mark'"), "no terminator"),
        ("query with a second text", message(b'Q', b"SELECT 1\0DROP TABLE t /* mark */\0"), "bytes follow"),
        (
            "parse with missing types",
            message(b'P', b"\0SELECT 'mark'\0\0\x02\0\0\0\x17"),
            "ends in the middle",
        ),
        ("bind with a count beyond its bytes", message(b'B', b"\0\0\0\0\xff\xff\0\0"), "ends in the middle"),
        ("bind with an unknown format", message(b'B', b"\0\0\0\x01\0\x07\0\0\0\0"), "a format code is 7"),
        (
            "bind with a negative length",
            message(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            "a value's length is -2",
        ),
        ("describe of nothing", message(b'D', b"Qmark\0"), "the kind of thing named is 81"),
        ("execute without a limit", message(b'E', b"\0\0"), "ends in the middle"),
        ("sync with a body", message(b'S', b"mark"), "bytes follow"),
        ("a password", message(b'p', b"mark\0"), "a password in the middle of a session"),
        ("a server's message", message(b'Z', b"I"), "no message has the tag 0x5a"),
    ];
    for (name, bytes, said) in table {
        let (mut raw, _) = Raw::session(world.port("db"), Version::V3_0, &[]).await;
        raw.send(&bytes).await;
        // What follows must not be looked at.
        raw.say(|to| write::query(to, "SELECT 'mark'").expect("fits")).await;
        let told = tokio::time::timeout(Duration::from_secs(20), raw.rest()).await;
        let told = told.unwrap_or_else(|_| panic!("{name}: the session goes on"));
        let (severity, sqlstate, text) = error(&told).unwrap_or_else(|| panic!("{name}: {}", tags(&told)));
        assert_eq!((severity.as_str(), sqlstate.as_str()), ("FATAL", "08P01"), "{name}");
        assert!(text.contains(said), "{name}: {text}");
    }
    assert!(!world.server_log().contains("mark"), "part of a malformed message arrived");
    world.recorded("the client broke the protocol").await;
}

#[tokio::test]
async fn what_only_the_text_makes_wrong_leaves_the_session_whole() {
    let world = world().await;
    let (mut raw, _) = Raw::session(world.port("db"), Version::V3_0, &[]).await;
    let simple = message(b'Q', b"SELECT '\xff mark'\0");
    let extended = [message(b'P', b"\0SELECT '\xc0\xaf mark'\0\0\0"), message(b'S', b"")].concat();
    for bytes in [simple, extended] {
        raw.send(&bytes).await;
        let told = raw.until(b'Z').await;
        assert_eq!(error(&told).expect("is told").1, "22021");
        raw.say(|to| write::query(to, "SELECT 'goes on'").expect("fits")).await;
        assert_eq!(tags(&raw.until(b'Z').await), "TDCZ");
    }
    assert!(!world.server_log().contains("mark"));
}
