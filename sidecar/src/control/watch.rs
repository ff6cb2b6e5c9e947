//! Documents: taken when they can be read, put in force, and acknowledged once live sessions use them.

use std::{sync::Arc, time::Duration};

use channel::v1::{
    Acknowledge, ClassDocument, Hello, PodState, WatchRequest, WatchResponse, watch_request, watch_response,
};
use policy::{Document, Generation};
use tokio::{
    sync::{mpsc, watch as state},
    task::JoinSet,
    time::{Interval, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tracing::{info, warn};

use super::{Link, LinkError};
use crate::policy::{Current, Documents, PodIdentity, PublishError};

/// While the stream lives, the operator counts as heard this often. HTTP/2 pings end a dead stream.
const HEARD_EVERY: Duration = Duration::from_secs(5);
/// Acknowledgements under way.
const OUTBOX: usize = 16;

/// What lasts from one stream to the next.
#[derive(Debug)]
pub(super) struct Watcher {
    documents: Documents,
    identity: state::Sender<Option<PodIdentity>>,
    held: Option<Held>,
    progress: bool,
}

/// The class document that is held, by its digest.
#[derive(Debug)]
struct Held {
    digest: Vec<u8>,
    document: Result<Arc<Document>, String>,
}

impl Watcher {
    pub(super) const fn new(documents: Documents, identity: state::Sender<Option<PodIdentity>>) -> Self {
        Self { documents, identity, held: None, progress: false }
    }

    /// Whether anything was received since the last call.
    pub(super) const fn take_progress(&mut self) -> bool {
        std::mem::replace(&mut self.progress, false)
    }

    /// One stream from its beginning to its end.
    pub(super) async fn run(&mut self, link: &Link) -> Result<(), LinkError> {
        let (outbox, requests) = mpsc::channel(OUTBOX);
        // The channel was made for more than one message.
        drop(outbox.try_send(self.hello()));
        let request = link.request(ReceiverStream::new(requests))?;
        let mut responses = link.connect().await?.watch(request).await?.into_inner();
        let mut heard: Interval = interval(HEARD_EVERY);
        // Dropped with the stream: an acknowledgement belongs to the stream that brought the generation.
        let mut acknowledging = JoinSet::new();
        loop {
            tokio::select! {
                response = responses.message() => {
                    let Some(response) = response? else { return Ok(()) };
                    self.progress = true;
                    self.documents.heard();
                    self.receive(response, link, &outbox, &mut acknowledging)?;
                }
                _ = heard.tick() => self.documents.heard(),
                Some(_) = acknowledging.join_next() => {}
            }
        }
    }

    fn hello(&self) -> WatchRequest {
        let held_generation = self.documents.current().map(|current| to_wire(current.generation));
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: Document::FEATURES.iter().map(|name| (*name).to_owned()).collect(),
            held_digest: self.held.as_ref().map(|held| held.digest.clone()).unwrap_or_default(),
            held_generation,
        };
        WatchRequest { kind: Some(watch_request::Kind::Hello(hello)) }
    }

    fn receive(
        &mut self,
        response: WatchResponse,
        link: &Link,
        outbox: &mpsc::Sender<WatchRequest>,
        acknowledging: &mut JoinSet<()>,
    ) -> Result<(), LinkError> {
        match response.kind {
            Some(watch_response::Kind::ClassDocument(document)) => self.hold(document),
            Some(watch_response::Kind::PodState(pod)) => {
                let generation = pod.generation.ok_or(LinkError::Answer("a state without a generation"))?;
                let generation = Generation { epoch: generation.epoch, sequence: generation.sequence };
                let problem = self.publish(generation, pod).err();
                if let Some(problem) = &problem {
                    warn!(generation = %generation, problem, "a document is not taken");
                }
                let (documents, outbox) = (self.documents.clone(), outbox.clone());
                acknowledging.spawn(async move {
                    if problem.is_none() {
                        documents.live(generation).await;
                    }
                    // When the stream has ended, the next one tells the operator what is held.
                    drop(outbox.send(acknowledge(generation, problem.unwrap_or_default())).await);
                });
                Ok(())
            }
            // The pod's spec carries the roots of its admission; those of today count for later connections.
            Some(watch_response::Kind::Roots(roots)) => {
                if let Err(error) = link.trust(&roots.pem) {
                    warn!(error = %error, "the operator's new roots are not taken; the old ones stay");
                }
                Ok(())
            }
            None => Err(LinkError::Answer("a message of an unknown kind")),
        }
    }

    fn hold(&mut self, ClassDocument { digest, document }: ClassDocument) -> Result<(), LinkError> {
        let computed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &document);
        if computed.as_ref() != digest.as_slice() {
            return Err(LinkError::Answer("a document whose digest does not fit"));
        }
        let document = Document::decode(&document).map(Arc::new).map_err(|error| error.to_string());
        self.held = Some(Held { digest, document });
        Ok(())
    }

    /// Puts the held document in force under this generation, or says why not.
    fn publish(&self, generation: Generation, pod: PodState) -> Result<(), String> {
        let held = self.held.as_ref().filter(|held| held.digest == pod.class_digest);
        let held = held.ok_or_else(|| "its class document was never sent".to_owned())?;
        let document = held.document.clone()?;
        let pod = PodIdentity {
            namespace: pod.namespace,
            pod: pod.pod,
            uid: pod.pod_uid,
            service_account: pod.service_account,
        };
        self.identity.send_replace(Some(pod.clone()));
        let published = self.documents.publish(Current { generation, document, pod });
        published.map_err(|error: PublishError| error.to_string())?;
        info!(generation = %generation, "a generation is in force");
        Ok(())
    }
}

const fn to_wire(generation: Generation) -> channel::v1::Generation {
    channel::v1::Generation { epoch: generation.epoch, sequence: generation.sequence }
}

const fn acknowledge(generation: Generation, problem: String) -> WatchRequest {
    let acknowledge = Acknowledge { generation: Some(to_wire(generation)), problem };
    WatchRequest { kind: Some(watch_request::Kind::Acknowledge(acknowledge)) }
}
