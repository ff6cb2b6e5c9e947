//! Logging in to a scripted upstream that says what a real one never should.

use bytes::{Bytes, BytesMut};
use policy::{TlsDocument, TlsMode};
use rstest::rstest;
use secrecy::SecretSlice;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use wire::postgres::{ClientSplitter, startup::Packet, write::ErrorText, write::Severity};

use super::*;
use crate::upstream::{Security, tls::Binding};

const PASSWORD: &str = "only-the-sidecar-knows";
const ROLE: &str = "role-of-the-upstream";
/// What an ordinary server says to the question that pins it.
const PINS: [&str; 7] = ["77", "150004", "\"$user\", public", "UTF8", "on", "read committed", ROLE];

fn wish() -> Wish {
    let lease = Lease {
        version: "1".into(),
        username: ROLE.into(),
        password: SecretSlice::from(PASSWORD.as_bytes().to_vec()),
        valid_for: None,
    };
    Wish {
        connection: "shop/db".into(),
        upstream: Upstream {
            host: "db.example".into(),
            port: 5432,
            tls: TlsDocument { mode: TlsMode::Disable, ca_bundle: None },
        },
        lease: Arc::new(lease),
        database: "shop".into(),
        settings: vec![("datestyle".into(), "German".into()), ("client_encoding".into(), "UNICODE".into())],
        defaults: Defaults::new(),
    }
}

/// The other end of the pipe.
struct Peer {
    stream: DuplexStream,
    heard: ClientSplitter,
}

impl Peer {
    /// What the startup packet says.
    async fn startup(&mut self) -> Vec<(String, String)> {
        let mut buffer = BytesMut::new();
        loop {
            if let Some(body) = Packet::split(&mut buffer).expect("a packet") {
                let Packet::Start(start) = Packet::decode(&body).expect("a start") else {
                    panic!("not a start")
                };
                let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                return start.parameters.iter().map(owned).collect();
            }
            self.stream.read_buf(&mut buffer).await.expect("is there");
        }
    }

    /// The next message; none when the sidecar has left.
    async fn message(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.heard.next().expect("a message") {
                return Some(frame);
            }
            if self.stream.read_buf(self.heard.buffer()).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("is there");
    }

    /// Everything after the authentication, as an ordinary server says it.
    async fn settle(&mut self) {
        let mut to = BytesMut::new();
        write::authentication_ok(&mut to);
        write::parameter_status(&mut to, "server_version", "15.4").expect("fits");
        write::backend_key_data(&mut to, 77, b"upkey").expect("fits");
        write::ready_for_query(&mut to, TransactionStatus::Idle);
        self.say(&to).await;
    }

    async fn answer(&mut self, values: &[&str]) {
        let mut to = BytesMut::new();
        let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_bytes())).collect();
        write::text_row_description(&mut to, &["a"]).expect("fits");
        write::data_row(&mut to, &values).expect("fits");
        write::command_complete(&mut to, "SELECT 1").expect("fits");
        write::ready_for_query(&mut to, TransactionStatus::Idle);
        self.say(&to).await;
    }
}

/// A login with an upstream that does this. Returns how it went, and what else the upstream heard.
async fn with<F: Future<Output = Peer>>(
    security: Security,
    script: impl FnOnce(Peer) -> F,
) -> (Result<LoggedIn, LoginError>, Vec<Frame>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let reached = Reached { stream: Stream::Memory(ours), security };
    let wish = wish();
    let login = async {
        let result = Box::pin(converse(reached, &wish, Some("public"))).await;
        // The pipe ends here, so that the upstream hears the end.
        result.map(|session| LoggedIn { stream: Stream::Memory(tokio::io::duplex(1).0), ..session })
    };
    let upstream = async {
        let mut upstream = script(Peer { stream: theirs, heard: ClientSplitter::default() }).await;
        let mut heard = Vec::new();
        upstream.stream.shutdown().await.expect("shuts down");
        while let Some(frame) = upstream.message().await {
            heard.push(frame);
        }
        heard
    };
    tokio::join!(login, upstream)
}

fn verified() -> Security {
    Security::Tls { binding: None, verified: true }
}

fn unverified() -> Security {
    Security::Tls { binding: None, verified: false }
}

fn contains(frames: &[Frame], secret: &str) -> bool {
    frames.iter().any(|frame| frame.raw().windows(secret.len()).any(|part| part == secret.as_bytes()))
}

#[tokio::test]
async fn our_pins_come_after_what_the_client_wishes() {
    let (session, _) = with(Security::Plain, async |mut upstream| {
        let said = upstream.startup().await;
        let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "user",
                "database",
                "datestyle",
                "client_encoding",
                "standard_conforming_strings",
                "search_path"
            ]
        );
        assert_eq!(said[3].1, "UTF8");
        upstream.settle().await;
        assert_eq!(upstream.message().await.expect("asks").tag(), b'Q');
        upstream.answer(&PINS).await;
        upstream
    })
    .await;
    let session = session.expect("logs in");
    assert_eq!((session.version.major, session.user.as_str()), (15, ROLE));
    assert_eq!(session.parameters, [("server_version".to_owned(), "15.4".to_owned())]);
}

#[rstest]
#[case::pooler(["78", "150004", "x", "UTF8", "on", "x", "x"], "a connection pooler stands before it")]
#[case::too_old(["77", "120009", "x", "UTF8", "on", "x", "x"], "it is PostgreSQL 12 (supported: 13 to 18)")]
#[case::too_new(["77", "190000", "x", "UTF8", "on", "x", "x"], "it is PostgreSQL 19 (supported: 13 to 18)")]
#[case::other_encoding(["77", "150004", "x", "SQL_ASCII", "on", "x", "x"], "changes `client_encoding` at login")]
#[case::backslashes(["77", "150004", "x", "UTF8", "off", "x", "x"], "changes `standard_conforming_strings` at login")]
#[case::no_number(["77", "fifteen", "x", "UTF8", "on", "x", "x"], "it does not say what it is")]
#[tokio::test]
async fn an_upstream_that_is_not_what_the_rest_relies_on_is_refused_by_name(
    #[case] pins: [&str; 7],
    #[case] said: &str,
) {
    let (result, _) = with(Security::Plain, async |mut upstream| {
        upstream.startup().await;
        upstream.settle().await;
        upstream.message().await;
        upstream.answer(&pins).await;
        upstream
    })
    .await;
    let error = result.expect_err("is refused").to_string();
    assert!(error.contains(said), "{error}");
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("fits");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn error(sqlstate: &str, text: &str) -> Vec<u8> {
    let mut to = BytesMut::new();
    write::error(&mut to, &ErrorText::new(Severity::Fatal, sqlstate, text));
    to.to_vec()
}

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const IDLE: &[u8] = b"Z\0\0\0\x05I";

#[rstest]
#[case::nothing(b"".to_vec(), "it closed the connection during the login")]
#[case::half_a_message(b"R\0\0\0\x08\0".to_vec(), "it closed the connection during the login")]
#[case::http(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "does not keep to PostgreSQL's protocol")]
#[case::kerberos(message(b'R', &7u32.to_be_bytes()), "it asks for a kind of authentication that is not spoken here")]
#[case::unknown_authentication(message(b'R', &99u32.to_be_bytes()), "a kind of authentication")]
#[case::only_unknown_mechanisms(message(b'R', b"\0\0\0\x0aOAUTHBEARER\0\0"), "it asks for a SASL mechanism")]
#[case::a_proof_before_the_challenge(message(b'R', b"\0\0\0\x0cv=proof"), "a message came that is not due")]
#[case::ready_at_once(IDLE.to_vec(), "a message came that is not due")]
#[case::data(message(b'D', b"\0\0"), "a message came that is not due")]
#[case::no_key([OK, IDLE].concat(), "it gave no cancel key")]
#[case::two_keys([OK, &message(b'K', &[1; 8]), &message(b'K', &[1; 8])].concat(), "a message came that is not due")]
#[case::in_a_transaction([OK, &message(b'K', &[1; 8]), b"Z\0\0\0\x05T"].concat(), "a message came that is not due")]
#[case::endless_notices(message(b'N', b"SNOTICE\0Mx\0\0").repeat(20_000), "it sends too much")]
#[case::endless_settings([OK.to_vec(), message(b'S', b"a\0b\0").repeat(300)].concat(), "a message came that is not due")]
#[case::refusal(
    error("28P01", "password authentication failed for user \"role-of-the-upstream\""),
    "it refused the login (SQLSTATE 28P01)"
)]
#[case::refusal_without_code(message(b'E', b"Mno\0\0"), "it refused the login (SQLSTATE unknown)")]
#[tokio::test]
async fn what_an_upstream_may_not_say_ends_the_login(#[case] says: Vec<u8>, #[case] said: &str) {
    let (result, heard) = with(Security::Plain, async |mut upstream| {
        upstream.startup().await;
        // Whoever floods does not wait to be heard.
        drop(upstream.stream.write_all(&says).await);
        upstream
    })
    .await;
    let error = result.expect_err("is refused").to_string();
    assert!(error.contains(said), "{error}");
    assert!(!error.contains(ROLE) && !error.contains(PASSWORD), "{error}");
    assert!(heard.is_empty(), "nothing is said to it: {heard:?}");
}

#[rstest]
#[case::in_the_clear(Security::Plain, false)]
#[case::to_a_stranger(unverified(), false)]
#[case::to_a_friend(verified(), true)]
#[tokio::test]
async fn a_password_in_the_clear_goes_only_to_whom_it_was_verified(#[case] to: Security, #[case] goes: bool) {
    let (result, heard) = with(to, async |mut upstream| {
        upstream.startup().await;
        upstream.say(&message(b'R', &3u32.to_be_bytes())).await;
        upstream
    })
    .await;
    assert_eq!(contains(&heard, PASSWORD), goes);
    let error = result.expect_err("the script ends here").to_string();
    assert_eq!(error.contains("only over verified TLS"), !goes, "{error}");
}

#[tokio::test]
async fn md5_answers_with_the_salted_hash_of_the_hash() {
    let (_, heard) = with(Security::Plain, async |mut upstream| {
        upstream.startup().await;
        upstream.say(&message(b'R', b"\0\0\0\x05\x01\x02\x03\x04")).await;
        upstream
    })
    .await;
    let expected =
        postgres_protocol::authentication::md5_hash(ROLE.as_bytes(), PASSWORD.as_bytes(), [1, 2, 3, 4]);
    assert!(contains(&heard, &expected) && !contains(&heard, PASSWORD));
}

#[rstest]
#[case::instead_of_the_challenge(&[OK], "a message came that is not due")]
#[case::instead_of_the_proof(&[b"R\0\0\0\x0c\0\0\0\x0br=", OK], "its SCRAM challenge cannot be answered")]
#[tokio::test]
async fn an_upstream_that_skips_its_proof_does_not_know_the_password(
    #[case] says: &[&'static [u8]],
    #[case] said: &str,
) {
    let (result, heard) = with(Security::Plain, async |mut upstream| {
        upstream.startup().await;
        upstream.say(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).await;
        upstream.message().await;
        for part in says {
            upstream.say(part).await;
        }
        upstream
    })
    .await;
    let error = result.expect_err("is refused").to_string();
    assert!(error.contains(said), "{error}");
    assert!(!contains(&heard, PASSWORD));
}

/// The challenge that answers what the sidecar opened with.
fn challenge(first: &Frame) -> Vec<u8> {
    let Ok(wire::postgres::frontend::Message::Password(first)) =
        wire::postgres::frontend::Message::decode(first)
    else {
        panic!("not SASL");
    };
    let (_, Some(opening)) = first.sasl_initial().expect("SASL") else { panic!("without an opening") };
    let opening = std::str::from_utf8(opening).expect("text");
    let nonce = opening.rsplit("r=").next().expect("has a nonce");
    let body = format!("\0\0\0\x0br={nonce}more,s=c2FsdHNhbHQ=,i=4096");
    message(b'R', body.as_bytes())
}

#[rstest]
#[case::all_is_well(OK.to_vec())]
#[case::a_wrong_proof(message(b'R', b"\0\0\0\x0cv=d3JvbmcgcHJvb2Ygd3JvbmcgcHJvb2Ygd3JvbmcgcHI="))]
#[tokio::test]
async fn a_proof_that_is_missing_or_wrong_ends_the_login(#[case] proof: Vec<u8>) {
    let (result, heard) = with(Security::Plain, async |mut upstream| {
        upstream.startup().await;
        upstream.say(&message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0")).await;
        let first = upstream.message().await.expect("opens");
        upstream.say(&challenge(&first)).await;
        upstream.message().await.expect("answers");
        upstream.say(&proof).await;
        // What a server of the password would go on with.
        upstream.settle().await;
        upstream
    })
    .await;
    assert_eq!(result.expect_err("is refused").to_string(), "it did not prove that it knows the password");
    assert!(heard.is_empty(), "nothing is asked of it: {heard:?}");
}

#[rstest]
#[case::no_tls(Security::Plain, &["SCRAM-SHA-256"], "SCRAM-SHA-256", "n,")]
#[case::offered_without_tls(Security::Plain, &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], "SCRAM-SHA-256", "n,")]
#[case::bound(bound(), &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,")]
#[case::bound_in_any_order(bound(), &["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"], "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,")]
#[case::stripped(bound(), &["SCRAM-SHA-256"], "SCRAM-SHA-256", "y,")]
#[case::nothing_to_bind(verified(), &["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], "SCRAM-SHA-256", "n,")]
#[tokio::test]
async fn the_login_is_bound_to_the_tls_connection_where_both_sides_can(
    #[case] security: Security,
    #[case] offers: &[&str],
    #[case] chosen: &str,
    #[case] flag: &str,
) {
    let (_, heard) = with(security, async |mut upstream| {
        upstream.startup().await;
        let names: Vec<u8> = offers.iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()).collect();
        upstream.say(&message(b'R', &[&b"\0\0\0\x0a"[..], &names, b"\0"].concat())).await;
        upstream
    })
    .await;
    let Ok(wire::postgres::frontend::Message::Password(first)) =
        wire::postgres::frontend::Message::decode(&heard[0])
    else {
        panic!("not SASL: {heard:?}");
    };
    let (mechanism, opening) = first.sasl_initial().expect("SASL");
    assert_eq!(mechanism, chosen);
    assert!(opening.expect("has one").starts_with(flag.as_bytes()));
}

fn bound() -> Security {
    let key = rcgen::KeyPair::generate().expect("makes");
    let certificate =
        rcgen::CertificateParams::new(vec!["db.example".into()]).expect("a name").self_signed(&key);
    let binding = Binding::of(certificate.expect("signs").der());
    Security::Tls { binding: Some(binding.expect("is known")), verified: true }
}

#[tokio::test]
async fn a_password_that_cannot_be_sent_is_said_so_without_showing_it() {
    let mut wish = wish();
    let password = SecretSlice::from(b"has a\0NUL".to_vec());
    wish.lease = Arc::new(Lease { version: "1".into(), username: ROLE.into(), password, valid_for: None });
    let (ours, theirs) = tokio::io::duplex(1024);
    let reached = Reached { stream: Stream::Memory(ours), security: verified() };
    let mut upstream = Peer { stream: theirs, heard: ClientSplitter::default() };
    let ask = async {
        upstream.startup().await;
        upstream.say(&message(b'R', &3u32.to_be_bytes())).await;
    };
    let (result, ()) = tokio::join!(Box::pin(converse(reached, &wish, None)), ask);
    let error = result.expect_err("cannot be sent").to_string();
    assert_eq!(error, "the credential or the database's name cannot be sent: a string holds a NUL byte");
}

#[test]
fn a_session_that_is_not_shown_is_not_printed() {
    let printed = format!("{:?}", wish());
    assert!(!printed.contains(PASSWORD), "{printed}");
    let key = UpstreamKey { pid: 7, secret: Zeroizing::new(b"hidden".to_vec()) };
    assert!(!format!("{key:?}").contains(&format!("{:?}", Bytes::from_static(b"hidden"))));
}
