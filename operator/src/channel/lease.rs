//! Credentials down: only for Connections in the pod's own document, and only as long as the pod lives.

use ::channel::v1::{Credential, LeaseResponse, lease_response};
use futures_util::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    distribute::{Distributor, PodIdentity, Subscription},
    leases::{Lease, Leases},
};

pub(super) fn serve(
    distributor: &Distributor,
    leases: &Leases,
    caller: &PodIdentity,
    connection: String,
    ended: CancellationToken,
) -> Result<impl Stream<Item = Result<LeaseResponse, Status>> + use<>, Status> {
    if !distributor.may_use(&caller.uid, &connection) {
        return Err(Status::permission_denied("the pod's document does not have this Connection"));
    }
    let (outbox, answers) = mpsc::channel(1);
    let (distributor, uid) = (distributor.clone(), caller.uid.clone());
    let (lease, pod) = (leases.follow(&connection), distributor.follow(&uid));
    tokio::spawn(async move {
        let still = || distributor.may_use(&uid, &connection);
        let status = tokio::select! {
            status = follow(lease, pod, still, &outbox) => status,
            () = ended.cancelled() => Status::unavailable("this replica leads no more"),
        };
        // The sidecar may have gone.
        drop(outbox.send(Err(status)).await);
    });
    Ok(ReceiverStream::new(answers))
}

async fn follow(
    mut lease: watch::Receiver<Lease>,
    mut pod: Subscription,
    still: impl Fn() -> bool,
    outbox: &mpsc::Sender<Result<LeaseResponse, Status>>,
) -> Status {
    loop {
        if !still() {
            return Status::permission_denied("the pod's document no longer has this Connection");
        }
        let answer = answer(&lease.borrow_and_update());
        if let Some(kind) = answer
            && outbox.send(Ok(LeaseResponse { kind: Some(kind) })).await.is_err()
        {
            return Status::cancelled("the sidecar is gone");
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
