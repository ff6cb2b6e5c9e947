//! Documents down, acknowledgements up.

use std::sync::Arc;

use ::channel::v1::{
    ClassDocument, Generation, PodState, Roots, WatchRequest, WatchResponse, watch_request, watch_response,
};
use futures_util::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::debug;

use super::Sources;
use crate::{
    distribute::{Assigned, PodFacts, PodIdentity, Subscription, Target},
    metrics::Metrics,
};

/// Messages that wait for a slow sidecar.
const OUTBOX: usize = 4;

pub(super) fn serve(
    sources: &Sources,
    caller: PodIdentity,
    requests: Streaming<WatchRequest>,
    metrics: &Metrics,
    ended: &CancellationToken,
) -> impl Stream<Item = Result<WatchResponse, Status>> + use<> {
    let (outbox, answers) = mpsc::channel(OUTBOX);
    let mut line = Line {
        subscription: sources.distributor.watch(&caller.uid),
        caller,
        requests,
        roots: sources.roots.clone(),
        told: None,
        outbox,
        held: Vec::new(),
        metrics: metrics.clone(),
    };
    let (open, ended) = (metrics.stream("watch"), ended.clone());
    tokio::spawn(async move {
        let done = tokio::select! {
            done = line.converse() => done,
            () = ended.cancelled() => Err(Status::unavailable("this replica leads no more")),
        };
        if let Err(status) = done {
            let PodIdentity { namespace, name, .. } = &line.caller;
            debug!(ns = namespace, pod = name, status = %status, "a document stream ends");
            // A sidecar that does not read is not waited for: the stream ends in any case.
            drop(line.outbox.try_send(Err(status)));
        }
        drop(open);
    });
    ReceiverStream::new(answers)
}

/// One sidecar's stream.
struct Line {
    caller: PodIdentity,
    subscription: Subscription,
    requests: Streaming<WatchRequest>,
    roots: watch::Receiver<Arc<str>>,
    /// The roots that the sidecar was sent.
    told: Option<Arc<str>>,
    outbox: mpsc::Sender<Result<WatchResponse, Status>>,
    /// The digest of the class document that the sidecar holds.
    held: Vec<u8>,
    metrics: Metrics,
}

/// What a sidecar's stream waited for.
enum Next {
    /// Another target is to be sent.
    Send,
    /// The sidecar has closed it.
    Closed,
}

impl Line {
    async fn converse(&mut self) -> Result<(), Status> {
        let first = self.requests.message().await?.and_then(|request| request.kind);
        let Some(watch_request::Kind::Hello(hello)) = first else {
            return Err(Status::invalid_argument("the first message must be a Hello"));
        };
        self.held = hello.held_digest;
        self.send_roots().await?;
        loop {
            match self.subscription.current() {
                Target::Unknown => {}
                Target::Assigned(facts, assigned) => self.send_target(&facts, &assigned).await?,
                Target::Gone => return Err(Status::not_found("the pod is gone")),
            }
            match self.listen().await? {
                Next::Send => {}
                Next::Closed => return Ok(()),
            }
        }
    }

    /// Takes acknowledgements until something else is to be sent.
    async fn listen(&mut self) -> Result<Next, Status> {
        loop {
            tokio::select! {
                () = self.subscription.changed() => return Ok(Next::Send),
                // Their keeper lives as long as the operator.
                Ok(()) = self.roots.changed() => self.send_roots().await?,
                request = self.requests.message() => {
                    let Some(request) = request? else { return Ok(Next::Closed) };
                    self.acknowledge(request)?;
                }
            }
        }
    }

    fn acknowledge(&self, request: WatchRequest) -> Result<(), Status> {
        let Some(watch_request::Kind::Acknowledge(acknowledge)) = request.kind else {
            return Err(Status::invalid_argument("a Hello comes once"));
        };
        let missing = || Status::invalid_argument("an acknowledgement names its generation");
        let Generation { epoch, sequence } = acknowledge.generation.ok_or_else(missing)?;
        self.metrics.acknowledged(acknowledge.problem.is_empty());
        self.subscription.acknowledge(policy::Generation { epoch, sequence }, &acknowledge.problem);
        Ok(())
    }

    /// A sidecar knows the roots of its pod's admission; those of today may be others.
    async fn send_roots(&mut self) -> Result<(), Status> {
        let roots = Arc::clone(&self.roots.borrow_and_update());
        if self.told.as_ref() == Some(&roots) {
            return Ok(());
        }
        self.send(watch_response::Kind::Roots(Roots { pem: roots.as_bytes().to_vec() })).await?;
        self.told = Some(roots);
        Ok(())
    }

    async fn send_target(&mut self, facts: &PodFacts, assigned: &Assigned) -> Result<(), Status> {
        if facts.identity != self.caller {
            return Err(Status::permission_denied("the token and the pod do not agree"));
        }
        let digest = assigned.class.digest.to_vec();
        if self.held != digest {
            let document =
                ClassDocument { digest: digest.clone(), document: assigned.class.document.clone() };
            self.send(watch_response::Kind::ClassDocument(document)).await?;
            self.metrics.document_sent();
            self.held.clone_from(&digest);
        }
        let policy::Generation { epoch, sequence } = assigned.generation;
        let PodIdentity { namespace, name, uid, service_account } = self.caller.clone();
        let state = PodState {
            generation: Some(Generation { epoch, sequence }),
            class_digest: digest,
            namespace,
            pod: name,
            pod_uid: uid,
            service_account,
            pod_ip: facts.ip.clone().unwrap_or_default(),
        };
        self.send(watch_response::Kind::PodState(state)).await
    }

    async fn send(&self, kind: watch_response::Kind) -> Result<(), Status> {
        let response = Ok(WatchResponse { kind: Some(kind) });
        self.outbox.send(response).await.map_err(|_| Status::cancelled("the sidecar is gone"))
    }
}
