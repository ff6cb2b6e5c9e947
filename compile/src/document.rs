//! Everything that one pod may see, as one document.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use api::{
    AccessPolicySpec, ConnectionSpec, FieldError,
    v1alpha1::{self as v1, ConnectionRefs},
};
use aws_lc_rs::digest::{SHA256, digest as sha256};
use policy::{
    Baseline, ConnectionDocument, DnsMode, Document, Durability, FORMAT, PolicyDocument, PostgresDocument,
    Recording, StatementRecording, TlsDocument, TlsMode, Upstream, UpstreamProtocol,
};
use serde_json::Value;

use crate::{
    Pod, rules,
    select::{concerns, may_use, refers, split},
    validate,
};

/// One Connection, with what the operator knows about it.
#[derive(Clone, Debug)]
pub struct ConnectionInput<'a> {
    /// `namespace/name`.
    pub key: &'a str,
    /// The spec, or why it cannot be read.
    pub spec: Result<&'a ConnectionSpec, &'a FieldError>,
    /// The labels, for policies that select by them.
    pub labels: &'a BTreeMap<String, String>,
    /// The virtual address.
    pub address: Option<Ipv4Addr>,
    /// The CA bundle that the spec names, PEM.
    pub ca_bundle: Option<&'a str>,
    /// Why it cannot be used, if so.
    pub problem: Option<&'a str>,
}

/// One AccessPolicy.
#[derive(Clone, Debug)]
pub struct PolicyInput<'a> {
    /// `namespace/name`.
    pub key: &'a str,
    /// `metadata.generation`.
    pub generation: i64,
    /// The spec, or why it cannot be read.
    pub spec: Result<&'a AccessPolicySpec, &'a FieldError>,
    /// What was read of the spec.
    pub raw: &'a Value,
}

/// Everything that documents are made from.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// All Connections.
    pub connections: &'a [ConnectionInput<'a>],
    /// All AccessPolicies.
    pub policies: &'a [PolicyInput<'a>],
    /// Which names outside Connections resolve.
    pub dns: DnsMode,
    /// Seconds of silence until a sidecar refuses.
    pub stale_after_seconds: u64,
}

/// The document of one pod. Pods that policies cannot tell apart get equal documents.
#[must_use]
pub fn document(inputs: &Inputs<'_>, pod: &Pod) -> Document {
    let mut connections: Vec<ConnectionDocument> =
        inputs.connections.iter().filter_map(|input| connection(inputs, input, pod)).collect();
    connections.sort_by(|one, two| one.name.cmp(&two.name));
    mark_conflicts(&mut connections, pod);
    Document {
        format: FORMAT,
        features: vec!["postgres".to_owned()],
        stale_after_seconds: inputs.stale_after_seconds,
        dns: inputs.dns,
        connections,
    }
}

/// The SHA-256 that addresses encoded documents.
#[must_use]
pub fn digest(document: &[u8]) -> [u8; 32] {
    sha256(&SHA256, document).as_ref().try_into().unwrap_or_default()
}

/// One Connection for one pod; none when the pod may not see it.
fn connection(inputs: &Inputs<'_>, input: &ConnectionInput<'_>, pod: &Pod) -> Option<ConnectionDocument> {
    let (owner, name) = split(input.key);
    let wanted = match &pod.connections {
        Some(keys) => keys.iter().any(|key| key == input.key),
        None => owner == pod.namespace,
    };
    // An unreadable Connection has neither a host to be found by nor a policy to be governed by.
    let spec = input.spec.ok().filter(|spec| validate::connection(spec).is_empty())?;
    if !wanted || !may_use(spec, owner, &pod.namespace) {
        return None;
    }
    let policies = inputs.policies.iter().filter_map(|policy| {
        let (namespace, _) = split(policy.key);
        (namespace == owner).then(|| self::policy(policy, name, input.labels, pod)).flatten()
    });
    let mut policies: Vec<PolicyDocument> = policies.collect();
    policies.sort_by(|one, two| one.name.cmp(&two.name));
    let tls = spec.upstream.tls.clone().unwrap_or_default();
    let tls = TlsDocument { mode: tls_mode(tls.mode), ca_bundle: input.ca_bundle.map(str::to_owned) };
    let postgres = spec.postgres.as_ref().map(|postgres| PostgresDocument {
        database: postgres.database.clone(),
        extra_databases: postgres.extra_databases.clone(),
    });
    let protocol = match spec.protocol {
        v1::Protocol::Postgres => UpstreamProtocol::Postgres,
    };
    let host = spec.upstream.host.trim_end_matches('.').to_owned();
    Some(ConnectionDocument {
        name: input.key.to_owned(),
        protocol,
        upstream: Upstream { host, port: spec.upstream.port, tls },
        address: input.address,
        agent_port: spec.agent.as_ref().and_then(|agent| agent.port),
        postgres,
        problem: input.problem.map(str::to_owned),
        policies,
    })
}

const fn tls_mode(mode: v1::TlsMode) -> TlsMode {
    match mode {
        v1::TlsMode::Disable => TlsMode::Disable,
        v1::TlsMode::Require => TlsMode::Require,
        v1::TlsMode::VerifyCa => TlsMode::VerifyCa,
        v1::TlsMode::VerifyFull => TlsMode::VerifyFull,
    }
}

/// One policy on one Connection for one pod; none when it does not concern them.
fn policy(
    input: &PolicyInput<'_>,
    connection: &str,
    labels: &BTreeMap<String, String>,
    pod: &Pod,
) -> Option<PolicyDocument> {
    let broken = |reason: String| PolicyDocument {
        name: input.key.to_owned(),
        generation: input.generation,
        baseline: Baseline::None,
        recording: Recording::default(),
        rules: Vec::new(),
        broken: Some(reason),
    };
    let spec = match input.spec {
        Ok(spec) => spec,
        // Whom it concerns cannot be read either: it denies to all.
        Err(error) => {
            return broken_concerns(input.raw, connection, labels).then(|| broken(error.to_string()));
        }
    };
    let errors = validate::policy(spec);
    let (namespace, _) = split(input.key);
    if let Some(first) = errors.first() {
        return broken_concerns(input.raw, connection, labels).then(|| broken(first.to_string()));
    }
    if !refers(&spec.connections, connection, labels) || !concerns(spec, namespace, pod) {
        return None;
    }
    let rules = spec.rules.iter().filter_map(|rule| rules::compile(rule, "spec.rules").ok()).collect();
    let recording = spec.recording.unwrap_or_default();
    Some(PolicyDocument {
        name: input.key.to_owned(),
        generation: input.generation,
        baseline: match spec.baseline {
            v1::Baseline::Standard => Baseline::Standard,
            v1::Baseline::None => Baseline::None,
        },
        recording: Recording {
            statements: match recording.statements {
                v1::StatementRecording::Full => StatementRecording::Full,
                v1::StatementRecording::Fingerprint => StatementRecording::Fingerprint,
            },
            durability: match recording.durability {
                v1::Durability::Process => Durability::Process,
                v1::Durability::Node => Durability::Node,
                v1::Durability::Store => Durability::Store,
            },
        },
        rules,
        broken: None,
    })
}

/// Which Connections an unreadable policy denies on: those that it names, or all when even that is unreadable.
fn broken_concerns(raw: &Value, connection: &str, labels: &BTreeMap<String, String>) -> bool {
    let refs: Option<ConnectionRefs> =
        raw.get("connections").and_then(|refs| serde_json::from_value(refs.clone()).ok());
    refs.filter(|refs| refs.names.is_some() != refs.selector.is_some())
        .is_none_or(|refs| refers(&refs, connection, labels))
}

/// Two Connections that a captured session cannot tell apart are both refused, unless the pod names just one.
/// (When it names both, each needs its own `agent.port`.)
fn mark_conflicts(connections: &mut [ConnectionDocument], pod: &Pod) {
    let mut by_key: BTreeMap<(String, u16, String), Vec<usize>> = BTreeMap::new();
    for (index, connection) in connections.iter().enumerate() {
        let databases =
            connection.postgres.iter().flat_map(|p| p.extra_databases.iter().chain([&p.database]));
        for database in databases.collect::<BTreeSet<_>>() {
            let host = connection.upstream.host.to_ascii_lowercase();
            by_key.entry((host, connection.upstream.port, database.clone())).or_default().push(index);
        }
    }
    let names: Vec<String> = connections.iter().map(|connection| connection.name.clone()).collect();
    for ((host, port, database), indices) in by_key.into_iter().filter(|(_, indices)| indices.len() > 1) {
        for index in &indices {
            let others = indices.iter().filter(|other| *other != index).filter_map(|other| names.get(*other));
            let others: Vec<&str> = others.map(String::as_str).collect();
            let hint = match pod.connections {
                None => "name one of them in the pod's annotation `chaperone.dev/connections`",
                Some(_) => "give each its own `agent.port`, or name only one of them",
            };
            if let Some(connection) = connections.get_mut(*index).filter(|c| c.agent_port.is_none()) {
                let others = others.join("`, `");
                connection.problem.get_or_insert_with(|| {
                    format!("conflicts with `{others}` on {host}:{port} database `{database}`: {hint}")
                });
            }
        }
    }
}
