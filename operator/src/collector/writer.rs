//! Writes segments: what comes within a moment goes into one, so that a thousand sidecars need few files.

use std::{sync::Arc, time::Duration};

use audit::{Hash, Segment};
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, path::Path};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tracing::error;
use uuid::Uuid;

use super::Job;

/// Where segments are in the store.
pub const SEGMENTS: &str = "segments";
/// How long a segment gathers after its first batch, and how large it may become, in bytes.
const GATHER: Duration = Duration::from_millis(50);
const SIZE: usize = 8 * 1024 * 1024;

/// Why the store cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The store does not work.
    #[error("the record store does not work: {0}")]
    Store(#[from] object_store::Error),
    /// Nothing can be chained to the newest segment.
    #[error("the newest segment `{path}` is damaged: {reason}")]
    Damaged {
        /// Which.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A segment cannot be sealed.
    #[error("a segment cannot be sealed: {0}")]
    Seal(#[from] serde_json::Error),
}

/// The path of a segment; names sort as the chain does.
#[must_use]
pub fn segment_path(sequence: u64) -> Path {
    Path::from(format!("{SEGMENTS}/{sequence:012}.segment.jsonl"))
}

/// The one writer of a store.
#[derive(Debug)]
pub(super) struct Writer {
    store: Arc<dyn ObjectStore>,
    writer: Uuid,
    next: u64,
    previous: Hash,
}

impl Writer {
    /// Goes on behind the newest segment.
    pub(super) async fn open(store: Arc<dyn ObjectStore>) -> Result<Self, WriterError> {
        let prefix = Path::from(SEGMENTS);
        let mut newest: Option<Path> = None;
        let mut found = store.list(Some(&prefix));
        while let Some(object) = found.try_next().await? {
            newest = newest.max(Some(object.location));
        }
        drop(found);
        let Some(path) = newest else {
            return Ok(Self { store, writer: Uuid::new_v4(), next: 0, previous: Hash::START });
        };
        let bytes = store.get(&path).await?.bytes().await?;
        let segment = Segment::open(&bytes)
            .map_err(|error| WriterError::Damaged { path: path.to_string(), reason: error.to_string() })?;
        let header = segment.header;
        Ok(Self { store, writer: header.writer, next: header.sequence + 1, previous: segment.hash })
    }

    /// Runs until every sender is gone.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        while let Some(first) = inbox.recv().await {
            let jobs = gather(first, &mut inbox).await;
            let batches: Vec<u8> = jobs.iter().flat_map(|job| job.bytes.iter().copied()).collect();
            let written = self.write(&batches).await.map_err(|error| {
                error!(error = %error, "records cannot be stored");
                error.to_string()
            });
            for job in jobs {
                // A sender that has gone sends its batch again.
                drop(job.done.send(written.clone()));
            }
        }
    }

    async fn write(&mut self, batches: &[u8]) -> Result<(), WriterError> {
        let (bytes, hash) = Segment::seal(self.writer, self.next, self.previous, batches)?;
        // Never over another segment: two writers on one store must not hide each other's.
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.store.put_opts(&segment_path(self.next), bytes.into(), options).await?;
        self.next += 1;
        self.previous = hash;
        Ok(())
    }
}

/// The first job and those that come soon after it.
async fn gather(first: Job, inbox: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let deadline = Instant::now() + GATHER;
    let mut size = first.bytes.len();
    let mut jobs = vec![first];
    while size < SIZE {
        match timeout_at(deadline, inbox.recv()).await {
            Ok(Some(job)) => {
                size += job.bytes.len();
                jobs.push(job);
            }
            Ok(None) | Err(_) => break,
        }
    }
    jobs
}
