//! Cancel requests before an upstream that only listens.

use policy::{TlsDocument, TlsMode};
use tokio::{net::TcpListener, sync::mpsc};
use wire::postgres::startup::Version;

use super::*;

const SESSION: Uuid = Uuid::nil();
const SECRET: &[u8] = b"upstream";

/// What a scripted upstream heard, one request each.
struct Heard(mpsc::UnboundedReceiver<Vec<u8>>);

impl Heard {
    fn nothing(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

async fn upstream() -> (Upstream, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("has one").port();
    let (told, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 12 + SECRET.len()];
            stream.read_exact(&mut request).await.expect("is a request");
            told.send(request).expect("the test listens");
        }
    });
    let tls = TlsDocument { mode: TlsMode::Disable, ca_bundle: None };
    (Upstream { host: "127.0.0.1".into(), port, tls }, Heard(heard))
}

fn open(cancels: &Cancels, version: Version, upstream: &Upstream) -> CancelGate {
    let key = UpstreamKey { pid: 77, secret: Zeroizing::new(SECRET.to_vec()) };
    cancels.open(version, SESSION, upstream, key)
}

#[tokio::test]
async fn a_cancel_of_what_is_outstanding_goes_upstream_with_its_own_key() {
    let (upstream, mut heard) = upstream().await;
    let cancels = Cancels::new();
    for (version, length) in [(Version::V3_0, 4), (Version::V3_2, 32)] {
        let gate = open(&cancels, version, &upstream);
        assert_eq!((gate.pid(), gate.secret().len()), (77, length));
        gate.outstanding(true);
        let answer = async {
            let mut expected = BytesMut::new();
            write::cancel_request(&mut expected, 77, SECRET).expect("fits");
            assert_eq!(heard.0.recv().await.as_deref(), Some(&expected[..]));
            gate.answers().all();
        };
        let (delivery, ()) = tokio::join!(cancels.deliver(77, gate.secret()), answer);
        assert_eq!(delivery, Delivery::Delivered(SESSION));
        assert!(heard.nothing(), "once is enough");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_again_but_not_forever() {
    let (upstream, mut heard) = upstream().await;
    let cancels = Cancels::new();
    let gate = open(&cancels, Version::V3_0, &upstream);
    gate.outstanding(true);
    assert_eq!(cancels.deliver(77, gate.secret()).await, Delivery::Delivered(SESSION));
    for _ in 0..=AGAIN {
        assert!(!heard.nothing());
    }
    assert!(heard.nothing());
    // Answered after the second time: there is no third.
    let answer = async {
        heard.0.recv().await;
        heard.0.recv().await;
        gate.answers().all();
    };
    let (delivery, ()) = tokio::join!(cancels.deliver(77, gate.secret()), answer);
    assert_eq!(delivery, Delivery::Delivered(SESSION));
    assert!(heard.nothing());
}

#[tokio::test]
async fn nothing_goes_upstream_for_another_key_or_when_nothing_is_outstanding() {
    let (upstream, mut heard) = upstream().await;
    let cancels = Cancels::new();
    let gate = open(&cancels, Version::V3_2, &upstream);
    let secret = gate.secret().to_vec();
    assert_eq!(cancels.deliver(77, &secret).await, Delivery::NothingOutstanding(SESSION));
    gate.outstanding(true);
    assert_eq!(cancels.deliver(78, &secret).await, Delivery::UnknownKey);
    assert_eq!(cancels.deliver(77, &secret[..4]).await, Delivery::UnknownKey);
    assert_eq!(cancels.deliver(77, SECRET).await, Delivery::UnknownKey);
    gate.answers().all();
    assert_eq!(cancels.deliver(77, &secret).await, Delivery::NothingOutstanding(SESSION));
    drop(gate);
    assert_eq!(cancels.deliver(77, &secret).await, Delivery::UnknownKey);
    assert!(heard.nothing());
}

#[tokio::test]
async fn a_cancel_waits_for_the_statement_that_is_being_decided() {
    let (upstream, mut heard) = upstream().await;
    let cancels = Cancels::new();
    for (goes, expected) in
        [(true, Delivery::Delivered(SESSION)), (false, Delivery::NothingOutstanding(SESSION))]
    {
        let gate = open(&cancels, Version::V3_0, &upstream);
        gate.deciding();
        // Reads of ours, which a cancel must not hit and must not hold up.
        gate.hold().await;
        let secret = gate.secret().to_vec();
        let decide = async {
            tokio::task::yield_now().await;
            assert!(heard.nothing());
            gate.hold().await;
            gate.outstanding(goes);
            gate.decided();
        };
        let (delivery, ()) = tokio::join!(cancels.deliver(77, &secret), decide);
        assert_eq!(delivery, expected);
        if goes {
            assert!(heard.0.recv().await.is_some());
            while heard.0.try_recv().is_ok() {}
        }
    }
    assert!(heard.nothing());
}

#[tokio::test]
async fn a_session_that_ends_lets_no_cancel_wait() {
    let (upstream, _heard) = upstream().await;
    let cancels = Cancels::new();
    let gate = open(&cancels, Version::V3_0, &upstream);
    gate.deciding();
    let secret = gate.secret().to_vec();
    let end = async {
        tokio::task::yield_now().await;
        drop(gate);
    };
    let (delivery, ()) = tokio::join!(cancels.deliver(77, &secret), end);
    assert_eq!(delivery, Delivery::NothingOutstanding(SESSION));
}

#[tokio::test]
async fn what_is_ours_waits_for_a_cancel_that_was_let_through() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("has one").port();
    let tls = TlsDocument { mode: TlsMode::Disable, ca_bundle: None };
    let upstream = Upstream { host: "127.0.0.1".into(), port, tls };
    let cancels = Cancels::new();
    let gate = open(&cancels, Version::V3_0, &upstream);
    gate.outstanding(true);
    let secret = gate.secret().to_vec();
    let deliver = cancels.deliver(77, &secret);
    let hold = async {
        let (stream, _) = listener.accept().await.expect("connects");
        let mut held = pin!(gate.hold());
        assert!(futures_util::poll!(&mut held).is_pending(), "the cancel is on its way");
        drop(stream);
        held.await;
    };
    let (delivery, ()) = tokio::join!(deliver, hold);
    assert!(matches!(delivery, Delivery::Delivered(_) | Delivery::Failed(_)), "{delivery:?}");
}

#[tokio::test]
async fn secrets_are_not_printed() {
    let (upstream, _heard) = upstream().await;
    let cancels = Cancels::new();
    let gate = open(&cancels, Version::V3_2, &upstream);
    let printed = format!("{cancels:?} {gate:?} {:?}", gate.answers());
    assert!(!printed.contains(&format!("{:?}", gate.secret())) && !printed.contains("upstream"), "{printed}");
}
