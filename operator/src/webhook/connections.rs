//! The Connections that a pod names: there, for pods of its namespace, and turned into its environment.

use std::collections::BTreeMap;

use api::{ConnectionSpec, ConnectionStatus, Lenient};
use k8s_openapi::api::core::v1::Pod;

use super::settings::{CONNECTIONS, Refusal, Variable};

/// The longest name in Kubernetes.
const NAME_LIMIT: usize = 253;

/// A Connection as read from the API server.
pub(crate) type Found = Lenient<ConnectionSpec, ConnectionStatus>;

/// The identities (`namespace/name`) in the pod's annotation, in its order; `None` without one.
pub(super) fn named(pod: &Pod, namespace: &str) -> Result<Option<Vec<String>>, Refusal> {
    let annotation = pod.metadata.annotations.as_ref().and_then(|map| map.get(CONNECTIONS));
    let named = annotation.map(|annotation| compile::requested(annotation, namespace)).transpose();
    let named = named.map_err(|error| Refusal::field(&error))?;
    match named.iter().flatten().find(|key| !key.split('/').all(is_name)) {
        Some(key) => Err(Refusal::new(
            format!(
                "the annotation `{CONNECTIONS}` names `{key}`, which nothing in Kubernetes can be called"
            ),
            "write names of Connections, such as `orders-db, data/stripe`",
        )),
        None => Ok(named),
    }
}

/// Whether it can be part of an address of the API server.
fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= NAME_LIMIT
        && bytes.iter().all(|c| allowed(*c))
        && edge(bytes.first())
        && edge(bytes.last())
}

/// Checks that a Connection is there for pods of this namespace.
pub(super) fn usable(key: &str, found: Option<Found>, namespace: &str) -> Result<ConnectionSpec, Refusal> {
    let found = found.ok_or_else(|| {
        Refusal::new(
            format!("the annotation `{CONNECTIONS}` names `{key}`, and there is no such Connection"),
            "create it first, or correct the name; one of another namespace is written `namespace/name`",
        )
    })?;
    let spec = found.spec.map_err(|error| {
        Refusal::new(format!("the Connection `{key}` cannot be read: {error}"), "correct it first")
    })?;
    let own = key.split_once('/').is_some_and(|(owner, _)| owner == namespace);
    let mut allowed = spec.allowed_namespaces.iter().flat_map(|allowed| &allowed.names);
    match own || allowed.any(|allowed| allowed == namespace) {
        true => Ok(spec),
        false => Err(Refusal::new(
            format!("the Connection `{key}` is not for pods of the namespace `{namespace}`"),
            format!("have its owner add `{namespace}` to its `spec.allowedNamespaces.names`"),
        )),
    }
}

/// The variables for the agent's containers.
pub(super) fn environment(
    connections: &[(String, ConnectionSpec)],
    pod: &Pod,
    namespace: &str,
) -> Result<Vec<Variable>, Refusal> {
    let connections: Vec<_> = connections.iter().map(|(key, spec)| (key.as_str(), spec)).collect();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let pod = compile::Pod {
        namespace: namespace.to_owned(),
        service_account: account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned()),
        labels: BTreeMap::new(),
        connections: Some(connections.iter().map(|(key, _)| (*key).to_owned()).collect()),
    };
    let variables = compile::environment(&connections, &pod).map_err(|error| Refusal::field(&error))?;
    Ok(variables.into_iter().map(|(name, value)| Variable { name, value }).collect())
}
