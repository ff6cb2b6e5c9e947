use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;

use super::*;

/// An API server that knows one Lease.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Lease>>>,
    down: Arc<AtomicBool>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, std::io::Error> {
        if self.down.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("down"));
        }
        let method = request.method().clone();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let mut lease = self.lease.lock().unwrap();
        let failure = |code: u16| {
            // Clients look at the reason first.
            let reason = if code == 404 { "NotFound" } else { "Conflict" };
            let status = serde_json::json!({"kind": "Status", "status": "Failure", "code": code,
                "message": "no", "reason": reason, "metadata": {}});
            Ok(Response::builder().status(code).body(status.to_string().into_bytes().into()).unwrap())
        };
        if method == Method::GET {
            return lease.as_ref().map_or_else(|| failure(404), |lease| Ok(ok(lease)));
        }
        let mut sent: Lease = serde_json::from_slice(&body).unwrap();
        let known = lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if sent.metadata.resource_version != known {
            return failure(409);
        }
        let version = known.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
        sent.metadata.resource_version = Some(version.to_string());
        *lease = Some(sent.clone());
        Ok(ok(&sent))
    }

    fn elector(&self, identity: &str) -> Election {
        Election::new(self.client(), "chaperone-system", "chaperone-leader", identity)
    }
}

fn ok(lease: &Lease) -> Response<Body> {
    Response::new(serde_json::to_vec(lease).unwrap().into())
}

/// Campaigns in the background; says each epoch it leads in, and ends a term when it is ended.
fn candidate(
    server: &Server,
    identity: &str,
    stop: &CancellationToken,
) -> (tokio::sync::mpsc::UnboundedReceiver<Term>, tokio::task::JoinHandle<()>) {
    let (terms, receiver) = tokio::sync::mpsc::unbounded_channel();
    let (election, stop) = (server.elector(identity), stop.clone());
    let task = tokio::spawn(async move {
        election
            .run(&stop, |term| {
                terms.send(term.clone()).unwrap();
                async move { term.ended.cancelled().await }
            })
            .await;
    });
    (receiver, task)
}

#[tokio::test(start_paused = true)]
async fn a_stopped_leader_hands_over_at_once_with_a_greater_epoch() {
    let server = Server::default();
    let (stop_first, stop_second) = (CancellationToken::new(), CancellationToken::new());
    let (mut first, first_task) = candidate(&server, "a", &stop_first);
    let one = first.recv().await.unwrap();
    let (mut second, _task) = candidate(&server, "b", &stop_second);
    sleep(DURATION * 3).await;
    assert!(second.try_recv().is_err(), "two leaders");
    let before = Instant::now();
    stop_first.cancel();
    first_task.await.unwrap();
    let two = second.recv().await.unwrap();
    assert!(before.elapsed() <= LOOK * 2);
    assert!(two.epoch > one.epoch);
    assert!(first.recv().await.is_none(), "it led again after it was told to stop");
    stop_second.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_ends_its_term_before_another_begins() {
    let server = Server::default();
    let stop = CancellationToken::new();
    let (mut first, _task) = candidate(&server, "a", &stop);
    let term = first.recv().await.unwrap();
    sleep(RENEW * 3).await;
    server.down.store(true, Ordering::SeqCst);
    let since = Instant::now();
    term.ended.cancelled().await;
    assert!(since.elapsed() < DURATION, "{:?}", since.elapsed());
    server.down.store(false, Ordering::SeqCst);
    let (mut second, _task) = candidate(&server, "b", &stop);
    let either = tokio::select! { term = first.recv() => term, term = second.recv() => term }.unwrap();
    assert!(either.epoch > term.epoch);
    stop.cancel();
}

#[test]
fn epochs_grow_without_the_clock_and_without_the_lease() {
    let now = Timestamp::from_second(1_000).unwrap();
    let lease = claim::taken(None, "l", "a", 5_000, now);
    assert_eq!(claim::epoch(Some(&lease), now), 5_001);
    assert_eq!(claim::epoch(None, now), 1_000);
}

#[test]
fn a_foreign_lease_is_taken_only_after_it_stood_still() {
    let mut lease = claim::taken(None, "l", "a", 1, Timestamp::UNIX_EPOCH);
    lease.metadata.resource_version = Some("7".to_owned());
    let (mut observed, start) = (Observed::default(), Instant::now());
    assert_eq!(observed.look(Some(&lease), start), Step::Wait);
    assert_eq!(observed.look(Some(&lease), start + DURATION), Step::Wait);
    lease.metadata.resource_version = Some("8".to_owned());
    assert_eq!(observed.look(Some(&lease), start + DURATION * 2), Step::Wait);
    assert_eq!(observed.look(Some(&lease), start + DURATION * 4), Step::Take);
    assert_eq!(observed.look(Some(&claim::released(lease)), start), Step::Take);
}
