//! What a client is told, and what is recorded, when it gets no session: over a pipe, without a server.

use std::{convert::Infallible, net::Ipv4Addr};

use ::policy::{
    ConnectionDocument, DnsMode, Generation, PostgresDocument, TlsDocument, TlsMode, Upstream,
    UpstreamProtocol,
};
use audit::{Event, PodRef};
use bytes::BytesMut;
use rstest::rstest;
use secrecy::SecretSlice;
use tokio::io::DuplexStream;
use wire::{
    Frame,
    postgres::{backend::Message, startup::Version},
};

use super::*;
use crate::{
    credentials::Lease,
    policy::{Current, PodIdentity},
    recorder::ship,
    spool::{SIZE_MIN, Sealed},
};

const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4711);

/// What the client heard: SQLSTATE, message, hint.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    sqlstate: String,
    message: String,
    hint: String,
}

struct Scene {
    shared: Shared,
    _dir: tempfile::TempDir,
}

impl Scene {
    /// With these Connections in force.
    fn new(connections: Vec<ConnectionDocument>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let handles = Handles {
            documents: Documents::new(),
            credentials: Credentials::new(),
            recorder: Recorder::open(&dir.path().join("spool"), SIZE_MIN).expect("opens"),
            shutdown: CancellationToken::new(),
        };
        let document = Document {
            format: ::policy::FORMAT,
            features: Vec::new(),
            stale_after_seconds: 60,
            dns: DnsMode::Cluster,
            connections,
        };
        let current = Current {
            generation: Generation { epoch: 1, sequence: 1 },
            document: Arc::new(document),
            pod: PodIdentity::default(),
        };
        handles.documents.publish(current).expect("is newer");
        let shared = Shared {
            handles,
            certificate: Certificate::make().expect("makes"),
            cancels: Cancels::new(),
            defaults: Defaults::new(),
            catalogs: Catalogs::new(),
            services: Services::default(),
            slots: Arc::new(Semaphore::new(1)),
        };
        Self { shared, _dir: dir }
    }

    fn lease(&self) {
        let password = SecretSlice::from(b"only-the-sidecar-knows".to_vec());
        let lease = Lease { version: "1".into(), username: "app".into(), password, valid_for: None };
        self.shared.handles.credentials.publish("shop/db", lease);
    }

    /// Sends these bytes and no more, and hears what comes back until the connection ends.
    async fn answer(&self, arrival: Arrival, sent: &[u8]) -> Vec<u8> {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let talk = async {
            client.write_all(sent).await.expect("the sidecar listens");
            let heard = read_to_end(&mut client).await;
            drop(client);
            heard
        };
        let (heard, ()) =
            tokio::join!(talk, Box::pin(serve(&self.shared, Stream::Memory(server), FROM, &arrival)));
        heard
    }

    async fn told(&self, sent: &[u8]) -> Option<Heard> {
        error(&self.answer(to("shop/db"), sent).await)
    }

    /// What was recorded of it.
    async fn recorded(&self) -> Vec<Event> {
        let mut kept = Kept(Vec::new());
        ship::drain(&self.shared.handles.recorder, &PodRef::default(), &mut kept).await;
        kept.0
    }
}

async fn read_to_end(client: &mut DuplexStream) -> Vec<u8> {
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.expect("ends in order");
    heard
}

struct Kept(Vec<Event>);

impl ship::Store for Kept {
    type Error = Infallible;

    async fn store(&mut self, batch: &Sealed) -> Result<(), Infallible> {
        let batch = audit::Batch::open(&batch.bytes).expect("is whole");
        self.0.extend(batch.records.into_iter().map(|record| record.event));
        Ok(())
    }
}

/// The one message that was heard, which must be a FATAL error.
fn error(heard: &[u8]) -> Option<Heard> {
    if heard.is_empty() {
        return None;
    }
    let frame = Frame::new(heard.to_vec().into()).expect("one whole message");
    let Message::ErrorResponse(fields) = Message::decode(&frame).expect("decodes") else {
        panic!("not an error: {frame:?}");
    };
    assert_eq!(fields.text(b'V'), Some("FATAL"));
    let text = |letter| fields.text(letter).unwrap_or_default().to_owned();
    Some(Heard { sqlstate: text(b'C'), message: text(b'M'), hint: text(b'H') })
}

fn to(connection: &str) -> Arrival {
    Arrival::Explicit { connection: connection.to_owned() }
}

fn captured(destination: &str) -> Arrival {
    Arrival::Captured { destination: destination.parse().expect("an address") }
}

/// A Connection whose upstream does not answer.
fn connection(name: &str, database: &str) -> ConnectionDocument {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("has one").port();
    ConnectionDocument {
        name: name.into(),
        protocol: UpstreamProtocol::Postgres,
        upstream: Upstream {
            host: "127.0.0.1".into(),
            port,
            tls: TlsDocument { mode: TlsMode::Disable, ca_bundle: None },
        },
        address: Some(Ipv4Addr::new(198, 18, 0, 1)),
        agent_port: None,
        postgres: Some(PostgresDocument { database: database.into(), extra_databases: vec!["extra".into()] }),
        problem: None,
        policies: Vec::new(),
    }
}

fn started(version: Version, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut to = BytesMut::new();
    write::startup(&mut to, version, parameters).expect("fits");
    to.to_vec()
}

fn start(parameters: &[(&str, &str)]) -> Vec<u8> {
    started(Version::V3_0, parameters)
}

/// A packet with this after its length.
fn packet(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("fits");
    [&length.to_be_bytes(), body].concat()
}

const SSL: &[u8] = b"\x04\xd2\x16\x2f";
const GSSENC: &[u8] = b"\x04\xd2\x16\x30";

#[rstest]
#[case::http(b"GET / HTTP/1.1\r\n\r\n", "claims")]
#[case::http2(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "claims")]
#[case::ssh(b"SSH-2.0-OpenSSH_9.2\r\n", "claims")]
#[case::mysql(b"\x4a\0\0\x01\x85\xa6\x03\0", "claims")]
#[case::zeros(&[0; 16], "says 0")]
#[case::shorter_than_itself(b"\0\0\0\x07", "says 7")]
#[case::too_long(b"\0\0\x27\x11", "the limit is 10000")]
#[case::version_2(&packet(b"\0\x02\0\0"), "version 2.0")]
#[case::version_4(&packet(b"\0\x04\0\0\0"), "version 4.0")]
#[case::name_without_value(&packet(b"\0\x03\0\0user\0"), "no terminator")]
#[case::no_end(&packet(b"\0\x03\0\0user\0me\0"), "no terminator")]
#[case::more_after_the_end(&packet(b"\0\x03\0\0user\0me\0\0x"), "1 bytes follow")]
#[case::not_utf8(&packet(b"\0\x03\0\0user\0\xff\0\0"), "not UTF-8")]
#[case::ssl_request_with_more(&packet(b"\x04\xd2\x16\x2fx"), "1 bytes follow")]
#[case::cancel_without_key(&packet(b"\x04\xd2\x16\x2e\0\0\0\x01"), "cancel key")]
#[case::cleartext_behind_the_ssl_request(&[&packet(SSL)[..], &start(&[("user", "u")])].concat(), "unencrypted bytes")]
#[case::cleartext_behind_the_gss_request(&[&packet(GSSENC)[..], &start(&[("user", "u")])].concat(), "unencrypted bytes")]
#[tokio::test]
async fn what_is_not_a_startup_is_answered_and_closed(#[case] sent: &[u8], #[case] said: &str) {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    let told = scene.told(sent).await.expect("is told");
    assert_eq!(told.sqlstate, "08P01");
    assert!(told.message.contains(said), "{}", told.message);
    let recorded = scene.recorded().await;
    assert!(
        matches!(&recorded[..], [Event::Refused(refused)] if refused.reason == told.message),
        "{recorded:?}"
    );
}

#[rstest]
#[case::another_database(&start(&[("user", "u"), ("database", "other")]), "3D000", "does not name the database `other`", "use `shop`")]
#[case::no_user(&start(&[("database", "shop")]), "28000", "no PostgreSQL user name", "any name will do")]
#[case::empty_user(&start(&[("user", "")]), "28000", "no PostgreSQL user name", "any name will do")]
#[case::replication(&start(&[("user", "u"), ("replication", "true")]), "0A000", "replication is not possible", "leave the startup parameter")]
#[case::replication_of_a_database(&start(&[("user", "u"), ("replication", "database")]), "0A000", "replication is not possible", "leave")]
#[case::unknown_setting(&start(&[("user", "u"), ("session_preload_libraries", "x")]), "42501", "`session_preload_libraries` may not be set", "leave it out")]
#[case::role(&start(&[("user", "u"), ("role", "postgres")]), "42501", "`role` may not be set", "leave it out")]
#[case::setting_in_options(&start(&[("user", "u"), ("options", "-c log_statement=none")]), "42501", "`log_statement` may not be set", "leave it out")]
#[case::switch_in_options(&start(&[("user", "u"), ("options", "-P")]), "22023", "`-P` in `options` is not a setting", "use only `-c name=value`")]
#[case::other_encoding(&start(&[("user", "u"), ("client_encoding", "LATIN1")]), "22023", "`LATIN1` is not possible", "use `UTF8`")]
#[case::other_encoding_in_options(&start(&[("user", "u"), ("options", "-cclient_encoding=SJIS")]), "22023", "`SJIS` is not possible", "use `UTF8`")]
#[case::backslashes(&start(&[("user", "u"), ("standard_conforming_strings", "off")]), "22023", "`off` is not possible", "use `on`")]
#[tokio::test]
async fn what_may_not_be_wished_for_is_named(
    #[case] sent: &[u8],
    #[case] sqlstate: &str,
    #[case] said: &str,
    #[case] hint: &str,
) {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    scene.lease();
    let told = scene.told(sent).await.expect("is told");
    assert_eq!(told.sqlstate, sqlstate, "{told:?}");
    assert!(told.message.contains(said) && told.hint.contains(hint), "{told:?}");
}

#[tokio::test]
async fn nobody_is_told_who_left_in_the_middle_of_a_packet() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    let (mut client, server) = tokio::io::duplex(1024);
    client.write_all(b"\0\0\0\x20\0\x03").await.expect("the sidecar listens");
    client.shutdown().await.expect("shuts down");
    let arrival = to("shop/db");
    let (heard, ()) = tokio::join!(
        read_to_end(&mut client),
        Box::pin(serve(&scene.shared, Stream::Memory(server), FROM, &arrival))
    );
    assert!(heard.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_not_waited_for_forever() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    let begun = tokio::time::Instant::now();
    scene.answer(to("shop/db"), b"").await;
    assert_eq!(begun.elapsed(), STARTUP);
}

#[tokio::test]
async fn gssapi_is_refused_and_tls_is_offered_again() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    let (mut client, server) = tokio::io::duplex(1024);
    let arrival = to("shop/db");
    let talk = async move {
        let mut answers = [0; 2];
        for (request, answer) in [GSSENC, SSL].into_iter().zip(&mut answers) {
            client.write_all(&packet(request)).await.expect("the sidecar listens");
            *answer = client.read_u8().await.expect("answers");
        }
        answers
    };
    let (answers, ()) =
        tokio::join!(talk, Box::pin(serve(&scene.shared, Stream::Memory(server), FROM, &arrival)));
    assert_eq!(&answers, b"NS");
}

#[tokio::test]
async fn requests_without_end_are_not_answered_without_end() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    let (mut client, server) = tokio::io::duplex(1024);
    let arrival = to("shop/db");
    let talk = async move {
        for _ in 0..startup::PACKETS {
            client.write_all(&packet(GSSENC)).await.expect("the sidecar listens");
            assert_eq!(client.read_u8().await.expect("answers"), b'N');
        }
        read_to_end(&mut client).await
    };
    let (heard, ()) =
        tokio::join!(talk, Box::pin(serve(&scene.shared, Stream::Memory(server), FROM, &arrival)));
    assert_eq!(error(&heard).expect("is told").message, "this request cannot come here");
}

#[tokio::test]
async fn a_cancel_request_is_never_answered_and_always_recorded() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    let mut request = BytesMut::new();
    write::cancel_request(&mut request, 7, &[1; 32]).expect("fits");
    assert_eq!(scene.answer(to("shop/db"), &request).await, b"");
    let recorded = scene.recorded().await;
    assert!(
        matches!(&recorded[..], [Event::Refused(refused)] if refused.reason == "no session has this key")
    );
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_named_by_its_connection_alone() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    scene.lease();
    let told = scene.told(&start(&[("user", "u")])).await.expect("is told");
    assert_eq!(told.sqlstate, "08006");
    assert!(
        told.message.contains("Connection `shop/db`") && told.message.contains("refused"),
        "{}",
        told.message
    );
    assert!(!told.message.contains("127.0.0.1"), "{}", told.message);
    let recorded = scene.recorded().await;
    let [Event::SessionStart(begun), Event::SessionEnd(ended)] = &recorded[..] else {
        panic!("{recorded:?}")
    };
    assert_eq!((begun.database.as_str(), begun.claimed_user.as_str()), ("shop", "u"));
    assert!(ended.reason.starts_with("the upstream gave no session"), "{}", ended.reason);
}

#[tokio::test]
async fn without_a_credential_there_is_no_session() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    scene.shared.handles.credentials.withdraw("shop/db", "the Secret `orders` is missing");
    let told = scene.told(&start(&[("user", "u")])).await.expect("is told");
    assert_eq!(told.sqlstate, "57P03");
    assert_eq!(told.message, "the Connection `shop/db` has no credential: the Secret `orders` is missing");
}

#[tokio::test]
async fn a_connection_with_a_problem_says_which() {
    let broken =
        ConnectionDocument { problem: Some("its host is taken".into()), ..connection("shop/db", "shop") };
    let told = Scene::new(vec![broken]).told(&start(&[("user", "u")])).await.expect("is told");
    assert_eq!(
        (told.sqlstate.as_str(), told.message.as_str()),
        ("57P03", "the Connection `shop/db` cannot be used: its host is taken")
    );
}

#[tokio::test]
async fn without_a_document_there_is_no_session() {
    let mut scene = Scene::new(Vec::new());
    scene.shared.handles.documents = Documents::new();
    let told = scene.told(&start(&[("user", "u")])).await.expect("is told");
    assert_eq!(told.sqlstate, "57P03");
}

#[tokio::test]
async fn what_belongs_to_no_connection_is_refused_and_recorded() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    let heard = scene.answer(captured("203.0.113.7:5432"), &start(&[("user", "u")])).await;
    assert_eq!(error(&heard).expect("is told").sqlstate, "08004");
    let recorded = scene.recorded().await;
    let [Event::Refused(refused)] = &recorded[..] else { panic!("{recorded:?}") };
    assert_eq!(refused.destination, "203.0.113.7:5432");
    assert_eq!(refused.kind, audit::RefusedKind::Connection);
}

#[tokio::test]
async fn a_sidecar_that_is_full_or_ending_says_so() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    let slot = Arc::clone(&scene.shared.slots).try_acquire_owned().expect("is free");
    assert_eq!(scene.told(&start(&[("user", "u")])).await.expect("is told").sqlstate, "53300");
    drop(slot);
    scene.shared.handles.shutdown.cancel();
    assert_eq!(scene.told(&start(&[("user", "u")])).await.expect("is told").sqlstate, "57P01");
}

#[tokio::test]
async fn what_cannot_be_recorded_does_not_begin() {
    let scene = Scene::new(vec![connection("shop/db", "shop")]);
    scene.lease();
    let filler = Event::ProcessStart { version: "x".repeat(100_000) };
    while scene.shared.handles.recorder.record(&filler, ::policy::Durability::Process).is_ok() {}
    let filler = Event::ProcessStart { version: String::new() };
    while scene.shared.handles.recorder.record(&filler, ::policy::Durability::Process).is_ok() {}
    let told = scene.told(&start(&[("user", "u")])).await.expect("is told");
    assert_eq!((told.sqlstate.as_str(), told.message.as_str()), ("58030", "the session cannot be recorded"));
}

#[test]
fn connections_at_one_address_are_told_apart_by_the_database() {
    let mut other = connection("shop/other", "other");
    let first = connection("shop/db", "shop");
    other.upstream.port = first.upstream.port;
    other.postgres.as_mut().expect("has one").extra_databases.clear();
    let arrival = captured(&format!("198.18.0.1:{}", first.upstream.port));
    let document = Document {
        format: ::policy::FORMAT,
        features: Vec::new(),
        stale_after_seconds: 60,
        dns: DnsMode::Cluster,
        connections: vec![first, other],
    };
    let found = |database| find::connection(&document, &arrival, database).map(|found| found.name.as_str());
    assert_eq!(found(Some("shop")), Ok("shop/db"));
    assert_eq!(found(Some("extra")), Ok("shop/db"));
    assert_eq!(found(Some("other")), Ok("shop/other"));
    let all = ["`shop`", "`extra`", "`other`"].map(str::to_owned).to_vec();
    assert_eq!(found(Some("neither")), Err(NoSession::Ambiguous(all.clone())));
    assert_eq!(found(None), Err(NoSession::Ambiguous(all)));
    // In the form in which a socket of both families shows IPv4.
    let mapped = captured(&format!("[::ffff:198.18.0.1]:{}", document.connections[0].upstream.port));
    assert!(find::connection(&document, &mapped, Some("shop")).is_ok());
    assert_eq!(
        find::connection(&document, &captured("198.18.0.1:1"), Some("shop")),
        Err(NoSession::NoConnection)
    );
    assert_eq!(find::connection(&document, &to("shop/none"), None), Err(NoSession::NoConnection));
}
