//! The controllers, run by the leader alone: what is in the cluster -> classes, leases and status.
//!
//! ```text
//!  fetch ──> World ──> resolve, classes ──> Distributor (documents), Leases
//!    ^ watches            (no client)  └──> report (conditions, events)
//!    └ references: Secrets and ConfigMaps, one watch each
//! ```
//! Any change leads to one pass over everything, soon after it: documents depend on all Connections and policies
//! at once, and equal pods share one class, so a pass is cheap.

mod classes;
mod conditions;
mod events;
mod fetch;
mod pods;
mod report;
mod resolve;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::condition::{PROGRAMMED, holds};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use policy::DnsMode;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    addresses::Addresses,
    distribute::{Distributor, Key, Observed},
    leases::Leases,
    metrics::Metrics,
    references::References,
};
use fetch::{Watched, World};
use report::{Picture, Reporter};

/// Changes that come together are taken together.
const GATHER: Duration = Duration::from_millis(20);

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
    /// What is counted.
    pub metrics: Metrics,
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

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) connections: usize,
    pub(crate) policies: usize,
    pub(crate) pods: usize,
    pub(crate) classes: usize,
}

/// Runs the controllers until `ended`. `primed` is told once everything that is in the cluster has been read and
/// every pod has its document: only then may sidecars come.
pub async fn run(parts: Parts, ended: CancellationToken, primed: oneshot::Sender<()>) {
    let Parts { client, distributor, leases: _, dns: _, stale_after: _, operator, metrics } = parts.clone();
    let watched = Watched::start(client.clone());
    tokio::select! {
        () = watched.ready() => info!("the cluster's resources are known"),
        () = ended.cancelled() => return,
    }
    let (pictures, newest) = watch::channel(None);
    let reporter = Reporter::new(client, operator, distributor, metrics);
    tokio::select! {
        () = pass_on_changes(&parts, &watched, &pictures, primed) => {}
        () = reporter.run(newest) => {}
        () = ended.cancelled() => {}
    }
}

async fn pass_on_changes(
    parts: &Parts,
    watched: &Watched,
    pictures: &watch::Sender<Option<Arc<Picture>>>,
    primed: oneshot::Sender<()>,
) {
    let references = References::new(parts.client.clone());
    let mut addresses = Addresses::default();
    let mut primed = Some(primed);
    loop {
        pass(parts, watched.world(), &references, &mut addresses, pictures);
        if let Some(primed) = primed.take() {
            // Whoever waited may have been told to end.
            primed.send(()).ok();
        }
        tokio::select! {
            () = watched.moved() => {}
            () = references.moved() => {}
        }
        sleep(GATHER).await;
    }
}

/// One pass over everything. It waits for nothing.
fn pass(
    parts: &Parts,
    world: World,
    references: &References,
    addresses: &mut Addresses,
    pictures: &watch::Sender<Option<Arc<Picture>>>,
) {
    let began = Instant::now();
    addresses.assign(&world.hosts(), began);
    references.want(&world.references());
    let resolved = resolve::all(&world, references, addresses, &parts.operator);
    for (name, connection) in &resolved {
        parts.leases.set(name, connection.lease.clone());
    }
    parts.leases.retain(|name| resolved.contains_key(name));
    parts.distributor.set_pods(&world.pods);
    let terms = classes::Terms { dns: parts.dns, stale_after: parts.stale_after };
    let conflicts = match classes::compile(&world, &resolved, terms) {
        Ok(classes) => {
            let counts = Counts {
                connections: world.connections.len(),
                policies: world.policies.len(),
                pods: world.pods.len(),
                classes: classes.count,
            };
            parts.metrics.passed(counts, began.elapsed());
            parts.distributor.publish(classes.by_pod, &observed(&world));
            classes.conflicts
        }
        Err(error) => {
            error!(error = %error, "documents cannot be compiled; the old ones stay");
            return;
        }
    };
    pictures.send_replace(Some(Arc::new(Picture { world, resolved, conflicts })));
}

/// Every resource as it is now.
fn observed(world: &World) -> BTreeMap<Key, Observed> {
    let connections = world.connections.iter().map(|connection| {
        let conditions = connection.status.as_ref().map(|status| status.conditions.as_slice());
        (Key::Connection(connection.key()), seen(connection.metadata.generation, conditions))
    });
    let policies = world.policies.iter().map(|policy| {
        let conditions = policy.status.as_ref().map(|status| status.conditions.as_slice());
        (Key::AccessPolicy(policy.key()), seen(policy.metadata.generation, conditions))
    });
    connections.chain(policies).collect()
}

fn seen(generation: Option<i64>, conditions: Option<&[Condition]>) -> Observed {
    let generation = generation.unwrap_or_default();
    Observed { generation, programmed: holds(conditions.unwrap_or_default(), PROGRAMMED, generation) }
}
