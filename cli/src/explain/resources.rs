//! Connections, AccessPolicies and the pod: from the cluster, or from files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use api::{
    AccessPolicySpec, AccessPolicyStatus, ConnectionSpec, ConnectionStatus, Lenient, condition::READY,
};
use compile::{
    ConnectionInput, Inputs, Pod, PolicyInput,
    files::{self, Files},
};
use k8s_openapi::api::core::v1;
use kube::{Api, api::ListParams};
use policy::{DnsMode, Document};

use crate::{
    args::{ClusterArguments, ExplainArguments},
    cluster::Cluster,
};

type Connection = Lenient<ConnectionSpec, ConnectionStatus>;
type AccessPolicy = Lenient<AccessPolicySpec, AccessPolicyStatus>;

/// Set on injected pods: the labels that policies match.
const ADMITTED_LABELS: &str = "chaperone.dev/admitted-labels";
/// Set on injected pods.
const INJECTED: &str = "chaperone.dev/injected";
/// Names the Connections that a pod wants.
const CONNECTIONS: &str = "chaperone.dev/connections";
/// The largest file that is read, in bytes: as standalone mode does.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// What decides, and for whom.
pub(super) struct Resources {
    pub(super) pod: Pod,
    /// The pod's own name, if there is a pod.
    pub(super) pod_name: Option<String>,
    found: Found,
    /// What the person should know besides the answer.
    pub(super) notes: Vec<String>,
}

enum Found {
    Files(Box<Files>),
    Cluster { connections: BTreeMap<String, Connection>, policies: BTreeMap<String, AccessPolicy> },
}

impl Resources {
    /// Reads what the arguments mean.
    pub(super) async fn read(
        cluster: &ClusterArguments,
        arguments: &ExplainArguments,
    ) -> anyhow::Result<Self> {
        if arguments.files.is_empty() {
            return Self::of_cluster(&Cluster::connect(cluster).await?, arguments).await;
        }
        let namespace = cluster.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let files = read_files(&arguments.files, &namespace)?;
        let pod = supposed(&namespace, arguments);
        Ok(Self { pod, pod_name: None, found: Found::Files(Box::new(files)), notes: Vec::new() })
    }

    async fn of_cluster(cluster: &Cluster, arguments: &ExplainArguments) -> anyhow::Result<Self> {
        let mut notes = Vec::new();
        let pod = match &arguments.pod {
            Some(name) => existing(cluster, name, &mut notes).await?,
            None => supposed(&cluster.namespace, arguments),
        };
        let named = pod.connections.iter().flatten().chain(&arguments.connection);
        let mut namespaces: BTreeSet<&str> = named.filter_map(|key| Some(key.split_once('/')?.0)).collect();
        namespaces.insert(&pod.namespace);
        let (mut connections, mut policies) = (BTreeMap::new(), BTreeMap::new());
        for namespace in namespaces {
            let all = ListParams::default();
            let api: Api<Connection> = Api::namespaced(cluster.client.clone(), namespace);
            let unread =
                || format!("Connections and AccessPolicies of namespace `{namespace}` cannot be listed");
            let found = api.list(&all).await.with_context(unread)?;
            connections.extend(found.items.into_iter().map(|connection| (connection.key(), connection)));
            let api: Api<AccessPolicy> = Api::namespaced(cluster.client.clone(), namespace);
            let found = api.list(&all).await.with_context(unread)?;
            policies.extend(found.items.into_iter().map(|policy| (policy.key(), policy)));
        }
        let pod_name = arguments.pod.clone();
        Ok(Self { pod, pod_name, found: Found::Cluster { connections, policies }, notes })
    }

    /// The document that the pod's sidecar would have.
    pub(super) fn document(&self) -> Document {
        let (connections, policies) = self.inputs();
        // The last two decide no statement.
        let inputs = Inputs {
            connections: &connections,
            policies: &policies,
            dns: DnsMode::ConnectionsOnly,
            stale_after_seconds: 3600,
        };
        compile::document(&inputs, &self.pod)
    }

    fn inputs(&self) -> (Vec<ConnectionInput<'_>>, Vec<PolicyInput<'_>>) {
        match &self.found {
            Found::Files(files) => files.inputs(),
            Found::Cluster { connections, policies } => {
                let connections = connections.iter().map(|(key, connection)| ConnectionInput {
                    key,
                    spec: connection.spec.as_ref(),
                    labels: connection.metadata.labels.as_ref().unwrap_or(&NONE),
                    address: None,
                    ca_bundle: None,
                    problem: None,
                });
                let policies = policies.iter().map(|(key, policy)| PolicyInput {
                    key,
                    generation: policy.metadata.generation.unwrap_or_default(),
                    spec: policy.spec.as_ref(),
                    raw: &policy.raw,
                });
                (connections.collect(), policies.collect())
            }
        }
    }

    /// All AccessPolicies of the Connection's namespace.
    pub(super) fn policies_beside(&self, connection: &str) -> Vec<String> {
        let (namespace, _) = connection.split_once('/').unwrap_or_default();
        let (_, policies) = self.inputs();
        let beside =
            policies.iter().filter(|policy| policy.key.split_once('/').unwrap_or_default().0 == namespace);
        beside.map(|policy| policy.key.to_owned()).collect()
    }

    /// Why the pod does not see a Connection.
    pub(super) fn why_not(&self, connection: &str) -> String {
        let (connections, _) = self.inputs();
        let Some(found) = connections.iter().find(|found| found.key == connection) else {
            let known: Vec<&str> = connections.iter().map(|found| found.key).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return format!("there is no Connection `{connection}`; there are: {known}");
        };
        if let Err(error) = found.spec {
            return format!("the Connection `{connection}` cannot be read: {error}");
        }
        let owner = connection.split_once('/').unwrap_or_default().0;
        match &self.pod.connections {
            Some(named) if !named.iter().any(|name| name == connection) => format!(
                "the pod's annotation `{CONNECTIONS}` does not name the Connection `{connection}`; it names: {}",
                if named.is_empty() { "nothing".to_owned() } else { named.join(", ") }
            ),
            Some(_) | None => format!(
                "the Connection `{connection}` is not for pods of namespace `{}`; its owner in `{owner}` must add it \
                 to `allowedNamespaces.names`",
                self.pod.namespace
            ),
        }
    }

    /// AccessPolicies beside a Connection that cannot be used as they are, and why.
    pub(super) fn unusable_policies(&self, connection: &str) -> Vec<String> {
        let beside = self.policies_beside(connection);
        let (_, policies) = self.inputs();
        let unusable = policies.iter().filter(|policy| beside.iter().any(|key| key == policy.key));
        let unusable = unusable.filter_map(|policy| {
            let error = match policy.spec {
                Ok(spec) => compile::validate::policy(spec).into_iter().next()?,
                Err(error) => error.clone(),
            };
            Some(format!(
                "the AccessPolicy `{}` cannot be used until it is mended, so its Allows do not count: {error}",
                policy.key
            ))
        });
        unusable.collect()
    }

    /// What the operator says about a Connection that is not Ready.
    pub(super) fn not_ready(&self, connection: &str) -> Option<String> {
        let Found::Cluster { connections, .. } = &self.found else { return None };
        let status = connections.get(connection)?.status.as_ref()?;
        let ready = status.conditions.iter().find(|condition| condition.type_ == READY)?;
        (ready.status != "True").then(|| {
            format!("the Connection `{connection}` is not Ready: {}: {}", ready.reason, ready.message)
        })
    }
}

static NONE: BTreeMap<String, String> = BTreeMap::new();

/// The pod that `--service-account` and `--labels` describe. It names no Connections, but the one that is asked
/// about if that is in another namespace: it could not be reached otherwise.
fn supposed(namespace: &str, arguments: &ExplainArguments) -> Pod {
    let foreign = arguments
        .connection
        .iter()
        .filter(|name| name.split_once('/').is_some_and(|(owner, _)| owner != namespace));
    let foreign: Vec<String> = foreign.cloned().collect();
    Pod {
        namespace: namespace.to_owned(),
        service_account: arguments.service_account.clone().unwrap_or_default(),
        labels: arguments.labels.iter().cloned().collect(),
        connections: (!foreign.is_empty()).then_some(foreign),
    }
}

/// A pod of the cluster, as policies see it.
async fn existing(cluster: &Cluster, name: &str, notes: &mut Vec<String>) -> anyhow::Result<Pod> {
    let namespace = &cluster.namespace;
    let api: Api<v1::Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let pod = api.get(name).await.with_context(|| format!("the pod `{namespace}/{name}` cannot be read"))?;
    let metadata = pod.metadata;
    let annotation = |key: &str| metadata.annotations.as_ref().and_then(|all| all.get(key).cloned());
    let labels = metadata.labels.clone().unwrap_or_default();
    let injected = labels.get(INJECTED).is_some_and(|value| value == "true");
    if !injected {
        notes.push(format!(
            "the pod `{namespace}/{name}` has no sidecar: this is what would be if it were created again with one"
        ));
    }
    let labels = match annotation(ADMITTED_LABELS).filter(|_| injected) {
        // What is no such object selects nothing, as in the operator.
        Some(json) => serde_json::from_str(&json).unwrap_or_default(),
        None => labels.into_iter().filter(|(key, _)| !key.starts_with("chaperone.dev/")).collect(),
    };
    let connections = annotation(CONNECTIONS).map(|wanted| compile::requested(&wanted, namespace));
    let service_account = pod.spec.and_then(|spec| spec.service_account_name);
    Ok(Pod {
        namespace: namespace.clone(),
        service_account: service_account.unwrap_or_else(|| "default".to_owned()),
        labels,
        connections: connections
            .transpose()
            .map_err(|error| anyhow::anyhow!("pod `{namespace}/{name}`: {error}"))?,
    })
}

fn read_files(paths: &[PathBuf], namespace: &str) -> anyhow::Result<Files> {
    let mut texts = Vec::new();
    for path in paths {
        let unread = || format!("`{}` cannot be read", path.display());
        if path.is_dir() {
            let mut inside = Vec::new();
            for entry in fs::read_dir(path).with_context(unread)? {
                inside.push(entry.with_context(unread)?.path());
            }
            inside.retain(|file| file.extension().is_some_and(|kind| kind == "yaml" || kind == "yml"));
            inside.sort();
            if inside.is_empty() {
                bail!("`{}` has no .yaml file in it", path.display());
            }
            for file in inside {
                texts.push(read_file(&file)?);
            }
        } else {
            texts.push(read_file(path)?);
        }
    }
    files::read_rules(&texts, namespace).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("; "))
    })
}

fn read_file(path: &Path) -> anyhow::Result<(String, String)> {
    let shown = path.display().to_string();
    let unread = || format!("`{shown}` cannot be read");
    if fs::metadata(path).with_context(unread)?.len() > FILE_LIMIT {
        bail!("`{shown}` is larger than {FILE_LIMIT} bytes");
    }
    let text = fs::read_to_string(path).with_context(unread)?;
    Ok((shown, text))
}
