//! Stores the records of sidecars: each batch is checked, gathered with others into a segment, written
//! durably, and only then acknowledged.
//!
//! Only the leader runs a collector. Each replica has a volume of its own; verification merges them.

mod chains;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use audit::{Batch, PodRef};
use bytes::Bytes;
use object_store::ObjectStore;
use tokio::sync::{mpsc, oneshot};

use chains::{Chains, Place};
use writer::Writer;
pub use writer::{SEGMENTS, WriterError, segment_path};

/// Batches that wait for the writer; senders wait beyond it.
const QUEUE: usize = 256;

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// Not a sealed batch.
    #[error("{0}")]
    Batch(#[from] audit::BatchError),
    /// The batch says that it is somebody else's.
    #[error("the batch names pod {said}, its sender is {sender}")]
    Foreign {
        /// What the batch says.
        said: String,
        /// Who sent it.
        sender: String,
    },
    /// The batch does not follow what is stored.
    #[error("the batch does not follow batch {last} of its chain, which is stored")]
    Fork {
        /// The last batch that is stored.
        last: u64,
    },
    /// The store does not work.
    #[error("{0}")]
    Write(String),
    /// The collector has ended.
    #[error("the collector has ended")]
    Ended,
}

impl CollectError {
    /// Whether the sender can do nothing about it but wait.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Ended)
    }
}

/// One batch on its way to the writer.
#[derive(Debug)]
pub(crate) struct Job {
    bytes: Bytes,
    done: oneshot::Sender<Result<(), String>>,
}

/// The way into the store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Collector {
    jobs: mpsc::Sender<Job>,
    chains: Arc<Mutex<Chains>>,
}

impl Collector {
    /// A collector over `store`, which goes on where the store ends.
    ///
    /// # Errors
    /// When the store cannot be read, or its newest segment is damaged.
    pub async fn open(store: Arc<dyn ObjectStore>) -> Result<Self, WriterError> {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let writer = Writer::open(store).await?;
        tokio::spawn(writer.run(inbox));
        Ok(Self { jobs, chains: Arc::default() })
    }

    /// Stores one batch of `sender`, as the API server names it. Durable on return. The same batch again is
    /// no error. Returns the batch's number.
    ///
    /// # Errors
    /// When it is no batch, is not the sender's, does not follow what is stored, or the store does not work.
    pub async fn store(&self, sender: &PodRef, bytes: Bytes) -> Result<u64, CollectError> {
        let batch = Batch::open(&bytes)?;
        if batch.header.pod != *sender {
            let name = |pod: &PodRef| format!("{}/{} ({})", pod.namespace, pod.pod, pod.uid);
            return Err(CollectError::Foreign { said: name(&batch.header.pod), sender: name(sender) });
        }
        match self.chains().place(&batch) {
            Place::Next => {}
            Place::Stored => return Ok(batch.header.sequence),
            Place::Fork { last } => return Err(CollectError::Fork { last }),
        }
        let (done, waiting) = oneshot::channel();
        self.jobs.send(Job { bytes, done }).await.map_err(|_| CollectError::Ended)?;
        waiting.await.map_err(|_| CollectError::Ended)?.map_err(CollectError::Write)?;
        self.chains().stored(&batch);
        Ok(batch.header.sequence)
    }

    fn chains(&self) -> std::sync::MutexGuard<'_, Chains> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
