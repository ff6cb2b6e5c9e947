//! Connections and AccessPolicies that are not Ready, with the reason and what lifts it.

use api::{
    AccessPolicySpec, AccessPolicyStatus, ConnectionSpec, ConnectionStatus, Lenient,
    condition::READY,
    v1alpha1::{CaBundle, KeyRef},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, ResourceExt, api::ListParams};

use super::report::Report;
use crate::cluster::Cluster;

const SECTION: &str = "resources";

/// One resource with its status.
struct Judged<'a> {
    kind: &'static str,
    key: String,
    generation: Option<i64>,
    observed: Option<i64>,
    conditions: &'a [Condition],
}

pub(super) async fn connections(cluster: &Cluster, report: &mut Report) {
    let api: Api<Lenient<ConnectionSpec, ConnectionStatus>> = Api::all(cluster.client.clone());
    let found = match api.list(&ListParams::default()).await {
        Ok(found) => found.items,
        Err(error) => return report.unread(SECTION, "the Connections", &error),
    };
    let mut ready = 0;
    for connection in &found {
        let status = connection.status.clone().unwrap_or_default();
        let judged = Judged {
            kind: "Connection",
            key: connection.key(),
            generation: connection.metadata.generation,
            observed: status.observed_generation,
            conditions: &status.conditions,
        };
        let grant = |reason: &str| grants(connection, reason);
        ready += usize::from(judge(&judged, &grant, report));
    }
    if ready == found.len() {
        report.ok(SECTION, format!("all Connections are Ready: {ready}"));
    }
}

pub(super) async fn policies(cluster: &Cluster, report: &mut Report) {
    let api: Api<Lenient<AccessPolicySpec, AccessPolicyStatus>> = Api::all(cluster.client.clone());
    let found = match api.list(&ListParams::default()).await {
        Ok(found) => found.items,
        Err(error) => return report.unread(SECTION, "the AccessPolicies", &error),
    };
    let mut ready = 0;
    for policy in &found {
        let status = policy.status.clone().unwrap_or_default();
        let judged = Judged {
            kind: "AccessPolicy",
            key: policy.key(),
            generation: policy.metadata.generation,
            observed: status.observed_generation,
            conditions: &status.conditions,
        };
        ready += usize::from(judge(&judged, &|_| None, report));
    }
    if ready == found.len() {
        report.ok(SECTION, format!("all AccessPolicies are Ready: {ready}"));
    }
}

/// Whether it is Ready; if not, says why. `grant` gives the command that a missing right takes.
fn judge(judged: &Judged<'_>, grant: &dyn Fn(&str) -> Option<String>, report: &mut Report) -> bool {
    let Judged { kind, key, generation, observed, conditions } = judged;
    let (namespace, name) = key.split_once('/').unwrap_or_default();
    let see = format!("see its conditions: kubectl -n {namespace} describe {} {name}", kind.to_lowercase());
    let ready = conditions.iter().find(|condition| condition.type_ == READY);
    let Some(ready) = ready.filter(|_| observed == generation) else {
        let text = format!("{kind} `{key}`: the operator has not looked at it yet");
        report.warn(SECTION, text, "wait a moment; if it stays so, see the leader above");
        return false;
    };
    if ready.status == "True" {
        return true;
    }
    let text = format!("{kind} `{key}` is not Ready: {}: {}", ready.reason, ready.message);
    match ready.reason.as_str() {
        // Time lifts these, or the pods themselves.
        "Pending" | "PodsPending" | "PodsStale" => report.warn(SECTION, text, see),
        reason => report.fail(SECTION, text, grant(reason).unwrap_or(see)),
    }
    false
}

/// The command that gives the operator the right that it misses.
fn grants(connection: &Lenient<ConnectionSpec, ConnectionStatus>, reason: &str) -> Option<String> {
    let spec = connection.spec.as_ref().ok()?;
    let namespace = connection.namespace().unwrap_or_default();
    let command = |name: &str, kind: &str| {
        format!("let the operator read it: kubectl chaperone grant {name} -n {namespace}{kind} --apply")
    };
    let bundle = || spec.upstream.tls.as_ref()?.ca_bundle.as_ref();
    match reason {
        "SecretForbidden" => Some(command(&spec.credential.secret_ref.as_ref()?.name, "")),
        "CaBundleForbidden" => match bundle()? {
            CaBundle { config_map_ref: Some(KeyRef { name, .. }), .. } => {
                Some(command(name, " --kind config-map"))
            }
            CaBundle { secret_ref, .. } => Some(command(&secret_ref.as_ref()?.name, "")),
        },
        _ => None,
    }
}
