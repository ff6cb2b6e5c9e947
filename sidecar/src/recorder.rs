//! Records before effects: every event is in the spool before the bytes that it is about go anywhere.
//!
//! [`Recorder::record`] copies the event into the spool and returns a [`Stored`], whose
//! [`durable`](Stored::durable) waits for as much as the policy's durability asks. [`ship`] sends what waits
//! to the store and frees its room.

mod flush;
mod line;
pub mod ship;

use std::{
    borrow::Cow,
    cell::RefCell,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use audit::{Event, PodRef};
use policy::Durability;
use tokio::sync::{Notify, watch};

use crate::spool::{Gathering, Sealed, Spool, SpoolError};
pub use line::{Head, Tail};

/// The longest statement text in a record, in bytes; the rest is left out and said so. Keeps every record
/// below the spool's line limit after JSON's escapes.
const TEXT_LIMIT: usize = 128 * 1024;

thread_local! {
    /// Where the changing parts of a statement's record are written.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
/// More than this is not kept for the next record, in bytes.
const SCRATCH_KEPT: usize = 16 * 1024;

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
    /// Something waits for the store, where nothing did before.
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
        let number = self.append(&[&json])?;
        Ok(self.stored(number, durability))
    }

    /// Puts a statement's record into the spool, of which this is head, number, tail and text. None when nothing
    /// has to be waited for.
    ///
    /// # Errors
    /// When there is no room. Nothing may be forwarded then.
    pub fn statement(
        &self,
        (head, number): (&Head, u64),
        (tail, text): (&Tail, &str),
        durability: Durability,
    ) -> Result<Option<Stored>, RecorderError> {
        let (before_text, after_text) = tail.parts();
        let number = SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            line::write_number(scratch, number);
            let end = scratch.len();
            if after_text.is_some() {
                line::write_text(scratch, &shortened(text))?;
            }
            let (number, text) = scratch.split_at_checked(end).unwrap_or_default();
            let appended =
                self.append(&[head.bytes(), number, before_text, text, after_text.unwrap_or_default()]);
            scratch.shrink_to(SCRATCH_KEPT);
            appended
        })?;
        Ok((durability != Durability::Process).then(|| self.stored(number, durability)))
    }

    fn append(&self, event: &[&[u8]]) -> Result<u64, RecorderError> {
        let time = now();
        let mut spool = self.spool();
        let first = spool.used() == 0;
        let number = spool.append(time, event)?;
        drop(spool);
        if first {
            self.shared.waiting.notify_one();
        }
        Ok(number)
    }

    fn stored(&self, number: u64, durability: Durability) -> Stored {
        if durability == Durability::Store {
            self.shared.hurry.notify_one();
        }
        Stored { recorder: self.clone(), number, durability }
    }

    fn spool(&self) -> std::sync::MutexGuard<'_, Spool> {
        self.shared.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that wait for the store.
    #[must_use]
    pub fn waiting_bytes(&self) -> u64 {
        self.spool().used()
    }

    /// Makes a batch of what waits; none when nothing does. Whoever records waits for microseconds at most.
    fn seal(&self, pod: &PodRef) -> Result<Option<Sealed>, SpoolError> {
        let mut batch: Gathering = self.spool().begin();
        while self.spool().gather(&mut batch) {}
        let Some((sealed, hash)) = batch.seal(pod)? else { return Ok(None) };
        self.spool().sealed(&batch, hash);
        Ok(Some(sealed))
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
        && let Cow::Owned(text) = shortened(text)
    {
        let text = audit::StatementText::Full(text);
        return serde_json::to_vec(&Event::Statement(audit::Statement { text, ..statement.clone() }));
    }
    serde_json::to_vec(event)
}

/// A text as it is recorded.
fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_LIMIT {
        return Cow::Borrowed(text);
    }
    let kept = text.get(..text.floor_char_boundary(TEXT_LIMIT)).unwrap_or_default();
    let left_out = text.len() - kept.len();
    Cow::Owned(format!("{kept} … ({left_out} more bytes)"))
}

/// Microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
