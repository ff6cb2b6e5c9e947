//! Records before effects: every event is in the spool before the bytes that it is about go anywhere.
//!
//! [`Recorder::record`] copies the event into the spool and returns a [`Stored`], whose
//! [`durable`](Stored::durable) waits for as much as the policy's durability asks. [`ship`] sends what waits
//! to the store and frees its room.

mod flush;
pub mod ship;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use audit::{Event, PodRef};
use policy::Durability;
use tokio::sync::{Notify, watch};

use crate::spool::{Sealed, Spool, SpoolError};

/// The longest statement text in a record, in bytes; the rest is left out and said so. Keeps every record
/// below the spool's line limit after JSON's escapes.
const TEXT_LIMIT: usize = 128 * 1024;

/// Why something could not be recorded; the statement is refused then.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The event cannot be written as JSON.
    #[error("the record cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
    /// The spool has no room or cannot be written.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The disk refuses.
    #[error("the record is not on the disk: {0}")]
    Flush(String),
    /// The sidecar is ending.
    #[error("the recorder has ended")]
    Ended,
}

/// The way into the spool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spool: Mutex<Spool>,
    /// Something new waits for the store.
    waiting: Notify,
    /// Somebody waits for the store's acknowledgement.
    hurry: Notify,
    /// The number after the last record that the store has.
    stored: watch::Sender<u64>,
    flush: flush::Flusher,
}

impl Recorder {
    /// A recorder over the spool at `path` of `size` bytes.
    ///
    /// # Errors
    /// When the spool cannot be opened.
    pub fn open(path: &Path, size: usize) -> Result<Self, RecorderError> {
        let spool = Spool::open(path, size)?;
        let flush = flush::Flusher::start(spool.file()?);
        let shared = Shared {
            stored: watch::Sender::new(spool.acknowledged_number()),
            spool: Mutex::new(spool),
            waiting: Notify::new(),
            hurry: Notify::new(),
            flush,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Puts an event into the spool. It survives the end of this process once this returns.
    ///
    /// # Errors
    /// When there is no room. What the event is about must not happen then.
    pub fn record(&self, event: &Event, durability: Durability) -> Result<Stored, RecorderError> {
        let json = encode(event)?;
        let number = self.spool().append(now(), &json)?;
        self.shared.waiting.notify_one();
        if durability == Durability::Store {
            self.shared.hurry.notify_one();
        }
        Ok(Stored { recorder: self.clone(), number, durability })
    }

    fn spool(&self) -> std::sync::MutexGuard<'_, Spool> {
        self.shared.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that wait for the store.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.spool().used()
    }

    fn seal(&self, pod: &PodRef) -> Result<Option<Sealed>, SpoolError> {
        self.spool().seal(pod)
    }

    fn acknowledge(&self, sequence: u64) {
        let mut spool = self.spool();
        spool.acknowledge(sequence);
        let number = spool.acknowledged_number();
        drop(spool);
        self.shared.stored.send_replace(number);
    }
}

/// A record in the spool.
#[derive(Debug)]
#[must_use = "the record may have to become durable before the bytes go"]
pub struct Stored {
    recorder: Recorder,
    number: u64,
    durability: Durability,
}

impl Stored {
    /// Whether nothing has to be waited for.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durability == Durability::Process
    }

    /// Waits for as much as the durability asks.
    ///
    /// # Errors
    /// When the disk refuses, or the recorder ends.
    pub async fn durable(self) -> Result<(), RecorderError> {
        match self.durability {
            Durability::Process => Ok(()),
            Durability::Node => self.recorder.shared.flush.flushed().await,
            Durability::Store => {
                let mut stored = self.recorder.shared.stored.subscribe();
                let waited = stored.wait_for(|next| *next > self.number).await;
                waited.map(|_| ()).map_err(|_| RecorderError::Ended)
            }
        }
    }
}

/// The event as JSON, its text shortened where it would not fit.
fn encode(event: &Event) -> Result<Vec<u8>, serde_json::Error> {
    if let Event::Statement(statement) = event
        && let audit::StatementText::Full(text) = &statement.text
        && text.len() > TEXT_LIMIT
    {
        let mut shortened = statement.clone();
        let cut = text.floor_char_boundary(TEXT_LIMIT);
        let kept = text.get(..cut).unwrap_or_default();
        let left_out = text.len() - cut;
        shortened.text = audit::StatementText::Full(format!("{kept} … ({left_out} more bytes)"));
        return serde_json::to_vec(&Event::Statement(shortened));
    }
    serde_json::to_vec(event)
}

/// Microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
