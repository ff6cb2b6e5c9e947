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
        recorder.shared.waiting.notified().await;
        // Whoever waits for the store is not made to wait for the gathering.
        drop(timeout(GATHER, hurry).await);
        drain(&recorder, &pod, &mut store).await;
    }
}

/// Sends everything that waits now.
pub async fn drain<S: Store>(recorder: &Recorder, pod: &PodRef, store: &mut S) {
    loop {
        let sealed = match recorder.seal(pod) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(error = %error, "records cannot be sealed");
                return;
            }
        };
        while let Err(error) = store.store(&sealed).await {
            tracing::warn!(error = %error, sequence = sealed.sequence, "records wait for the store");
            sleep(RETRY).await;
        }
        recorder.acknowledge(sealed.sequence);
    }
}
