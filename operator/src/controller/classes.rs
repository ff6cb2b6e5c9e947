//! From the picture to documents. No client.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use compile::{Compiled, ConnectionInput, Inputs, PolicyInput};
use policy::{DecodeError, DnsMode, Document};

use super::{fetch::World, pods, resolve::Resolved};
use crate::distribute::Class;

/// What a pass makes of the picture.
#[derive(Debug)]
pub(super) struct Classes {
    /// The class of every pod, by its UID. Pods that policies cannot tell apart share one.
    pub(super) by_pod: HashMap<String, Arc<Class>>,
    /// How many classes there are.
    pub(super) count: usize,
    /// Connections that pods of their namespace cannot tell apart, and why.
    pub(super) conflicts: BTreeMap<String, String>,
}

/// What documents are made with, besides resources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) dns: DnsMode,
    pub(super) stale_after: Duration,
}

/// Compiles everything once, and each class once.
pub(super) fn compile(
    world: &World,
    resolved: &BTreeMap<String, Resolved>,
    terms: Terms,
) -> Result<Classes, DecodeError> {
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
    let inputs = Inputs {
        connections: &connections,
        policies: &policies,
        dns: terms.dns,
        stale_after_seconds: terms.stale_after.as_secs(),
    };
    let compiled = Compiled::new(&inputs);
    let mut known: BTreeMap<compile::Class, Arc<Class>> = BTreeMap::new();
    let mut by_pod = HashMap::new();
    for facts in &world.pods {
        let class = compiled.class(&pods::as_compiled(facts));
        let made = match known.get(&class) {
            Some(made) => Arc::clone(made),
            None => Arc::new(encoded(&compiled.document(&class))?),
        };
        known.insert(class, Arc::clone(&made));
        by_pod.insert(facts.identity.uid.clone(), made);
    }
    Ok(Classes { by_pod, count: known.len(), conflicts: compiled.conflicts() })
}

fn encoded(document: &Document) -> Result<Class, DecodeError> {
    let connections = document.connections.iter();
    let leased = connections.clone().filter(|connection| connection.has_credential() && connection.is_open());
    let policies = connections.clone().flat_map(|c| &c.policies).map(|policy| policy.name.clone());
    Ok(Class::new(
        document.encode()?,
        connections.clone().map(|connection| connection.name.clone()).collect(),
        leased.map(|connection| connection.name.clone()).collect(),
        policies.collect(),
    ))
}
