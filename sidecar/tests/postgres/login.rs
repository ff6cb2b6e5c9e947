//! Logging in to a real server: each degree of TLS, each way to authenticate, and what must not get a session.

use std::{
    fs,
    net::TcpStream as StdStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use rcgen::date_time_ymd;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

use crate::{
    server::{free_port, give_away, unprivileged},
    support::{PASSWORD, Plan, Route, World, eventually, run},
    tls::{Anyone, Authority, Identity},
};

const OURS: &str = "{mode: VerifyFull, caBundle: {configMapRef: {name: ours, key: ca.crt}}}";
const OURS_BY_CHAIN: &str = "{mode: VerifyCA, caBundle: {configMapRef: {name: ours, key: ca.crt}}}";
const FOREIGN: &str = "{mode: VerifyFull, caBundle: {configMapRef: {name: foreign, key: ca.crt}}}";
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const HBA: &str = "local all all trust\nhost all cleartext 127.0.0.1/32 password\nhost all hashed 127.0.0.1/32 md5\n\
                   host all trusted 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// A role for each way to authenticate, all with the same password.
fn roles() -> String {
    format!(
        "CREATE ROLE cleartext LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE trusted LOGIN;\
         SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD '{PASSWORD}'; RESET password_encryption"
    )
}

/// A server whose certificate is for 127.0.0.1, with these Connections before it.
async fn world(authority: &Authority, identity: &Identity, routes: Vec<Route>) -> World {
    let roots = [("ours", authority.pem.clone()), ("foreign", Authority::new().pem)];
    let roles = roles();
    let plan = Plan {
        roles: &roles,
        hba: HBA,
        routes,
        identity: Some(identity.files()),
        roots: &roots,
        ..Plan::default()
    };
    World::new(plan).await
}

fn route(name: &'static str, user: &'static str, tls: &'static str) -> Route {
    Route { user, tls, ..Route::new(name) }
}

/// Whether the server says that the session of this role is encrypted; none without a session.
async fn is_encrypted(world: &World, name: &str, role: &str) -> Option<bool> {
    let agent = world.try_agent(name).await.ok()?;
    let admin = world.admin("shop").await;
    let text = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = $1";
    let encrypted = admin.query_one(text, &[&role]).await.expect("runs").get(0);
    agent.batch_execute("SELECT 1").await.expect("is a session");
    encrypted
}

#[tokio::test]
async fn every_degree_of_tls_and_every_way_to_authenticate_work() {
    let authority = Authority::new();
    let routes = vec![
        route("plain", "app", "{mode: Disable}"),
        route("any", "app", "{mode: Require}"),
        route("chain", "app", OURS_BY_CHAIN),
        route("full", "app", OURS),
        route("hashed", "hashed", "{mode: Disable}"),
        route("trusted", "trusted", "{mode: Disable}"),
        route("cleartext-plain", "cleartext", "{mode: Disable}"),
        route("cleartext-any", "cleartext", "{mode: Require}"),
        route("cleartext-full", "cleartext", OURS),
    ];
    let world = world(&authority, &authority.issue("127.0.0.1", |_| {}), routes).await;
    for (name, role, encrypted) in [
        ("plain", "app", false),
        ("any", "app", true),
        ("chain", "app", true),
        ("full", "app", true),
        ("hashed", "hashed", false),
        ("trusted", "trusted", false),
        ("cleartext-full", "cleartext", true),
    ] {
        assert_eq!(
            is_encrypted(&world, name, role).await,
            Some(encrypted),
            "{name}: {}",
            world.sidecar_log()
        );
    }
    for name in ["cleartext-plain", "cleartext-any"] {
        let told = world.told(name).await;
        assert_eq!(told.code().code(), "08006", "{name}");
        assert!(told.message().contains("only over verified TLS"), "{name}: {}", told.message());
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_hold_up_never_sees_the_credential() {
    let authority = Authority::new();
    let routes = vec![
        route("full", "cleartext", OURS),
        route("foreign", "cleartext", FOREIGN),
        Route { host: "localhost", ..route("name", "cleartext", OURS) },
        Route { host: "localhost", ..route("chain", "app", OURS_BY_CHAIN) },
    ];
    let world = world(&authority, &authority.issue("127.0.0.1", |_| {}), routes).await;
    for (name, said) in [
        ("foreign", "its issuer is not in the `caBundle`"),
        ("name", "it is not for the Connection's host; VerifyCA would leave the name unchecked"),
    ] {
        let told = world.told(name).await;
        assert_eq!(told.code().code(), "08006", "{name}");
        assert!(told.message().contains(said), "{name}: {}", told.message());
    }
    assert!(!world.server_log().contains("connection authenticated"), "a credential was sent");
    world.try_agent("chain").await.expect("the chain alone is checked");
    world.try_agent("full").await.expect("is the right server");
    let expired = authority.issue("127.0.0.1", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let (certificate, key) = expired.files();
    world.server().change_identity(&certificate, &key);
    let says = |error: tokio_postgres::Error| {
        error.as_db_error().is_some_and(|told| told.message().contains("it has expired"))
    };
    eventually("the server shows its new certificate", async || {
        world.try_agent("full").await.err().is_some_and(says)
    })
    .await;
}

/// A server in the middle: ends TLS with its own identity and goes on to the real server over TLS.
async fn in_the_middle(identity: &Identity, server: u16, strip: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("has one").port();
    let acceptor = identity.acceptor();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                client.read_exact(&mut [0; 8]).await.expect("asks for TLS");
                client.write_all(b"S").await.expect("is there");
                let mut client = acceptor.accept(client).await.expect("shakes hands");
                let mut upstream = TcpStream::connect(("127.0.0.1", server)).await.expect("connects");
                upstream.write_all(SSL_REQUEST).await.expect("is there");
                assert_eq!(upstream.read_u8().await.expect("answers"), b'S');
                let connector = TlsConnector::from(Arc::new(Anyone::config()));
                let name = "localhost".try_into().expect("a name");
                let mut upstream = connector.connect(name, upstream).await.expect("shakes hands");
                if strip {
                    // The startup goes on; of the offered mechanisms only the one without a binding comes back.
                    let mut start = [0; 1024];
                    let read = client.read(&mut start).await.expect("starts");
                    upstream.write_all(start.get(..read).expect("was read")).await.expect("is there");
                    let mut offer = [0; 1024];
                    let read = upstream.read(&mut offer).await.expect("offers");
                    assert!(
                        offer
                            .get(..read)
                            .expect("was read")
                            .windows(18)
                            .any(|part| part == b"SCRAM-SHA-256-PLUS")
                    );
                    client.write_all(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0").await.expect("is there");
                }
                drop(copy_bidirectional(&mut client, &mut upstream).await);
            });
        }
    });
    port
}

#[tokio::test]
async fn a_login_is_bound_to_its_tls_connection() {
    let authority = Authority::new();
    let identity = authority.issue("127.0.0.1", |_| {});
    // One in the middle that is as trusted as the server: only the binding tells them apart.
    let middle = authority.issue("127.0.0.1", |_| {});
    let server = free_port();
    let relayed = in_the_middle(&middle, server, false).await;
    let stripped = in_the_middle(&middle, server, true).await;
    let routes = vec![
        route("direct", "app", OURS),
        Route { upstream_port: Some(relayed), ..route("relayed", "app", OURS) },
        Route { upstream_port: Some(relayed), ..route("relayed-unverified", "app", "{mode: Require}") },
        Route { upstream_port: Some(stripped), ..route("stripped", "app", OURS) },
    ];
    let roots = [("ours", authority.pem.clone())];
    let port = format!("port = {server}");
    let settings = [port.as_str()];
    let plan = Plan {
        hba: HBA,
        routes,
        identity: Some(identity.files()),
        roots: &roots,
        settings: &settings,
        ..Plan::default()
    };
    let world = World::new(plan).await;
    world.try_agent("direct").await.expect("is the server itself");
    for name in ["relayed", "relayed-unverified", "stripped"] {
        let told = world.told(name).await;
        assert_eq!(told.code().code(), "28000", "{name}: {}", told.message());
    }
    let log = world.server_log();
    assert!(log.contains("SCRAM channel binding check failed"), "{log}");
    assert!(log.contains("SCRAM channel binding negotiation error"), "{log}");
}

/// A self-signed certificate for 127.0.0.1 and its key, in the form that servers read.
fn ed25519() -> (String, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (dir.path().join("certificate"), dir.path().join("key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=server"]);
    openssl
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    run(&mut openssl);
    (fs::read_to_string(certificate).expect("reads"), fs::read_to_string(key).expect("reads"))
}

#[tokio::test]
async fn a_certificate_that_names_no_hash_still_lets_the_login_through() {
    let (certificate, key) = ed25519();
    let roots = [("ours", certificate.clone())];
    let plan = Plan {
        routes: vec![route("full", "app", OURS)],
        identity: Some((certificate, key)),
        roots: &roots,
        ..Plan::default()
    };
    let world = World::new(plan).await;
    assert_eq!(is_encrypted(&world, "full", "app").await, Some(true), "{}", world.sidecar_log());
}

#[tokio::test]
async fn a_refused_credential_is_said_so_without_showing_it() {
    let wrong = Route { password: "a-password-that-is-wrong", ..Route::new("wrong") };
    let nobody = Route { user: "nobody-at-all", ..Route::new("nobody") };
    let nowhere = Route { database: "nowhere", ..Route::new("nowhere") };
    let down = Route { upstream_port: Some(free_port()), ..Route::new("down") };
    let routes = vec![Route::new("db"), wrong, nobody, nowhere, down];
    let world = World::new(Plan { routes, ..Plan::default() }).await;
    for (name, sqlstate, said) in [
        ("wrong", "28000", "refuses the credential that the Connection names"),
        ("nobody", "28000", "refuses the credential that the Connection names"),
        ("nowhere", "3D000", "does not have this database"),
        ("down", "08006", "does not accept connections"),
    ] {
        let told = world.told(name).await;
        assert_eq!(told.code().code(), sqlstate, "{name}: {}", told.message());
        assert!(told.message().contains(said), "{name}: {}", told.message());
        assert!(told.message().contains(&format!("`shop/{name}`")), "{name}: {}", told.message());
        let text = format!("{told:?}");
        for secret in ["a-password-that-is-wrong", "nobody-at-all", PASSWORD, "127.0.0.1"] {
            assert!(!text.contains(secret), "{name}: {text}");
        }
    }
    world.recorded("the upstream gave no session").await;
    let kept: String = world.records().iter().map(|file| fs::read_to_string(file).expect("reads")).collect();
    for secret in ["a-password-that-is-wrong", PASSWORD] {
        assert!(!kept.contains(secret) && !world.sidecar_log().contains(secret));
    }
}

#[tokio::test]
async fn a_changed_credential_counts_at_the_next_login() {
    let mut world = World::new(Plan::default()).await;
    let before = world.agent().await;
    world
        .admin("postgres")
        .await
        .batch_execute("ALTER ROLE app PASSWORD 'the next one'")
        .await
        .expect("runs");
    assert_eq!(world.told("db").await.code().code(), "28000");
    world.change_password("db", "the next one");
    world.agent().await.batch_execute("SELECT 1").await.expect("is a session");
    before.batch_execute("SELECT 1").await.expect("goes on");
}

/// PgBouncer before the server; ends when dropped.
struct Pooler {
    process: Child,
    _dir: TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Pooler {
    fn start(port: u16, server: u16) -> Self {
        let program = Path::new("/usr/sbin/pgbouncer");
        assert!(program.exists(), "PgBouncer is installed: run make setup");
        let dir = tempfile::tempdir().expect("a directory");
        give_away(dir.path());
        let users = dir.path().join("users");
        fs::write(&users, format!("\"app\" \"{PASSWORD}\"\n")).expect("writes");
        let settings = dir.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\nunix_socket_dir =\n\
             ignore_startup_parameters = search_path,extra_float_digits\n",
            users.display()
        );
        fs::write(&settings, text).expect("writes");
        for file in [&users, &settings] {
            give_away(file);
        }
        let mut command = unprivileged(program);
        command.arg("-q").arg(settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { process: command.spawn().expect("starts"), _dir: dir }
    }
}

#[tokio::test]
async fn a_pooler_is_refused_by_name() {
    let port = free_port();
    let routes = vec![Route::new("db"), Route { upstream_port: Some(port), ..Route::new("pooled") }];
    let world = World::new(Plan { routes, ..Plan::default() }).await;
    let _pooler = Pooler::start(port, world.server().port);
    eventually("PgBouncer listens", async || StdStream::connect(("127.0.0.1", port)).is_ok()).await;
    let told = world.told("pooled").await;
    assert_eq!(told.code().code(), "08006");
    assert!(told.message().contains("a connection pooler stands before it"), "{}", told.message());
}

#[tokio::test]
async fn a_roles_own_settings_never_change_what_texts_mean() {
    let route = |name, user| Route { user, ..Route::new(name) };
    let routes = vec![Route::new("db"), route("path", "path"), route("strings", "strings")];
    let roles = format!(
        "CREATE ROLE path LOGIN PASSWORD '{PASSWORD}'; ALTER ROLE path SET search_path = pg_catalog, public;\
         CREATE ROLE strings LOGIN PASSWORD '{PASSWORD}'; ALTER ROLE strings SET standard_conforming_strings = off;\
         ALTER ROLE strings SET client_encoding = 'LATIN1'"
    );
    let world = World::new(Plan { routes, roles: &roles, ..Plan::default() }).await;
    // What is given at login wins over what the role has; its search_path is asked and kept.
    for (name, setting, wanted) in [
        ("path", "search_path", "pg_catalog, public"),
        ("strings", "standard_conforming_strings", "on"),
        ("strings", "client_encoding", "UTF8"),
    ] {
        let agent = world.try_agent(name).await.expect("is a session");
        for reset in ["SELECT 1", "RESET ALL", "DISCARD ALL"] {
            agent.batch_execute(reset).await.expect("allowed");
            let shown =
                agent.query_one(&format!("SELECT current_setting('{setting}')"), &[]).await.expect("allowed");
            assert_eq!(shown.get::<_, String>(0), wanted, "{name} after {reset}");
        }
    }
}
