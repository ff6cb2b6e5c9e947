//! Sends what waits in the spool to the store, one batch at a time, and frees its room when the store has it.

use std::{future::Future, time::Duration};

use audit::PodRef;
use tokio::time::{sleep, timeout};

use super::Recorder;
use crate::spool::Sealed;

/// How long records gather before they are sealed, unless somebody waits for the store.
const GATHER: Duration = Duration::from_millis(200);
/// How long a failed batch rests before it is sent again.
const RETRY: Duration = Duration::from_secs(1);
/// A batch of this many bytes is not worth gathering for.
const FULL: usize = crate::spool::LINE_LIMIT / 2;

/// Where batches go. One implementation sends them to the operator, one writes them to a directory.
pub trait Store {
    /// Why a batch was not stored.
    type Error: std::error::Error;

    /// Stores one batch durably. Storing the same batch twice must do no harm.
    fn store(&mut self, batch: &Sealed) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Runs until the process ends. `pod` names whose records these are; nothing is sealed before it is known.
pub async fn run<S: Store>(recorder: Recorder, pod: PodRef, mut store: S) {
    loop {
        let hurry = recorder.shared.hurry.notified();
        if recorder.waiting_bytes() == 0 {
            recorder.shared.waiting.notified().await;
        }
        // Whoever waits for the store is not made to wait for the gathering.
        drop(timeout(GATHER, hurry).await);
        // What comes meanwhile gathers, too, unless it fills a batch.
        while send(&recorder, &pod, &mut store).await.is_some_and(|bytes| bytes >= FULL) {}
    }
}

/// Sends everything that waits now.
pub async fn drain<S: Store>(recorder: &Recorder, pod: &PodRef, store: &mut S) {
    while send(recorder, pod, store).await.is_some() {}
}

/// Sends one batch, of that many bytes. None when nothing waits, or what waits cannot be sealed.
async fn send<S: Store>(recorder: &Recorder, pod: &PodRef, store: &mut S) -> Option<usize> {
    let sealed = match recorder.seal(pod) {
        Ok(sealed) => sealed?,
        Err(error) => {
            tracing::error!(error = %error, "records cannot be sealed");
            return None;
        }
    };
    while let Err(error) = store.store(&sealed).await {
        tracing::warn!(error = %error, sequence = sealed.sequence, "records wait for the store");
        sleep(RETRY).await;
    }
    recorder.acknowledge(sealed.sequence);
    Some(sealed.bytes.len())
}
