//! Connections and AccessPolicies as their author wrote them.

use std::net::IpAddr;

use api::{
    AccessPolicySpec, ConnectionSpec, FieldError, decode_spec,
    v1alpha1::{Protocol, Rule, RuleVerdict},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::webhook::settings::{Ports, Refusal};

/// Reads a Connection strictly and checks that it makes sense.
pub fn connection(object: &Value) -> Result<ConnectionSpec, Refusal> {
    let spec: ConnectionSpec = decode(object)?;
    no_errors(&compile::validate::connection(&spec))?;
    Ok(spec)
}

/// Reads an AccessPolicy strictly and checks that it makes sense.
pub fn policy(object: &Value) -> Result<AccessPolicySpec, Refusal> {
    let spec: AccessPolicySpec = decode(object)?;
    no_errors(&compile::validate::policy(&spec))?;
    Ok(spec)
}

/// Whether an update leaves the spec as it is: then what was admitted once stays admitted.
pub fn is_unchanged(old: Option<&Value>, new: &Value) -> bool {
    old.is_some_and(|old| spec(old) == spec(new))
}

/// The Secrets that the author must be able to read: all that the Connection names, when it is new or
/// when it is to send them elsewhere.
pub fn secrets_to_read<'s>(old: Option<&Value>, new: &Value, connection: &'s ConnectionSpec) -> Vec<&'s str> {
    let same = |field: &str| old.is_some_and(|old| spec(old).get(field) == spec(new).get(field));
    if same("upstream") && same("credential") {
        return Vec::new();
    }
    let bundle = connection.upstream.tls.as_ref().and_then(|tls| tls.ca_bundle.as_ref()?.secret_ref.as_ref());
    let credential = connection.credential.secret_ref.as_ref().map(|secret| secret.name.as_str());
    credential.into_iter().chain(bundle.map(|bundle| bundle.name.as_str())).collect()
}

/// Whether a Connection can be of use to pods: what is near to a sidecar is the pod itself and its node, with the
/// cloud's metadata service, and nobody's upstream.
///
/// # Errors
/// When it leads there, or takes a port of the sidecar's own.
pub fn in_pods(connection: &ConnectionSpec, ports: &Ports) -> Result<(), Refusal> {
    let mut errors = Vec::new();
    let host = connection.upstream.host.trim_end_matches('.').to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_near) {
        errors.push(FieldError::new(
            "spec.upstream.host",
            "leads to the pod itself or its node; name what is elsewhere",
        ));
    }
    let port = connection.agent.as_ref().and_then(|agent| agent.port);
    if let Some(port) = port.filter(|port| ports.named().iter().any(|(_, ours)| ours == port)) {
        errors
            .push(FieldError::new("spec.agent.port", format!("{port} is the sidecar's own; choose another")));
    }
    no_errors(&errors)
}

/// Loopback, link-local (metadata services), multicast, nothing at all, and the virtual addresses of Connections.
fn is_near(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let local = match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_link_local() || v4.is_broadcast() || (a == 198 && b & 0xFE == 18)
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    local || address.is_loopback() || address.is_unspecified() || address.is_multicast()
}

/// What the author of a Connection should know.
#[must_use]
pub fn warnings(connection: &ConnectionSpec) -> Vec<String> {
    let opaque = connection.protocol == Protocol::Opaque;
    let text = "protocol Opaque: bytes pass without being looked at, no statement is decided or recorded; \
                every rule with `opaque: {}` on it opens it entirely";
    opaque.then(|| text.to_owned()).into_iter().collect()
}

/// What the author of an AccessPolicy should know.
#[must_use]
pub fn policy_warnings(policy: &AccessPolicySpec) -> Vec<String> {
    let opens = |rule: &&Rule| rule.opaque.is_some() && rule.verdict == RuleVerdict::Allow;
    let warning = |rule: &Rule| {
        format!(
            "rule `{}` lets bytes pass to Connections of protocol Opaque without being looked at",
            rule.name
        )
    };
    policy.rules.iter().filter(opens).map(warning).collect()
}

/// The author may not read a Secret that the Connection names.
pub fn unreadable_secret(user: &str, namespace: &str, name: &str) -> Refusal {
    Refusal::new(
        format!("`{user}` may not read the secret `{namespace}/{name}`, so may not send it to an upstream"),
        "have somebody who may `get` it create the Connection, or be granted that right",
    )
}

fn decode<S: DeserializeOwned>(object: &Value) -> Result<S, Refusal> {
    let spec = spec(object);
    if spec.is_null() {
        return Err(Refusal::new("spec: is missing", "write one"));
    }
    decode_spec(spec).map_err(|error| Refusal::field(&error))
}

fn no_errors(errors: &[FieldError]) -> Result<(), Refusal> {
    match errors {
        [] => Ok(()),
        errors => Err(Refusal::fields(errors)),
    }
}

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}
