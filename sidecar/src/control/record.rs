//! Records go up: one batch at a time over one stream, which is made anew when it breaks.

use channel::v1::{RecordRequest, RecordResponse};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Link, LinkError};
use crate::{recorder::ship::Store, spool::Sealed};

/// How long the operator may take to store a batch.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// The operator as a store of batches.
#[derive(Debug)]
pub struct Upload {
    link: Link,
    stream: Option<Open>,
}

#[derive(Debug)]
struct Open {
    requests: mpsc::Sender<RecordRequest>,
    responses: Streaming<RecordResponse>,
}

/// Why a batch is not stored yet.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The operator cannot be reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The stream ended.
    #[error("the operator closed the record stream")]
    Closed,
    /// The operator took too long.
    #[error("the operator did not acknowledge in time")]
    Timeout,
    /// The operator does not take the batch.
    #[error("the operator refused the batch: {0}")]
    Refused(String),
}

impl Upload {
    /// A store behind `link`.
    #[must_use]
    pub const fn new(link: Link) -> Self {
        Self { link, stream: None }
    }

    async fn open(&self) -> Result<Open, UploadError> {
        let (requests, outgoing) = mpsc::channel(1);
        let request = self.link.request(ReceiverStream::new(outgoing))?;
        let mut client = self.link.connect().await?;
        let responses = client.record(request).await.map_err(LinkError::from)?.into_inner();
        Ok(Open { requests, responses })
    }

    async fn send(&mut self, batch: &Sealed) -> Result<(), UploadError> {
        let mut open = match self.stream.take() {
            Some(open) => open,
            None => self.open().await?,
        };
        let request = RecordRequest { batch: batch.bytes.clone(), sequence: batch.sequence };
        open.requests.send(request).await.map_err(|_| UploadError::Closed)?;
        loop {
            let response = open.responses.message().await.map_err(LinkError::from)?;
            let response = response.ok_or(UploadError::Closed)?;
            if !response.problem.is_empty() {
                return Err(UploadError::Refused(response.problem));
            }
            if response.stored >= batch.sequence {
                self.stream = Some(open);
                return Ok(());
            }
        }
    }
}

impl Store for Upload {
    type Error = UploadError;

    async fn store(&mut self, batch: &Sealed) -> Result<(), UploadError> {
        timeout(PATIENCE, self.send(batch)).await.unwrap_or(Err(UploadError::Timeout))
    }
}
