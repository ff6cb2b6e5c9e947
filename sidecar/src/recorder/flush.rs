//! Writing the spool through to the disk, for as many waiters at once as there are.

use std::{fs::File, sync::mpsc, thread};

use tokio::sync::oneshot;

use super::RecorderError;
use crate::spool;

/// A thread that flushes on demand. Waiters that come while it flushes share the next one.
#[derive(Debug)]
pub(super) struct Flusher {
    requests: mpsc::Sender<oneshot::Sender<Option<String>>>,
}

impl Flusher {
    pub(super) fn start(file: File) -> Self {
        let (requests, inbox) = mpsc::channel::<oneshot::Sender<_>>();
        let flushing = move || {
            while let Ok(first) = inbox.recv() {
                let waiters: Vec<_> = std::iter::once(first).chain(inbox.try_iter()).collect();
                let failure = spool::flush(&file).err().map(|error| error.to_string());
                for waiter in waiters {
                    // A waiter that has gone needs no answer.
                    drop(waiter.send(failure.clone()));
                }
            }
        };
        // Without the thread every request fails, and so does the statement that asked.
        drop(thread::Builder::new().name("flush".to_owned()).spawn(flushing));
        Self { requests }
    }

    /// Returns once everything that was written before the call is on the disk.
    pub(super) async fn flushed(&self) -> Result<(), RecorderError> {
        let (done, waiting) = oneshot::channel();
        self.requests.send(done).map_err(|_| RecorderError::Ended)?;
        let failure = waiting.await.map_err(|_| RecorderError::Ended)?;
        failure.map_or(Ok(()), |reason| Err(RecorderError::Flush(reason)))
    }
}
