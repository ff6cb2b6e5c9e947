//! Which pods and which Connections a policy concerns.

use std::collections::BTreeMap;

use api::{
    ConnectionSpec,
    v1alpha1::{ConnectionRefs, LabelSelector, Subject},
};

use crate::Pod;

/// `namespace` and `name` of a key.
pub(crate) fn split(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

pub(crate) fn matches_labels(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a pod is a subject of a policy of `namespace`.
pub(crate) fn is_subject(subject: &Subject, namespace: &str, pod: &Pod) -> bool {
    let Subject { service_accounts, namespaces, pod_selector } = subject;
    let named = service_accounts.iter().any(|name| name == "*" || *name == pod.service_account);
    let here = match namespaces {
        None => pod.namespace == namespace,
        Some(names) => names.contains(&pod.namespace),
    };
    named && here && pod_selector.as_ref().is_none_or(|selector| matches_labels(selector, &pod.labels))
}

/// Whether a policy's references mean this Connection of the same namespace.
pub(crate) fn refers(refs: &ConnectionRefs, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let by_name = refs.names.as_ref().is_some_and(|names| names.iter().any(|found| found == name));
    by_name || refs.selector.as_ref().is_some_and(|selector| matches_labels(selector, labels))
}

/// Whether pods of this namespace may use a Connection of `owner`, if a policy says so.
pub(crate) fn may_use(connection: &ConnectionSpec, owner: &str, namespace: &str) -> bool {
    let allowed = connection.allowed_namespaces.as_ref();
    owner == namespace || allowed.is_some_and(|allowed| allowed.names.iter().any(|name| name == namespace))
}
