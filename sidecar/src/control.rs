//! The sidecar's end of the control channel: documents and leases come down it, records go up.
//!
//! Everything here starts anew when the stream breaks. Meanwhile the last document and the last leases go on
//! being used, records stay in the spool, and [`Documents`] says when that has lasted too long.

mod lease;
mod link;
mod record;
mod watch;

use std::{path::PathBuf, time::Duration};

pub use link::{Link, LinkError};
pub use record::{Upload, UploadError};
use tokio::{sync::watch as state, time::sleep};
use tracing::{debug, info, warn};

use crate::{
    credentials::Credentials,
    policy::{Documents, PodIdentity},
};

/// The first pause before another attempt, and the longest: a leader that was killed is followed by another after
/// 6 s, and new pods wait for it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How to reach the operator.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `https://HOST:PORT`.
    pub address: String,
    /// The roots that its certificate must come from, PEM.
    pub roots: String,
    /// Where newer ones are kept, so that a container that is restarted still knows them.
    pub roots_file: PathBuf,
    /// The file with the token that says whose sidecar this is.
    pub token_file: PathBuf,
}

/// Pauses between attempts: doubling, with a random part so that a thousand sidecars do not come together.
#[derive(Debug)]
pub(crate) struct Pause(Duration);

impl Pause {
    pub(crate) const fn new() -> Self {
        Self(PAUSE_MIN)
    }

    pub(crate) async fn rest(&mut self) {
        let random = rand::random_range(0.5..1.0);
        sleep(self.0.mul_f64(random)).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }

    pub(crate) const fn reset(&mut self) {
        self.0 = PAUSE_MIN;
    }

    /// Whether nothing has failed since the last success: what follows says the same again.
    pub(crate) fn is_first(&self) -> bool {
        self.0 == PAUSE_MIN
    }
}

/// Follows the operator's documents for ever. `identity` is told as soon as the operator says whose this is.
pub async fn follow_documents(
    link: Link,
    documents: Documents,
    identity: state::Sender<Option<PodIdentity>>,
) {
    let mut pause = Pause::new();
    let mut watcher = watch::Watcher::new(documents, identity);
    loop {
        let ended = watcher.run(&link).await;
        if watcher.take_progress() {
            pause.reset();
        }
        match ended {
            Ok(()) => info!("the operator closed the document stream"),
            Err(error) if pause.is_first() => warn!(error = %error, "the document stream broke"),
            Err(error) => debug!(error = %error, "the document stream is not back yet"),
        }
        pause.rest().await;
    }
}

/// Keeps a lease for every Connection of the document in force.
pub async fn follow_leases(link: Link, documents: Documents, credentials: Credentials) {
    lease::follow(link, documents, credentials).await;
}
