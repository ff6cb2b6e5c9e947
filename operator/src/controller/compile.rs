//! From the picture to documents and credentials. No client.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use api::{ConnectionSpec, condition::Say};
use compile::{ConnectionInput, Inputs, PolicyInput};
use policy::{DecodeError, DnsMode};

use super::{Operator, fetch, fetch::World, pods};
use crate::{
    addresses::Addresses,
    distribute::Class,
    leases::Lease,
    references::{Kind, Known, Reference, References},
};

/// A Connection with everything that it refers to.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) address: Option<Ipv4Addr>,
    pub(super) ca_bundle: Option<String>,
    pub(super) lease: Lease,
    /// What the condition ResolvedRefs says.
    pub(super) references: Say,
}

/// Looks up what every Connection refers to, by `namespace/name`.
pub(super) fn resolve(
    world: &World,
    references: &References,
    addresses: &Addresses,
    operator: &Operator,
) -> BTreeMap<String, Resolved> {
    let resolved = world.connections.iter().map(|connection| {
        let resolved = match &connection.spec {
            Ok(spec) => resolve_one(connection, spec, references, addresses, operator),
            Err(error) => Resolved {
                address: None,
                ca_bundle: None,
                lease: Lease::Unavailable(error.to_string()),
                references: Say::no(api::condition::RESOLVED_REFS, "Invalid", "the spec cannot be read"),
            },
        };
        (connection.key(), resolved)
    });
    resolved.collect()
}

fn resolve_one(
    connection: &fetch::Connection,
    spec: &ConnectionSpec,
    references: &References,
    addresses: &Addresses,
    operator: &Operator,
) -> Resolved {
    let host = spec.upstream.host.trim_end_matches('.').to_ascii_lowercase();
    let secret = fetch::secret(connection, spec);
    let credential = credential(&secret, spec, &references.known(&secret), operator);
    let bundle = fetch::ca_bundle(connection, spec)
        .map(|(reference, key)| ca_bundle(&reference, &key, &references.known(&reference), operator));
    let (ca_bundle, bundle_problem) = match bundle {
        None => (None, None),
        Some(Ok(pem)) => (Some(pem), None),
        Some(Err(say)) => (None, Some(say)),
    };
    let (lease, credential_problem) = match credential {
        Ok(lease) => (lease, None),
        Err(say) => (Lease::Unavailable(say.message.clone()), Some(say)),
    };
    let (lease, references) = match credential_problem.or(bundle_problem) {
        // Without its roots an upstream cannot be verified, so nobody logs in.
        Some(say) => (Lease::Unavailable(say.message.clone()), say),
        None => (lease, Say::yes(api::condition::RESOLVED_REFS, "Resolved", "everything it names was found")),
    };
    Resolved { address: addresses.of(&host), ca_bundle, lease, references }
}

fn no(reason: &'static str, message: String) -> Say {
    Say::no(api::condition::RESOLVED_REFS, reason, message)
}

/// The Role that must be applied, in one line.
fn grant(reference: &Reference, operator: &Operator) -> String {
    let Reference { kind, namespace, name } = reference;
    let flag = match kind {
        Kind::Secret => "",
        Kind::ConfigMap => " --kind config-map",
    };
    format!(
        "the operator may not read {} `{name}` in namespace `{namespace}`; apply the Role that \
         `kubectl chaperone grant {name} -n {namespace}{flag}` prints (verbs get, list, watch on resourceNames \
         [\"{name}\"], bound to service account `chaperone-operator` of namespace `{}`)",
        kind.resource(),
        operator.namespace
    )
}

fn credential(
    reference: &Reference,
    spec: &ConnectionSpec,
    known: &Known,
    operator: &Operator,
) -> Result<Lease, Say> {
    let name = &reference.name;
    let data = match known {
        Known::Pending => return Err(no("Pending", format!("Secret `{name}` has not been read yet"))),
        Known::Missing => {
            let message = format!("there is no Secret `{name}` in namespace `{}`", reference.namespace);
            return Err(no("SecretNotFound", message));
        }
        Known::Forbidden => return Err(no("SecretForbidden", grant(reference, operator))),
        Known::Present(data) => data,
    };
    let keys = &spec.credential.secret_ref;
    let value = |key: &String| {
        data.get(key).ok_or_else(|| no("SecretKeyMissing", format!("Secret `{name}` has no key `{key}`")))
    };
    let (username, password) = (value(&keys.username_key)?, value(&keys.password_key)?);
    let version = compile::digest(&[username.as_slice(), b"\0", password].concat());
    let username = String::from_utf8(username.to_vec()).map_err(|_| {
        no("SecretKeyMissing", format!("key `{}` of Secret `{name}` is no text", keys.username_key))
    })?;
    Ok(Lease::Credential { version: hex::encode(version), username, password: password.clone() })
}

fn ca_bundle(reference: &Reference, key: &str, known: &Known, operator: &Operator) -> Result<String, Say> {
    let name = &reference.name;
    let kind = match reference.kind {
        Kind::Secret => "Secret",
        Kind::ConfigMap => "ConfigMap",
    };
    let data = match known {
        Known::Pending => return Err(no("Pending", format!("{kind} `{name}` has not been read yet"))),
        Known::Missing => return Err(no("CaBundleNotFound", format!("there is no {kind} `{name}`"))),
        Known::Forbidden => return Err(no("CaBundleForbidden", grant(reference, operator))),
        Known::Present(data) => data,
    };
    let pem =
        data.get(key).ok_or_else(|| no("CaBundleNotFound", format!("{kind} `{name}` has no key `{key}`")))?;
    let text =
        String::from_utf8(pem.to_vec()).ok().filter(|text| text.contains("-----BEGIN CERTIFICATE-----"));
    text.ok_or_else(|| {
        no("CaBundleInvalid", format!("key `{key}` of {kind} `{name}` holds no PEM certificate"))
    })
}

/// The class of every pod, by its UID. Pods that policies cannot tell apart share one.
pub(super) fn classes(
    world: &World,
    resolved: &BTreeMap<String, Resolved>,
    dns: DnsMode,
    stale_after: Duration,
) -> Result<HashMap<String, Arc<Class>>, DecodeError> {
    let keys: Vec<String> = world.connections.iter().map(|connection| connection.key()).collect();
    let labels: Vec<BTreeMap<String, String>> =
        world.connections.iter().map(|c| c.metadata.labels.clone().unwrap_or_default()).collect();
    let connections: Vec<ConnectionInput<'_>> =
        std::iter::zip(&world.connections, std::iter::zip(&keys, &labels))
            .map(|(connection, (key, labels))| {
                let resolved = resolved.get(key);
                ConnectionInput {
                    key,
                    spec: connection.spec.as_ref(),
                    labels,
                    address: resolved.and_then(|resolved| resolved.address),
                    ca_bundle: resolved.and_then(|resolved| resolved.ca_bundle.as_deref()),
                    problem: None,
                }
            })
            .collect();
    let policy_keys: Vec<String> = world.policies.iter().map(|policy| policy.key()).collect();
    let policies: Vec<PolicyInput<'_>> = std::iter::zip(&world.policies, &policy_keys)
        .map(|(policy, key)| PolicyInput {
            key,
            generation: policy.metadata.generation.unwrap_or_default(),
            spec: policy.spec.as_ref(),
            raw: &policy.raw,
        })
        .collect();
    let stale_after_seconds = stale_after.as_secs();
    let inputs = Inputs { connections: &connections, policies: &policies, dns, stale_after_seconds };
    let mut by_pod: BTreeMap<compile::Pod, Arc<Class>> = BTreeMap::new();
    let mut found = HashMap::new();
    for facts in &world.pods {
        let pod = pods::as_compiled(facts);
        let class = match by_pod.get(&pod) {
            Some(class) => Arc::clone(class),
            None => Arc::new(class(&inputs, &pod)?),
        };
        by_pod.insert(pod, Arc::clone(&class));
        found.insert(facts.identity.uid.clone(), class);
    }
    Ok(found)
}

fn class(inputs: &Inputs<'_>, pod: &compile::Pod) -> Result<Class, DecodeError> {
    let document = compile::document(inputs, pod);
    let connections = document.connections.iter().map(|connection| connection.name.clone()).collect();
    let policies = document.connections.iter().flat_map(|c| &c.policies).map(|policy| policy.name.clone());
    let policies = policies.collect();
    Ok(Class::new(document.encode()?, connections, policies))
}
