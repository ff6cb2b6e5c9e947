//! Everything that one pod may see, as one document.

use std::{collections::BTreeMap, net::Ipv4Addr};

use api::{
    AccessPolicySpec, ConnectionSpec, FieldError,
    v1alpha1::{self as v1},
};
use aws_lc_rs::digest::{SHA256, digest as sha256};
use policy::{
    ConnectionDocument, DnsMode, Document, FORMAT, PostgresDocument, TlsDocument, TlsMode, Upstream,
    UpstreamProtocol,
};
use serde_json::Value;

use crate::{
    Pod, conflict,
    governing::Policy,
    select::{may_use, split},
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
    let compiled = Compiled::new(inputs);
    compiled.document(&compiled.class(pod))
}

/// The SHA-256 that addresses encoded documents.
#[must_use]
pub fn digest(document: &[u8]) -> [u8; 32] {
    sha256(&SHA256, document).as_ref().try_into().unwrap_or_default()
}

/// What a pod's document depends on: which Connections it may see, and which policies govern it on each. Not
/// its labels: a thousand pods that policies cannot tell apart are one class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// Whether the pods name their Connections.
    named: bool,
    /// Connections and the policies on them, by their places in [`Compiled`].
    connections: Vec<(usize, Vec<usize>)>,
}

/// Resources, each compiled once for all pods.
#[derive(Debug)]
pub struct Compiled<'a> {
    connections: Vec<Connection<'a>>,
    policies: Vec<Policy<'a>>,
    by_key: BTreeMap<&'a str, usize>,
    by_namespace: BTreeMap<&'a str, Vec<usize>>,
    dns: DnsMode,
    stale_after_seconds: u64,
}

/// A Connection that makes sense.
#[derive(Debug)]
struct Connection<'a> {
    key: &'a str,
    owner: &'a str,
    spec: &'a ConnectionSpec,
    /// As it is for everybody, without policies.
    document: ConnectionDocument,
    /// The policies that are about it, by their places.
    policies: Vec<usize>,
}

impl<'a> Compiled<'a> {
    /// Compiles everything.
    #[must_use]
    pub fn new(inputs: &Inputs<'a>) -> Self {
        let mut policies: Vec<Policy<'a>> = inputs.policies.iter().map(Policy::new).collect();
        policies.sort_by_key(|policy| policy.key);
        let mut connections: Vec<Connection<'a>> =
            inputs.connections.iter().filter_map(|input| Connection::new(input, &policies)).collect();
        connections.sort_by_key(|connection| connection.key);
        let by_key =
            connections.iter().enumerate().map(|(index, connection)| (connection.key, index)).collect();
        let mut by_namespace: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, connection) in connections.iter().enumerate() {
            by_namespace.entry(connection.owner).or_default().push(index);
        }
        let Inputs { connections: _, policies: _, dns, stale_after_seconds } = *inputs;
        Self { connections, policies, by_key, by_namespace, dns, stale_after_seconds }
    }

    /// A pod's class.
    #[must_use]
    pub fn class(&self, pod: &Pod) -> Class {
        let mut wanted: Vec<usize> = match &pod.connections {
            Some(keys) => keys.iter().filter_map(|key| self.by_key.get(key.as_str())).copied().collect(),
            None => self.by_namespace.get(pod.namespace.as_str()).cloned().unwrap_or_default(),
        };
        wanted.sort_unstable();
        wanted.dedup();
        let connections = wanted.into_iter().filter_map(|index| {
            let connection = self.connections.get(index)?;
            may_use(connection.spec, connection.owner, &pod.namespace)
                .then(|| (index, self.governing(connection, pod)))
        });
        Class { named: pod.connections.is_some(), connections: connections.collect() }
    }

    /// The policies that govern a pod on a Connection.
    fn governing(&self, connection: &Connection<'a>, pod: &Pod) -> Vec<usize> {
        let concerns = |index: &&usize| self.policies.get(**index).is_some_and(|policy| policy.concerns(pod));
        connection.policies.iter().filter(concerns).copied().collect()
    }

    /// A class's document.
    #[must_use]
    pub fn document(&self, class: &Class) -> Document {
        let chosen = class.connections.iter().filter_map(|(index, policies)| {
            let connection = self.connections.get(*index)?;
            let protocol = connection.document.protocol;
            let policies = policies.iter().filter_map(|index| self.policies.get(*index));
            let policies = policies.map(|policy| policy.document(protocol)).collect();
            Some(ConnectionDocument { policies, ..connection.document.clone() })
        });
        let mut connections: Vec<ConnectionDocument> = chosen.collect();
        let problems = conflict::find(&connections.iter().collect::<Vec<_>>(), class.named);
        for (connection, problem) in connections.iter_mut().zip(problems) {
            connection.problem = connection.problem.take().or(problem);
        }
        let speaks = |protocol| connections.iter().any(|connection| connection.protocol == protocol);
        let features = [(UpstreamProtocol::Postgres, "postgres"), (UpstreamProtocol::Opaque, "opaque")];
        let features = features.into_iter().filter(|(protocol, _)| speaks(*protocol));
        Document {
            format: FORMAT,
            features: features.map(|(_, name)| name.to_owned()).collect(),
            stale_after_seconds: self.stale_after_seconds,
            dns: self.dns,
            connections,
        }
    }

    /// The Connections that pods of their own namespace cannot tell apart, unless they name one, and why.
    #[must_use]
    pub fn conflicts(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for indices in self.by_namespace.values() {
            let here: Vec<&ConnectionDocument> = indices
                .iter()
                .filter_map(|index| self.connections.get(*index))
                .map(|connection| &connection.document)
                .collect();
            let problems = conflict::find(&here, false);
            let conflicts =
                here.iter().zip(problems).filter_map(|(c, problem)| Some((c.name.clone(), problem?)));
            found.extend(conflicts);
        }
        found
    }
}

impl<'a> Connection<'a> {
    /// None when it makes no sense: it has neither a host to be found by nor a policy to be governed by.
    fn new(input: &ConnectionInput<'a>, policies: &[Policy<'a>]) -> Option<Self> {
        let spec = input.spec.ok().filter(|spec| validate::connection(spec).is_empty())?;
        let (owner, name) = split(input.key);
        let refers = |policy: &Policy<'_>| policy.is_about(owner, name, input.labels);
        let policies = policies.iter().enumerate().filter(|(_, policy)| refers(policy));
        Some(Self {
            key: input.key,
            owner,
            spec,
            document: connection_document(input, spec),
            policies: policies.map(|(index, _)| index).collect(),
        })
    }
}

fn connection_document(input: &ConnectionInput<'_>, spec: &ConnectionSpec) -> ConnectionDocument {
    let ConnectionSpec { protocol, upstream, postgres, credential: _, agent, allowed_namespaces: _ } = spec;
    let tls = upstream.tls.clone().unwrap_or_default();
    let (protocol, mode) = match protocol {
        v1::Protocol::Postgres => (UpstreamProtocol::Postgres, tls_mode(tls.mode)),
        // The agent speaks TLS itself, if at all.
        v1::Protocol::Opaque => (UpstreamProtocol::Opaque, TlsMode::Disable),
    };
    ConnectionDocument {
        name: input.key.to_owned(),
        protocol,
        upstream: Upstream {
            host: upstream.host.trim_end_matches('.').to_owned(),
            port: upstream.port,
            tls: TlsDocument { mode, ca_bundle: input.ca_bundle.map(str::to_owned) },
        },
        address: input.address,
        agent_port: agent.as_ref().and_then(|agent| agent.port),
        postgres: postgres.as_ref().map(|postgres| PostgresDocument {
            database: postgres.database.clone(),
            extra_databases: postgres.extra_databases.clone(),
        }),
        problem: input.problem.map(str::to_owned),
        policies: Vec::new(),
    }
}

const fn tls_mode(mode: v1::TlsMode) -> TlsMode {
    match mode {
        v1::TlsMode::Disable => TlsMode::Disable,
        v1::TlsMode::Require => TlsMode::Require,
        v1::TlsMode::VerifyCa => TlsMode::VerifyCa,
        v1::TlsMode::VerifyFull => TlsMode::VerifyFull,
    }
}
