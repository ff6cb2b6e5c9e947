//! Namespaces that ask for injection, and the pods in them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Resource, ResourceExt, api::ListParams};

use super::{Seen, report::Report};
use crate::cluster::Cluster;

const SECTION: &str = "workloads";
/// The namespace's label: `enabled` or `required`.
pub(super) const INJECTION: &str = "chaperone.dev/injection";
/// The pod's own word: a label or an annotation.
pub(super) const INJECT: &str = "chaperone.dev/inject";
/// On injected pods.
pub(super) const INJECTED: &str = "chaperone.dev/injected";
/// On injected pods: the operator's version then.
const VERSION: &str = "chaperone.dev/version";
/// How many pods a line names.
const NAMED: usize = 5;
/// Ended pods have no sidecar to look at.
const LIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// Namespaces with the label, by name with its value.
pub(super) async fn labelled(cluster: &Cluster) -> Result<BTreeMap<String, String>, kube::Error> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let found = api.list_metadata(&ListParams::default().labels(INJECTION)).await?;
    let value = |namespace: &kube::core::PartialObjectMeta<Namespace>| {
        namespace.labels().get(INJECTION).cloned().unwrap_or_default()
    };
    Ok(found.items.iter().map(|namespace| (namespace.name_any(), value(namespace))).collect())
}

/// Pods that should have a sidecar and have none.
pub(super) async fn namespaces(cluster: &Cluster, report: &mut Report) {
    let labelled = match labelled(cluster).await {
        Ok(labelled) => labelled,
        Err(error) => return report.unread(SECTION, "the labelled namespaces", &error),
    };
    if labelled.is_empty() {
        return report.warn(
            SECTION,
            format!("no namespace carries the label `{INJECTION}`: only annotated pods get a sidecar"),
            format!("kubectl label namespace NAMESPACE {INJECTION}=enabled"),
        );
    }
    for (name, value) in &labelled {
        if !matches!(value.as_str(), "enabled" | "required") {
            let text =
                format!("namespace `{name}`: the label `{INJECTION}` is `{value}`, so no pod can be created");
            report.fail(
                SECTION,
                text,
                format!("kubectl label --overwrite namespace {name} {INJECTION}=enabled"),
            );
            continue;
        }
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), name);
        match pods.list_metadata(&ListParams::default().fields(LIVE)).await {
            Ok(found) => judge(name, value, &found.items, report),
            Err(error) => report.unread(SECTION, &format!("the pods of namespace `{name}`"), &error),
        }
    }
}

fn judge<P: Resource>(namespace: &str, value: &str, pods: &[P], report: &mut Report) {
    let said = |pod: &P, key: &str, value: &str| {
        let has = |map: &BTreeMap<String, String>| map.get(key).is_some_and(|found| found == value);
        has(pod.labels()) || has(pod.annotations())
    };
    let (with, without): (Vec<&P>, Vec<&P>) = pods.iter().partition(|pod| said(pod, INJECTED, "true"));
    let declines = |pod: &&P| value == "enabled" && said(pod, INJECT, "false") && !said(pod, INJECT, "true");
    let (declined, left): (Vec<&P>, Vec<&P>) = without.into_iter().partition(declines);
    let text = format!(
        "namespace `{namespace}` ({value}): {} pods with a sidecar, {} that declined",
        with.len(),
        declined.len()
    );
    if left.is_empty() {
        return report.ok(SECTION, text);
    }
    report.warn(
        SECTION,
        format!("{text}, {} WITHOUT: {}", left.len(), names(&left)),
        format!("they are older than the label; create them again: kubectl -n {namespace} rollout restart deployment"),
    );
}

fn names<P: Resource>(pods: &[&P]) -> String {
    let mut names: Vec<String> = pods.iter().take(NAMED).map(|pod| pod.name_any()).collect();
    if pods.len() > NAMED {
        names.push(format!("{} more", pods.len() - NAMED));
    }
    names.join(", ")
}

/// Injected pods of another version than the operator.
pub(super) async fn versions(cluster: &Cluster, report: &mut Report, seen: &Seen) {
    let Some(version) = &seen.version else { return };
    let pods: Api<Pod> = Api::all(cluster.client.clone());
    let injected = ListParams::default().labels(&format!("{INJECTED}=true")).fields(LIVE);
    let found = match pods.list_metadata(&injected).await {
        Ok(found) => found.items,
        Err(error) => return report.unread(SECTION, "the injected pods", &error),
    };
    let mut others: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for pod in &found {
        let own = pod.annotations().get(VERSION).cloned().unwrap_or_default();
        if own != *version {
            others.entry(pod.namespace().unwrap_or_default()).or_default().push(pod);
        }
    }
    if others.is_empty() {
        return report.ok(SECTION, format!("all {} injected pods are of version {version}", found.len()));
    }
    for (namespace, pods) in others {
        let text = format!(
            "namespace `{namespace}`: {} pods have a sidecar of another version: {}",
            pods.len(),
            names(&pods)
        );
        let hint =
            format!("they go on working; for the new one: kubectl -n {namespace} rollout restart deployment");
        report.warn(SECTION, text, hint);
    }
}
