//! What a pod must not have, or the fence would not hold. The final pod is checked by the same rules.

use k8s_openapi::api::core::v1::{Pod, PodSpec, Volume};

use super::{agent::Agent, reserved::is_reserved};
use crate::webhook::settings::{Namespace, Ports, Refusal};

const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Whoever reads or writes here reads every pod's secrets, or runs on the node.
const NODE_DIRS: [&str; 18] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib",
    "/var/log",
    "/var/run",
    "/var/spool",
    "/var/tmp",
];

/// Checks a pod without our own containers and volumes.
pub(crate) fn check(pod: &Pod, spec: &PodSpec, namespace: &Namespace, ports: &Ports) -> Result<(), Refusal> {
    pod_security(namespace)?;
    mirror(pod)?;
    shared_namespaces(spec)?;
    windows(spec)?;
    names_of_others(spec)?;
    for volume in spec.volumes.iter().flatten() {
        check_volume(volume)?;
    }
    for agent in Agent::all(spec) {
        agent.check(ports)?;
    }
    Ok(())
}

fn pod_security(namespace: &Namespace) -> Result<(), Refusal> {
    match namespace.labels.get(POD_SECURITY).map(String::as_str) {
        None | Some("privileged") => Ok(()),
        Some(level) => Err(Refusal::new(
            format!(
                "the namespace `{}` enforces the Pod Security level `{level}`, which forbids the fence's NET_ADMIN",
                namespace.name
            ),
            format!("label the namespace `{POD_SECURITY}=privileged`: the fence keeps agents confined there"),
        )),
    }
}

fn mirror(pod: &Pod) -> Result<(), Refusal> {
    match pod.metadata.annotations.as_ref().is_some_and(|map| map.contains_key(MIRROR)) {
        true => Err(Refusal::new(
            "a static pod of a node cannot have a sidecar",
            "run it as a DaemonSet, or in a namespace without injection",
        )),
        false => Ok(()),
    }
}

fn shared_namespaces(spec: &PodSpec) -> Result<(), Refusal> {
    let shared = [
        ("hostNetwork", spec.host_network, "the node's network has no fence"),
        ("hostPID", spec.host_pid, "the agent could read the sidecar's memory"),
        ("hostIPC", spec.host_ipc, "the agent could reach the node's processes"),
        ("shareProcessNamespace", spec.share_process_namespace, "the agent could read the sidecar's memory"),
    ];
    match shared.into_iter().find(|(_, set, _)| *set == Some(true)) {
        Some((field, _, why)) => {
            Err(Refusal::new(format!("`spec.{field}` is true: {why}"), format!("remove `spec.{field}`")))
        }
        None => Ok(()),
    }
}

fn windows(spec: &PodSpec) -> Result<(), Refusal> {
    match spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        true => {
            Err(Refusal::new("`spec.os.name` is `windows`, which has no fence", "run the agent on Linux"))
        }
        false => Ok(()),
    }
}

/// The sidecar finds upstreams by name, in the same pod: who says what a name means could send its logins
/// elsewhere. Agents have no use for either, since their names are answered by the sidecar.
fn names_of_others(spec: &PodSpec) -> Result<(), Refusal> {
    if spec.host_aliases.iter().flatten().next().is_some() {
        return Err(Refusal::new(
            "`spec.hostAliases` would lead the sidecar to other hosts than its Connections name",
            "remove it",
        ));
    }
    let nameservers = spec.dns_config.as_ref().and_then(|config| config.nameservers.as_ref());
    let own =
        nameservers.is_some_and(|servers| !servers.is_empty()) || spec.dns_policy.as_deref() == Some("None");
    match own {
        true => Err(Refusal::new(
            "`spec.dnsConfig.nameservers` would lead the sidecar to other hosts than its Connections name",
            "remove it, and a `dnsPolicy` of `None`",
        )),
        false => Ok(()),
    }
}

fn check_volume(volume: &Volume) -> Result<(), Refusal> {
    let name = &volume.name;
    if is_reserved(name) {
        return Err(Refusal::new(
            format!("the volume `{name}` has a reserved name"),
            "choose a name that does not start with `chaperone-`",
        ));
    }
    if asks_for_token(volume) {
        return Err(Refusal::new(
            format!("the volume `{name}` asks for a token of the audience `{}`", channel::TOKEN_AUDIENCE),
            "remove it: only the sidecar may have one",
        ));
    }
    match volume.host_path.as_ref().filter(|host| reaches_node(&host.path)) {
        Some(host) => Err(Refusal::new(
            format!(
                "the volume `{name}` mounts `{}` of the node, from which the sidecar's secrets can be read",
                host.path
            ),
            "mount a directory of your own, such as `/srv/data`",
        )),
        None => Ok(()),
    }
}

/// Whether a volume holds what only a sidecar may show to the operator.
pub(crate) fn asks_for_token(volume: &Volume) -> bool {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let mut tokens = sources.filter_map(|source| source.service_account_token.as_ref());
    tokens.any(|token| token.audience.as_deref() == Some(channel::TOKEN_AUDIENCE))
}

/// Is `path` one of the node's directories, above it, or in it.
fn reaches_node(path: &str) -> bool {
    let parts =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let path = parts(path);
    path.iter().any(|part| part == "..")
        || NODE_DIRS.iter().any(|dir| {
            let dir = parts(dir);
            path.starts_with(&dir) || dir.starts_with(&path)
        })
}
