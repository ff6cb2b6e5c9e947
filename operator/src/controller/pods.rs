//! A pod as the controllers see it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use crate::{
    distribute::{PodFacts, PodIdentity},
    webhook::settings::{ADMITTED_LABELS, CONNECTIONS},
};

/// What matters of a pod; none when it has ended.
pub(super) fn facts(pod: &Pod) -> Option<PodFacts> {
    let (metadata, status) = (&pod.metadata, pod.status.as_ref());
    let phase = status.and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name).cloned());
    let service_account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let identity = PodIdentity {
        namespace: metadata.namespace.clone()?,
        name: metadata.name.clone()?,
        uid: metadata.uid.clone()?,
        service_account: service_account.unwrap_or_else(|| "default".to_owned()),
    };
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    Some(PodFacts {
        identity,
        ip: status.and_then(|status| status.pod_ip.clone()),
        labels: annotation(ADMITTED_LABELS).map(|json| labels(&json)).unwrap_or_default(),
        wanted: annotation(CONNECTIONS),
        ready,
    })
}

/// The labels at admission. The webhook wrote them; what is no such object selects nothing.
fn labels(json: &str) -> BTreeMap<String, String> {
    serde_json::from_str(json).unwrap_or_default()
}

/// The pod as policies see it.
pub(super) fn as_compiled(facts: &PodFacts) -> compile::Pod {
    let namespace = facts.identity.namespace.clone();
    let wanted = facts.wanted.as_ref();
    compile::Pod {
        // An annotation that cannot be read asks for nothing.
        connections: wanted.map(|wanted| compile::requested(wanted, &namespace).unwrap_or_default()),
        namespace,
        service_account: facts.identity.service_account.clone(),
        labels: facts.labels.clone(),
    }
}
