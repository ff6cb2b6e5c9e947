//! The controllers, run by the leader alone: what is in the cluster -> classes, leases and status.
//!
//! ```text
//!  fetch ──> World ──> compile ──> Distributor (documents), Leases ──> report (status, events)
//!    ^ watches          (no client)
//!    └ references: Secrets and ConfigMaps, one watch each
//! ```
//! Any change leads to one pass over everything, soon after it: documents depend on all Connections and policies
//! at once, and equal pods share one class, so a pass is cheap.

mod compile;
mod fetch;
mod pods;
mod report;

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use policy::DnsMode;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    addresses::Addresses,
    distribute::{Distributor, Key, Observed},
    leases::Leases,
    references::References,
};
use fetch::Watched;

/// Changes that come together are taken together.
const GATHER: Duration = Duration::from_millis(20);
/// Time alone changes status: pods become stale.
const LOOK: Duration = Duration::from_secs(5);

/// What the controllers work with.
#[derive(Clone)]
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// Where documents go.
    pub distributor: Distributor,
    /// Where credentials go.
    pub leases: Leases,
    /// Which names sidecars resolve.
    pub dns: DnsMode,
    /// How long sidecars go on without the operator.
    pub stale_after: Duration,
    /// The operator's namespace and service account, for grants.
    pub operator: Operator,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("distributor", &self.distributor).finish_non_exhaustive()
    }
}

/// Who must be granted rights.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The operator's namespace.
    pub namespace: String,
    /// This replica, for events.
    pub instance: String,
}

/// Runs the controllers until `ended`.
pub async fn run(parts: Parts, ended: CancellationToken) {
    let watched = Watched::start(parts.client.clone());
    tokio::select! {
        () = watched.ready() => info!("the cluster's resources are known"),
        () = ended.cancelled() => return,
    }
    let references = References::new(parts.client.clone());
    let mut addresses = Addresses::default();
    let mut reporter = report::Reporter::new(parts.client.clone(), parts.operator.clone());
    let mut look = interval(LOOK);
    loop {
        pass(&parts, &watched, &references, &mut addresses, &mut reporter).await;
        tokio::select! {
            () = watched.moved() => {}
            () = references.moved() => {}
            () = parts.distributor.moved() => {}
            _ = look.tick() => {}
            () = ended.cancelled() => return,
        }
        sleep(GATHER).await;
    }
}

/// One pass over everything.
async fn pass(
    parts: &Parts,
    watched: &Watched,
    references: &References,
    addresses: &mut Addresses,
    reporter: &mut report::Reporter,
) {
    let world = watched.world();
    addresses.assign(&world.hosts(), Instant::now());
    references.want(&world.references());
    let resolved = compile::resolve(&world, references, addresses, &parts.operator);
    for (name, connection) in &resolved {
        parts.leases.set(name, connection.lease.clone());
    }
    parts.leases.retain(|name| resolved.contains_key(name));
    for uid in parts.distributor.uids() {
        if !world.pods.iter().any(|pod| pod.identity.uid == uid) {
            parts.distributor.remove(&uid);
        }
    }
    for pod in &world.pods {
        parts.distributor.place(pod.clone());
    }
    let classes = compile::classes(&world, &resolved, parts.dns, parts.stale_after);
    match classes {
        Ok(classes) => drop(parts.distributor.publish(classes, &observed(&world))),
        Err(error) => warn!(error = %error, "documents cannot be compiled; the old ones stay"),
    }
    reporter.report(&world, &resolved, &parts.distributor).await;
}

/// Every resource as it is now.
fn observed(world: &fetch::World) -> BTreeMap<Key, Observed> {
    let connections = world.connections.iter().map(|connection| {
        let status = connection.status.clone().unwrap_or_default();
        (Key::Connection(connection.key()), seen(connection.metadata.generation, &status.conditions))
    });
    let policies = world.policies.iter().map(|policy| {
        let status = policy.status.clone().unwrap_or_default();
        (Key::AccessPolicy(policy.key()), seen(policy.metadata.generation, &status.conditions))
    });
    connections.chain(policies).collect()
}

fn seen(
    generation: Option<i64>,
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
) -> Observed {
    let generation = generation.unwrap_or_default();
    Observed {
        generation,
        programmed: api::condition::holds(conditions, api::condition::PROGRAMMED, generation),
    }
}
