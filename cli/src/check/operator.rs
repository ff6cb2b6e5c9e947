//! The operator: its replicas, its leader, the channel, the records.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    coordination::v1::Lease,
    core::v1::Pod,
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectMeta},
};

use super::{Seen, report::Report};
use crate::{
    cluster::{Cluster, OPERATOR_LABELS},
    output::reason,
};

const SECTION: &str = "operator";
/// The StatefulSet, or with object storage the Deployment.
const OPERATOR: &str = "chaperone-operator";
/// The Lease by which the leader is chosen.
const LEASE: &str = "chaperone-leader";
/// Carried by the leader's pod alone.
const LEADER: &str = "chaperone.dev/leader";
/// The Service in front of the leader.
const CHANNEL: &str = "chaperone-channel";
/// The leader renews more often than every two seconds, and gives up after five. The rest is for clocks that differ.
const FRESH_SECONDS: i64 = 15;
const VERSION_LABEL: &str = "app.kubernetes.io/version";

/// What a StatefulSet and a Deployment have in common.
struct Set {
    metadata: ObjectMeta,
    wanted: i32,
    ready: i32,
}

/// Replicas and version.
pub(super) async fn replicas(cluster: &Cluster, report: &mut Report, seen: &mut Seen) {
    let namespace = &cluster.operator_namespace;
    match find(cluster).await {
        Ok(Some(set)) => judge(&set, namespace, report, seen),
        Ok(None) => report.fail(
            SECTION,
            format!("there is no operator in namespace `{namespace}`"),
            "use --operator-namespace, or install it: helm install chaperone charts/chaperone",
        ),
        Err(error) => report.unread(SECTION, "the operator's replicas", &error),
    }
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    match pods.list(&ListParams::default().labels(OPERATOR_LABELS)).await {
        Ok(found) => {
            let runs = |pod: &Pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
            seen.replicas = found.items.into_iter().filter(runs).collect();
        }
        Err(error) => report.unread(SECTION, "the operator's pods", &error),
    }
}

async fn find(cluster: &Cluster) -> Result<Option<Set>, kube::Error> {
    let (client, namespace) = (&cluster.client, &cluster.operator_namespace);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    if let Some(StatefulSet { metadata, spec, status }) = sets.get_opt(OPERATOR).await? {
        let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let ready = status.and_then(|status| status.ready_replicas).unwrap_or_default();
        return Ok(Some(Set { metadata, wanted, ready }));
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let found = deployments.get_opt(OPERATOR).await?;
    Ok(found.map(|Deployment { metadata, spec, status }| Set {
        metadata,
        wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        ready: status.and_then(|status| status.ready_replicas).unwrap_or_default(),
    }))
}

fn judge(set: &Set, namespace: &str, report: &mut Report, seen: &mut Seen) {
    let Set { metadata, wanted, ready } = set;
    let text = format!("{ready} of {wanted} replicas are ready");
    let see = format!("see why: kubectl -n {namespace} describe pods -l {OPERATOR_LABELS}");
    match (*ready, *wanted) {
        (0, _) => report.fail(SECTION, text, see),
        (ready, wanted) if ready < wanted => report.warn(SECTION, text, see),
        (_, 1) => report.warn(
            SECTION,
            format!("{text}: while it restarts no pod can be created in labelled namespaces"),
            "run two: helm upgrade chaperone charts/chaperone --reuse-values --set replicas=2",
        ),
        _ => report.ok(SECTION, text),
    }
    seen.version = metadata.labels.as_ref().and_then(|labels| labels.get(VERSION_LABEL).cloned());
    let own = env!("CARGO_PKG_VERSION");
    match seen.version.as_deref() {
        Some(version) if version == own => report.ok(SECTION, format!("version {version}, as this plugin")),
        Some(version) => report.warn(
            SECTION,
            format!("version {version}, while this plugin is {own}"),
            format!("install the plugin of version {version}"),
        ),
        None => report.warn(
            SECTION,
            format!("`{OPERATOR}` carries no label `{VERSION_LABEL}`, so its version is not known"),
            "install it by the chart charts/chaperone",
        ),
    }
}

/// One leader: a fresh Lease, and the pod that carries the label.
pub(super) async fn leader(cluster: &Cluster, report: &mut Report, now: Timestamp) {
    let namespace = &cluster.operator_namespace;
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    let logs = format!("read its log: kubectl -n {namespace} logs -l {OPERATOR_LABELS} --tail 50");
    let lease = match leases.get_opt(LEASE).await {
        Ok(lease) => lease,
        Err(error) => return report.unread(SECTION, &format!("the Lease `{LEASE}`"), &error),
    };
    let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
    let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty()) else {
        return report.fail(SECTION, format!("nobody leads: the Lease `{LEASE}` is not held"), logs);
    };
    let age = spec.renew_time.map(|time| now.as_second() - time.0.as_second());
    match age {
        Some(age) if age.abs() <= FRESH_SECONDS => report.ok(SECTION, format!("`{holder}` leads")),
        Some(age) => report.fail(
            SECTION,
            format!("`{holder}` has not renewed the Lease `{LEASE}` for {age} s"),
            format!("{logs}; or set this machine's clock, if it is that far off"),
        ),
        None => {
            report.fail(SECTION, format!("`{holder}` has never renewed the Lease `{LEASE}`"), logs.clone())
        }
    }
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let labelled = match pods.list_metadata(&ListParams::default().labels(LEADER)).await {
        Ok(found) => found.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(),
        Err(error) => return report.unread(SECTION, "the leader's label", &error),
    };
    match labelled.as_slice() {
        [only] if *only == holder => report.ok(SECTION, format!("`{holder}` carries the label `{LEADER}`")),
        [] => report.fail(
            SECTION,
            format!("no pod carries the label `{LEADER}`: sidecars find no leader"),
            logs,
        ),
        others => report.fail(
            SECTION,
            format!("`{holder}` leads, but the label `{LEADER}` is on: {}", others.join(", ")),
            logs,
        ),
    }
}

/// Sidecars reach the leader by a Service.
pub(super) async fn channel(cluster: &Cluster, report: &mut Report) {
    match endpoints(cluster, CHANNEL).await {
        Ok(1) => report.ok(SECTION, format!("the Service `{CHANNEL}` has the leader behind it")),
        Ok(found) => report.fail(
            SECTION,
            format!("the Service `{CHANNEL}` has {found} endpoints; the leader alone should be there"),
            format!(
                "see which: kubectl -n {} get endpointslices,pods --show-labels",
                cluster.operator_namespace
            ),
        ),
        Err(error) => report.unread(SECTION, &format!("the endpoints of `{CHANNEL}`"), &error),
    }
}

/// How many ready addresses a Service of the operator's has.
pub(super) async fn endpoints(cluster: &Cluster, service: &str) -> Result<usize, kube::Error> {
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.client.clone(), &cluster.operator_namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let mut pods = std::collections::BTreeSet::new();
    for slice in slices.list(&of_service).await? {
        for endpoint in slice.endpoints {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            if ready {
                // One pod has an address in each family.
                let name = endpoint.target_ref.and_then(|target| target.name);
                pods.extend(name.or_else(|| endpoint.addresses.into_iter().next()));
            }
        }
    }
    Ok(pods.len())
}

/// Every replica's records can be read.
pub(super) async fn records(cluster: &Cluster, report: &mut Report, seen: &Seen) {
    for replica in &seen.replicas {
        let name = replica.name_any();
        match cluster.read(&name, "/v1/segments?after=~").await {
            Ok(_) => report.ok(SECTION, format!("the records of `{name}` can be read")),
            Err(error) => report.unseen(
                SECTION,
                format!("the records of `{name}` cannot be read: {}", reason(&error)),
                format!("get the right to pods/portforward in namespace `{}`", cluster.operator_namespace),
            ),
        }
    }
}
