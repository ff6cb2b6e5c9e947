//! Credentials down: only for Connections in the pod's own document, and only as long as the pod lives.

use ::channel::v1::{Credential, LeaseResponse, lease_response};
use futures_util::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::Sources;
use crate::{
    distribute::{PodIdentity, Right, Subscription},
    leases::Lease,
    metrics::Metrics,
};

/// What a pod is told for which nothing is allowed: it needs no credential.
const WITHHELD: &str = "no rule allows this pod anything on it";

pub(super) fn serve(
    sources: &Sources,
    caller: &PodIdentity,
    connection: String,
    metrics: &Metrics,
    ended: &CancellationToken,
) -> Result<impl Stream<Item = Result<LeaseResponse, Status>> + use<>, Status> {
    let (distributor, uid) = (sources.distributor.clone(), caller.uid.clone());
    if distributor.right(&uid, &connection) == Right::None {
        return Err(Status::permission_denied("the pod's document does not have this Connection"));
    }
    let (outbox, answers) = mpsc::channel(1);
    let (lease, pod) = (sources.leases.follow(&connection), distributor.follow(&uid));
    let (open, ended) = (metrics.stream("lease"), ended.clone());
    tokio::spawn(async move {
        let right = || distributor.right(&uid, &connection);
        let status = tokio::select! {
            status = follow(lease, pod, right, &outbox) => status,
            () = ended.cancelled() => Status::unavailable("this replica leads no more"),
        };
        // A sidecar that does not read is not waited for: the stream ends in any case.
        drop(outbox.try_send(Err(status)));
        drop(open);
    });
    Ok(ReceiverStream::new(answers))
}

async fn follow(
    mut lease: watch::Receiver<Lease>,
    mut pod: Subscription,
    right: impl Fn() -> Right,
    outbox: &mpsc::Sender<Result<LeaseResponse, Status>>,
) -> Status {
    let mut told = None;
    loop {
        let current = lease.borrow_and_update().clone();
        let answer = match right() {
            Right::Given => answer(&current),
            Right::Withheld => Some(lease_response::Kind::Unavailable(WITHHELD.to_owned())),
            Right::None => {
                return Status::permission_denied("the pod's document no longer has this Connection");
            }
        };
        if answer.is_some() && answer != told {
            if outbox.send(Ok(LeaseResponse { kind: answer.clone() })).await.is_err() {
                return Status::cancelled("the sidecar is gone");
            }
            told = answer;
        }
        tokio::select! {
            changed = lease.changed() => {
                if changed.is_err() {
                    return Status::not_found("the Connection is gone");
                }
            }
            () = pod.changed() => {}
            () = outbox.closed() => return Status::cancelled("the sidecar is gone"),
        }
    }
}

fn answer(lease: &Lease) -> Option<lease_response::Kind> {
    match lease {
        Lease::Pending => None,
        Lease::Credential { version, username, password } => {
            let (version, username) = (version.clone(), username.clone());
            // prost owns what it sends; this copy lives until it is written.
            let password = password.to_vec();
            Some(lease_response::Kind::Credential(Credential {
                version,
                username,
                password,
                valid_for_seconds: 0,
            }))
        }
        Lease::Unavailable(reason) => Some(lease_response::Kind::Unavailable(reason.clone())),
    }
}
