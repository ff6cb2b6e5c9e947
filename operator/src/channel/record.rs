//! Records up, durable acknowledgements down.

use ::channel::v1::{RecordRequest, RecordResponse};
use audit::PodRef;
use futures_util::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::warn;

use super::Sources;
use crate::{collector::Collector, distribute::PodIdentity, metrics::Metrics};

pub(super) fn serve(
    sources: &Sources,
    caller: PodIdentity,
    requests: Streaming<RecordRequest>,
    metrics: &Metrics,
    ended: &CancellationToken,
) -> Result<impl Stream<Item = Result<RecordResponse, Status>> + use<>, Status> {
    // Only what has a sidecar of ours has records.
    if !sources.distributor.knows(&caller.uid) {
        return Err(Status::unavailable("the pod is not known"));
    }
    let (outbox, answers) = mpsc::channel(1);
    let mut pod = sources.distributor.follow(&caller.uid);
    let (collector, metrics, ended) = (sources.collector.clone(), metrics.clone(), ended.clone());
    let open = metrics.stream("record");
    tokio::spawn(async move {
        let done = tokio::select! {
            done = store(&collector, caller, requests, (&outbox, &metrics)) => done,
            () = pod.gone() => Err(Status::not_found("the pod is gone")),
            () = ended.cancelled() => Err(Status::unavailable("this replica leads no more")),
        };
        if let Err(status) = done {
            // A sidecar that does not read is not waited for: the stream ends in any case.
            drop(outbox.try_send(Err(status)));
        }
        drop(open);
    });
    Ok(ReceiverStream::new(answers))
}

async fn store(
    collector: &Collector,
    caller: PodIdentity,
    mut requests: Streaming<RecordRequest>,
    (outbox, metrics): (&mpsc::Sender<Result<RecordResponse, Status>>, &Metrics),
) -> Result<(), Status> {
    let PodIdentity { namespace, name, uid, service_account } = caller;
    let sender = PodRef { namespace, pod: name, uid, service_account };
    while let Some(RecordRequest { batch, sequence }) = requests.message().await? {
        let bytes = batch.len();
        let answer = match collector.store(&sender, batch.into()).await {
            Ok(stored) if stored == sequence => {
                metrics.batch("stored", bytes);
                RecordResponse { stored, problem: String::new() }
            }
            Ok(_) => return Err(Status::invalid_argument("the batch has another number than the request")),
            Err(error) if error.is_temporary() => {
                metrics.batch("failed", bytes);
                return Err(Status::unavailable(error.to_string()));
            }
            Err(error) => {
                metrics.batch("refused", bytes);
                warn!(ns = sender.namespace, pod = sender.pod, error = %error, "records were refused");
                RecordResponse { stored: 0, problem: error.to_string() }
            }
        };
        outbox.send(Ok(answer)).await.map_err(|_| Status::cancelled("the sidecar is gone"))?;
    }
    Ok(())
}
