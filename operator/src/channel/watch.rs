//! Documents down, acknowledgements up.

use ::channel::v1::{
    ClassDocument, Generation, PodState, WatchRequest, WatchResponse, watch_request, watch_response,
};
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::debug;

use crate::distribute::{Assigned, Distributor, PodFacts, PodIdentity, Subscription, Target};

/// Messages that wait for a slow sidecar.
const OUTBOX: usize = 4;

type Outbox = mpsc::Sender<Result<WatchResponse, Status>>;

pub(super) fn serve(
    distributor: &Distributor,
    caller: PodIdentity,
    requests: Streaming<WatchRequest>,
    ended: CancellationToken,
) -> impl Stream<Item = Result<WatchResponse, Status>> + use<> {
    let (outbox, answers) = mpsc::channel(OUTBOX);
    let subscription = distributor.watch(&caller.uid);
    tokio::spawn(async move {
        let done = tokio::select! {
            done = converse(&caller, subscription, requests, &outbox) => done,
            () = ended.cancelled() => Err(Status::unavailable("this replica leads no more")),
        };
        if let Err(status) = done {
            debug!(ns = caller.namespace, pod = caller.name, status = %status, "a document stream ends");
            // The sidecar may have gone.
            drop(outbox.send(Err(status)).await);
        }
    });
    ReceiverStream::new(answers)
}

async fn converse(
    caller: &PodIdentity,
    mut subscription: Subscription,
    mut requests: Streaming<WatchRequest>,
    outbox: &Outbox,
) -> Result<(), Status> {
    let Some(watch_request::Kind::Hello(hello)) = requests.message().await?.and_then(|request| request.kind)
    else {
        return Err(Status::invalid_argument("the first message must be a Hello"));
    };
    let mut held = hello.held_digest;
    loop {
        match subscription.current() {
            Target::Unknown => {}
            Target::Assigned(facts, assigned) => send(caller, &facts, &assigned, &mut held, outbox).await?,
            Target::Gone => return Err(Status::not_found("the pod is gone")),
        }
        if !listen(&mut subscription, &mut requests).await? {
            return Ok(());
        }
    }
}

/// Takes acknowledgements until another target is to be sent. False when the sidecar has closed the stream.
async fn listen(
    subscription: &mut Subscription,
    requests: &mut Streaming<WatchRequest>,
) -> Result<bool, Status> {
    loop {
        tokio::select! {
            () = subscription.changed() => return Ok(true),
            request = requests.message() => {
                let Some(request) = request? else { return Ok(false) };
                acknowledge(subscription, request)?;
            }
        }
    }
}

fn acknowledge(subscription: &Subscription, request: WatchRequest) -> Result<(), Status> {
    let Some(watch_request::Kind::Acknowledge(acknowledge)) = request.kind else {
        return Err(Status::invalid_argument("a Hello comes once"));
    };
    let missing = || Status::invalid_argument("an acknowledgement names its generation");
    let Generation { epoch, sequence } = acknowledge.generation.ok_or_else(missing)?;
    subscription.acknowledge(policy::Generation { epoch, sequence }, &acknowledge.problem);
    Ok(())
}

async fn send(
    caller: &PodIdentity,
    facts: &PodFacts,
    assigned: &Assigned,
    held: &mut Vec<u8>,
    outbox: &Outbox,
) -> Result<(), Status> {
    if facts.identity != *caller {
        return Err(Status::permission_denied("the token and the pod do not agree"));
    }
    let gone = |_| Status::cancelled("the sidecar is gone");
    let digest = assigned.class.digest.to_vec();
    if *held != digest {
        let document = ClassDocument { digest: digest.clone(), document: assigned.class.document.clone() };
        let kind = Some(watch_response::Kind::ClassDocument(document));
        outbox.send(Ok(WatchResponse { kind })).await.map_err(gone)?;
        held.clone_from(&digest);
    }
    let policy::Generation { epoch, sequence } = assigned.generation;
    let state = PodState {
        generation: Some(Generation { epoch, sequence }),
        class_digest: digest,
        namespace: caller.namespace.clone(),
        pod: caller.name.clone(),
        pod_uid: caller.uid.clone(),
        service_account: caller.service_account.clone(),
        pod_ip: facts.ip.clone().unwrap_or_default(),
    };
    let kind = Some(watch_response::Kind::PodState(state));
    outbox.send(Ok(WatchResponse { kind })).await.map_err(gone)
}
