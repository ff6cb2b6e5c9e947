//! Whether the Lease may be taken, and how it looks taken, renewed and released. No client, no clock.

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use tokio::time::Instant;

use super::DURATION;

/// On the Lease: the epoch of the last leader.
pub(crate) const EPOCH: &str = "chaperone.dev/epoch";

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nobody holds it.
    Take,
    /// Somebody may still hold it.
    Wait,
}

/// The Lease as a follower sees it: its version, and since when by the follower's own clock.
#[derive(Debug, Default)]
pub(crate) struct Observed(Option<(String, Instant)>);

impl Observed {
    pub(crate) fn look(&mut self, lease: Option<&Lease>, now: Instant) -> Step {
        let Some(lease) = lease else { return Step::Take };
        if holder(lease).is_none_or(String::is_empty) {
            return Step::Take;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        match &self.0 {
            Some((seen, since)) if *seen == version => {
                if now.duration_since(*since) > DURATION {
                    Step::Take
                } else {
                    Step::Wait
                }
            }
            _ => {
                self.0 = Some((version, now));
                Step::Wait
            }
        }
    }
}

pub(crate) fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref()
}

/// The epoch that is written on the Lease.
pub(crate) fn epoch_of(lease: &Lease) -> Option<u64> {
    lease.metadata.annotations.as_ref()?.get(EPOCH)?.parse().ok()
}

/// The next epoch: greater than the last one, and at least the time, so that a deleted Lease strands nobody.
pub(crate) fn epoch(lease: Option<&Lease>, now: Timestamp) -> u64 {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let last = lease.and_then(epoch_of).map_or(0, |last| last.saturating_add(1));
    let transitions = lease.and_then(|lease| lease.spec.as_ref()?.lease_transitions);
    let transitions = transitions.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
    seconds.max(last).max(transitions.saturating_add(1))
}

pub(crate) fn taken(seen: Option<Lease>, name: &str, identity: &str, epoch: u64, now: Timestamp) -> Lease {
    let mut lease = seen.unwrap_or_else(|| Lease { metadata: super::metadata(name), ..Lease::default() });
    lease.metadata.managed_fields = None;
    lease.metadata.annotations.get_or_insert_default().insert(EPOCH.to_owned(), epoch.to_string());
    let spec = lease.spec.get_or_insert_default();
    *spec = LeaseSpec {
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        lease_transitions: Some(spec.lease_transitions.unwrap_or_default().saturating_add(1)),
        ..LeaseSpec::default()
    };
    lease
}

pub(crate) fn renewed(lease: &Lease, now: Timestamp) -> Lease {
    let mut lease = lease.clone();
    lease.metadata.managed_fields = None;
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(now));
    lease
}

pub(crate) fn released(mut lease: Lease) -> Lease {
    lease.metadata.managed_fields = None;
    lease.spec.get_or_insert_default().holder_identity = Some(String::new());
    lease
}
