//! The control channel over TLS: who gets what, and when a stream ends.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "channel/served.rs"]
mod served;

use std::{sync::atomic::Ordering, time::Duration};

use channel::v1::{
    Acknowledge, Hello, LeaseRequest, LeaseResponse, RecordRequest, WatchRequest, WatchResponse,
    lease_response, watch_request, watch_response,
};
use chaperone_operator::leases::Lease;
use served::{Served, with_token};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use zeroize::Zeroizing;

/// How long an answer may take; no test comes near it.
const SOON: Duration = Duration::from_secs(10);

/// A sidecar's document stream.
struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

impl Watching {
    async fn open(served: &Served, token: &str) -> Result<Self, Status> {
        let (requests, outgoing) = mpsc::channel(4);
        let hello = watch_request::Kind::Hello(Hello::default());
        requests.send(WatchRequest { kind: Some(hello) }).await.unwrap();
        let request = with_token(token, ReceiverStream::new(outgoing));
        let responses = served.connect().await.unwrap().watch(request).await?.into_inner();
        Ok(Self { requests, responses })
    }

    async fn next(&mut self) -> Result<watch_response::Kind, Status> {
        let response = timeout(SOON, self.responses.message()).await.unwrap()?;
        Ok(response.unwrap().kind.unwrap())
    }

    /// The state that comes next, with the documents before it.
    async fn state(&mut self) -> (channel::v1::PodState, Vec<Vec<u8>>) {
        let mut documents = Vec::new();
        loop {
            match self.next().await.unwrap() {
                watch_response::Kind::ClassDocument(document) => documents.push(document.document),
                watch_response::Kind::PodState(state) => return (state, documents),
                watch_response::Kind::Roots(_) => {}
            }
        }
    }
}

async fn lease(served: &Served, token: &str, connection: &str) -> Result<Streaming<LeaseResponse>, Status> {
    let request = with_token(token, LeaseRequest { connection: connection.to_owned() });
    Ok(served.connect().await.unwrap().lease(request).await?.into_inner())
}

async fn record(
    served: &Served,
    token: &str,
) -> Result<(mpsc::Sender<RecordRequest>, Streaming<channel::v1::RecordResponse>), Status> {
    let (requests, outgoing) = mpsc::channel(4);
    let request = with_token(token, ReceiverStream::new(outgoing));
    let responses = served.connect().await.unwrap().record(request).await?.into_inner();
    Ok((requests, responses))
}

/// Why a stream ends; what comes before is passed over.
async fn end<T>(stream: &mut Streaming<T>) -> Code {
    let last = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Code::Ok,
                Err(status) => return status.code(),
            }
        }
    };
    timeout(SOON, last).await.unwrap()
}

fn credential(password: &str) -> Lease {
    let password = Zeroizing::new(password.as_bytes().to_vec());
    Lease::Credential { version: "1".to_owned(), username: "reader".to_owned(), password }
}

#[tokio::test]
async fn a_sidecar_gets_roots_its_class_and_its_own_state_and_each_document_once() {
    let served = Served::start().await;
    served.publish(&["a", "b"], "one");
    let mut watching = Watching::open(&served, "pod:a").await.unwrap();
    let roots = watching.next().await.unwrap();
    assert!(matches!(roots, watch_response::Kind::Roots(roots) if roots.pem == served.roots.as_bytes()));
    let (state, documents) = watching.state().await;
    assert_eq!(documents, [b"one".to_vec()]);
    assert_eq!((state.pod.as_str(), state.service_account.as_str()), ("a", "planner"));
    let first = state.generation.unwrap();
    assert_eq!((first.epoch, first.sequence), (7, 1));
    served.publish(&["a", "b"], "two");
    let (state, documents) = watching.state().await;
    assert_eq!(documents, [b"two".to_vec()]);
    assert!(state.generation.unwrap().sequence > first.sequence);
    let acknowledge = Acknowledge { generation: state.generation, problem: String::new() };
    let kind = Some(watch_request::Kind::Acknowledge(acknowledge));
    watching.requests.send(WatchRequest { kind }).await.unwrap();
    timeout(SOON, served.distributor.moved()).await.unwrap();
}

#[tokio::test]
async fn nobody_and_nothing_else_gets_anything() {
    let served = Served::start().await;
    served.publish(&["a"], "one");
    served.leases.set("agents/db", credential("secret"));
    let code = |result: Result<(), Status>| result.unwrap_err().code();
    assert_eq!(code(Watching::open(&served, "stolen").await.map(drop)), Code::Unauthenticated);
    assert_eq!(code(lease(&served, "stolen", "agents/db").await.map(drop)), Code::Unauthenticated);
    assert_eq!(code(lease(&served, "pod:a", "other/db").await.map(drop)), Code::PermissionDenied);
    assert_eq!(code(lease(&served, "pod:stranger", "agents/db").await.map(drop)), Code::PermissionDenied);
    assert_eq!(code(record(&served, "pod:stranger").await.map(drop)), Code::Unavailable);
    let without = tonic::Request::new(LeaseRequest { connection: "agents/db".to_owned() });
    let answer = served.connect().await.unwrap().lease(without).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_credential_comes_where_something_is_allowed_and_follows_its_secret() {
    let served = Served::start().await;
    served.publish(&["a"], "one");
    for connection in ["agents/db", "agents/closed"] {
        served.leases.set(connection, credential("first"));
    }
    let mut stream = lease(&served, "pod:a", "agents/db").await.unwrap();
    for password in ["first", "second"] {
        served.leases.set("agents/db", credential(password));
        let answer = timeout(SOON, stream.message()).await.unwrap().unwrap().unwrap();
        let Some(lease_response::Kind::Credential(given)) = answer.kind else { panic!("{answer:?}") };
        assert_eq!(given.password, password.as_bytes());
    }
    let mut withheld = lease(&served, "pod:a", "agents/closed").await.unwrap();
    let answer = timeout(SOON, withheld.message()).await.unwrap().unwrap().unwrap();
    assert!(
        matches!(answer.kind, Some(lease_response::Kind::Unavailable(why)) if why.contains("no rule allows"))
    );
}

#[tokio::test]
async fn every_stream_ends_with_its_pod_and_no_other_does() {
    let served = Served::start().await;
    served.publish(&["a", "b"], "one");
    served.leases.set("agents/db", credential("secret"));
    let mut documents = Watching::open(&served, "pod:a").await.unwrap();
    let mut credentials = lease(&served, "pod:a", "agents/db").await.unwrap();
    let (_batches, mut stored) = record(&served, "pod:a").await.unwrap();
    let mut other = Watching::open(&served, "pod:b").await.unwrap();
    other.state().await;
    served.publish(&["b"], "one");
    assert_eq!(end(&mut documents.responses).await, Code::NotFound);
    assert_eq!(end(&mut credentials).await, Code::PermissionDenied);
    assert_eq!(end(&mut stored).await, Code::NotFound);
    served.publish(&["b"], "two");
    assert_eq!(other.state().await.1, [b"two".to_vec()]);
    served.ended.cancel();
    assert_eq!(end(&mut other.responses).await, Code::Unavailable);
    assert!(served.connect().await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_token_is_asked_about_once_however_many_streams_come_with_it() {
    let served = Served::start().await;
    served.publish(&["a"], "one");
    let open = || lease(&served, "pod:a", "agents/db");
    let (one, two, three, four) = tokio::join!(open(), open(), open(), open());
    assert!([one, two, three, four].iter().all(Result::is_ok));
    assert_eq!(served.reviews.load(Ordering::SeqCst), 1);
    // Tokens that are nobody's are asked about only so often, and the same one not again at once.
    let mut codes = Vec::new();
    for number in 0..20 {
        codes
            .push(lease(&served, &format!("stolen-{}", number / 2), "agents/db").await.err().unwrap().code());
    }
    assert_eq!(served.reviews.load(Ordering::SeqCst), 8, "{codes:?}");
    assert_eq!(codes.last(), Some(&Code::ResourceExhausted));
    assert!(open().await.is_ok(), "who is known already is not held up");
}

#[tokio::test]
async fn one_address_does_not_take_all_connections() {
    let served = Served::start().await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(served.connect().await.unwrap());
    }
    assert!(served.connect().await.is_err());
    open.clear();
    let again = async {
        while served.connect().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, again).await.unwrap();
}
