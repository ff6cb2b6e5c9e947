//! Who leads: one replica at a time, by a Lease in the operator's own namespace.
//!
//! ```text
//!  campaign --take--> lead: renew every RENEW --stop or GIVE_UP without an answer--> end the term --> release
//! ```
//! A leader that cannot renew ends its term, and with it every stream, [`GIVE_UP`] after its last renewal;
//! others take the Lease only after [`DURATION`] without a change, by their own clock. So two never lead at
//! once, whatever the clocks of their machines say.

pub(crate) mod claim;
pub(crate) mod label;

use std::time::Duration;

use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use claim::{Observed, Step};

/// How long the Lease lasts without a renewal.
pub const DURATION: Duration = Duration::from_secs(5);
/// When a leader gives up, counted from its last renewal. Leaves time to close what is open.
pub const GIVE_UP: Duration = Duration::from_millis(3500);
/// How often it is renewed.
const RENEW: Duration = Duration::from_millis(1200);
/// How often a follower looks.
const LOOK: Duration = Duration::from_millis(500);
/// How long one answer of the API server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a release may take at shutdown.
const RELEASE: Duration = Duration::from_secs(2);

/// One term of leadership.
#[derive(Clone, Debug)]
pub struct Term {
    /// Greater than that of every term before.
    pub epoch: u64,
    /// Cancelled when the term ends.
    pub ended: CancellationToken,
}

/// This replica as a candidate.
#[derive(Clone)]
pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
}

impl std::fmt::Debug for Election {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Election").field("name", &self.name).field("identity", &self.identity).finish()
    }
}

/// Why the Lease could not be written or read.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("{0}")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer in time")]
    Timeout,
}

impl Election {
    /// A candidate named `identity` for the Lease `name`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Campaigns until `stop`; leads by `lead` whenever elected. The term's work is dropped when it does not
    /// end in time, so it must not leave tasks behind.
    pub async fn run<F, Work>(&self, stop: &CancellationToken, mut lead: F)
    where
        F: FnMut(Term) -> Work,
        Work: Future<Output = ()>,
    {
        while let Some(held) = self.campaign(stop).await {
            let term = Term { epoch: held.epoch, ended: stop.child_token() };
            info!(epoch = term.epoch, "this replica leads");
            self.term(held, &term, stop, lead(term.clone())).await;
            info!(epoch = term.epoch, "this replica leads no more");
        }
    }

    async fn term(
        &self,
        mut held: Held,
        term: &Term,
        stop: &CancellationToken,
        work: impl Future<Output = ()>,
    ) {
        let mut work = std::pin::pin!(work);
        let finished = tokio::select! {
            () = self.keep(&mut held, stop) => false,
            () = &mut work => true,
        };
        term.ended.cancel();
        if !finished && timeout_at(held.renewed + DURATION, work).await.is_err() {
            warn!("the term's work did not end in time and is dropped");
        }
        if let Ok(Err(error)) = timeout(RELEASE, self.release(held)).await {
            warn!(error = %error, "the Lease could not be released; the next leader waits for its end");
        }
    }

    /// Looks until the Lease can be taken and is taken. None when told to stop.
    async fn campaign(&self, stop: &CancellationToken) -> Option<Held> {
        let mut observed = Observed::default();
        // A Lease that this replica has just released must not be taken again by it.
        while !stop.is_cancelled() {
            match self.attempt(&mut observed).await {
                Ok(Some(held)) => return Some(held),
                Ok(None) => {}
                Err(error) => warn!(error = %error, "the Lease cannot be read or taken"),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                () = sleep(LOOK) => {}
            }
        }
        None
    }

    async fn attempt(&self, observed: &mut Observed) -> Result<Option<Held>, LeaseError> {
        let now = Instant::now();
        let seen = within(self.leases.get_opt(&self.name)).await?;
        if observed.look(seen.as_ref(), now) == Step::Wait {
            return Ok(None);
        }
        let epoch = claim::epoch(seen.as_ref(), Timestamp::now());
        let lease = claim::taken(seen, &self.name, &self.identity, epoch, Timestamp::now());
        let written = match lease.metadata.resource_version {
            None => within(self.leases.create(&PostParams::default(), &lease)).await,
            Some(_) => within(self.leases.replace(&self.name, &PostParams::default(), &lease)).await,
        };
        match written {
            Ok(lease) => Ok(Some(Held { lease, epoch, renewed: now })),
            Err(LeaseError::Api(kube::Error::Api(status))) if status.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews until told to stop, until somebody else holds the Lease, or until [`GIVE_UP`].
    async fn keep(&self, held: &mut Held, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(RENEW.min(held.rest())) => {}
            }
            let sent = Instant::now();
            let lease = claim::renewed(&held.lease, Timestamp::now());
            let params = PostParams::default();
            let renewal = self.leases.replace(&self.name, &params, &lease);
            match timeout_at(held.renewed + GIVE_UP, within(renewal)).await {
                Ok(Ok(lease)) => (held.lease, held.renewed) = (lease, sent),
                Ok(Err(LeaseError::Api(kube::Error::Api(status)))) if matches!(status.code, 404 | 409) => {
                    if !self.refetch(held).await {
                        warn!("the Lease was taken away");
                        return;
                    }
                }
                Ok(Err(error)) => warn!(error = %error, "the Lease could not be renewed"),
                Err(_) => {}
            }
            if held.rest().is_zero() {
                warn!("the Lease could not be renewed in time");
                return;
            }
        }
    }

    /// After a conflict: whether the Lease is still ours, in another version (somebody annotated it, or an
    /// answer was lost on its way).
    async fn refetch(&self, held: &mut Held) -> bool {
        let Ok(Some(lease)) = within(self.leases.get_opt(&self.name)).await else { return false };
        let ours =
            claim::holder(&lease) == Some(&self.identity) && claim::epoch_of(&lease) == Some(held.epoch);
        held.lease = lease;
        ours
    }

    async fn release(&self, held: Held) -> Result<(), LeaseError> {
        let lease = claim::released(held.lease);
        match within(self.leases.replace(&self.name, &PostParams::default(), &lease)).await {
            Err(LeaseError::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(()),
            other => other.map(drop),
        }
    }
}

async fn within<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LeaseError> {
    timeout(PATIENCE, call).await.map_err(|_| LeaseError::Timeout)?.map_err(LeaseError::Api)
}

/// The Lease while it is ours.
struct Held {
    lease: Lease,
    epoch: u64,
    /// When the last renewal was sent, not when it was answered.
    renewed: Instant,
}

impl Held {
    fn rest(&self) -> Duration {
        (self.renewed + GIVE_UP).saturating_duration_since(Instant::now())
    }
}

/// A Lease's metadata.
pub(crate) fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

#[cfg(test)]
mod tests;
