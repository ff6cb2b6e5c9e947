//! Records up, durable acknowledgements down.

use ::channel::v1::{RecordRequest, RecordResponse};
use audit::PodRef;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::warn;

use crate::{collector::Collector, distribute::PodIdentity};

pub(super) fn serve(
    collector: Collector,
    caller: PodIdentity,
    requests: Streaming<RecordRequest>,
    ended: CancellationToken,
) -> impl Stream<Item = Result<RecordResponse, Status>> + use<> {
    let (outbox, answers) = mpsc::channel(1);
    tokio::spawn(async move {
        let done = tokio::select! {
            done = store(&collector, caller, requests, &outbox) => done,
            () = ended.cancelled() => Err(Status::unavailable("this replica leads no more")),
        };
        if let Err(status) = done {
            // The sidecar may have gone.
            drop(outbox.send(Err(status)).await);
        }
    });
    ReceiverStream::new(answers)
}

async fn store(
    collector: &Collector,
    caller: PodIdentity,
    mut requests: Streaming<RecordRequest>,
    outbox: &mpsc::Sender<Result<RecordResponse, Status>>,
) -> Result<(), Status> {
    let PodIdentity { namespace, name, uid, service_account } = caller;
    let sender = PodRef { namespace, pod: name, uid, service_account };
    while let Some(RecordRequest { batch, sequence }) = requests.message().await? {
        let answer = match collector.store(&sender, batch.into()).await {
            Ok(stored) if stored == sequence => RecordResponse { stored, problem: String::new() },
            Ok(_) => return Err(Status::invalid_argument("the batch has another number than the request")),
            Err(error) if error.is_temporary() => return Err(Status::unavailable(error.to_string())),
            Err(error) => {
                warn!(ns = sender.namespace, pod = sender.pod, error = %error, "records were refused");
                RecordResponse { stored: 0, problem: error.to_string() }
            }
        };
        outbox.send(Ok(answer)).await.map_err(|_| Status::cancelled("the sidecar is gone"))?;
    }
    Ok(())
}
