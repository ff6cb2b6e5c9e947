//! One container that is not ours: what it must not have, and what it gets.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EphemeralContainer, PodSpec, SecurityContext, VolumeMount,
};

use super::reserved::is_reserved;
use crate::webhook::settings::{Ports, Refusal};

/// Dropped from every agent: they would let it become the sidecar's UID or write raw packets.
pub(crate) const DROPPED: [&str; 3] = ["SETUID", "SETGID", "NET_RAW"];
/// No agent may add one of these: each opens the fence, the sidecar's memory, or the node.
const FORBIDDEN: [&str; 13] = [
    "ALL",
    "NET_ADMIN",
    "NET_RAW",
    "SYS_PTRACE",
    "SYS_ADMIN",
    "BPF",
    "SETUID",
    "SETGID",
    "SYS_MODULE",
    "SYS_RAWIO",
    "PERFMON",
    "DAC_READ_SEARCH",
    "CHECKPOINT_RESTORE",
];

/// A container of the agent's, of any kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agent<'a> {
    list: &'static str,
    name: &'a str,
    security: Option<&'a SecurityContext>,
    mounts: &'a [VolumeMount],
    ports: &'a [ContainerPort],
}

impl<'a> Agent<'a> {
    /// All of a pod's, init containers first.
    pub(crate) fn all(spec: &'a PodSpec) -> impl Iterator<Item = Self> {
        let inits =
            spec.init_containers.iter().flatten().map(|container| Self::of("initContainers", container));
        inits.chain(spec.containers.iter().map(|container| Self::of("containers", container)))
    }

    pub(crate) fn of(list: &'static str, container: &'a Container) -> Self {
        Self {
            list,
            name: &container.name,
            security: container.security_context.as_ref(),
            mounts: container.volume_mounts.as_deref().unwrap_or_default(),
            ports: container.ports.as_deref().unwrap_or_default(),
        }
    }

    pub(crate) fn ephemeral(container: &'a EphemeralContainer) -> Self {
        Self {
            list: "ephemeralContainers",
            name: &container.name,
            security: container.security_context.as_ref(),
            mounts: container.volume_mounts.as_deref().unwrap_or_default(),
            ports: container.ports.as_deref().unwrap_or_default(),
        }
    }

    /// The UID that it says it runs as; what its image says is not known here.
    pub(crate) fn uid(&self, spec: &PodSpec) -> Option<i64> {
        let own = self.security.and_then(|security| security.run_as_user);
        own.or_else(|| spec.security_context.as_ref().and_then(|security| security.run_as_user))
    }

    /// Refuses what would defeat the fence.
    pub(crate) fn check(&self, ports: &Ports) -> Result<(), Refusal> {
        if is_reserved(self.name) {
            let instead = "choose a name that does not start with `chaperone-`";
            return Err(self.refusal("has a reserved name", instead));
        }
        self.check_privileges()?;
        if let Some(mount) = self.mounts.iter().find(|mount| is_reserved(&mount.name)) {
            let what = format!("mounts the sidecar's volume `{}`", mount.name);
            return Err(self.refusal(&what, "remove the mount"));
        }
        self.check_ports(ports)
    }

    /// Refuses the sidecar's UID: the fence lets it out.
    pub(crate) fn check_uid(&self, spec: &PodSpec, sidecar: i64) -> Result<(), Refusal> {
        match self.uid(spec) {
            Some(uid) if uid == sidecar => {
                let what = format!("runs as the UID {uid} of the sidecar");
                Err(self.refusal(&what, "create the pod again: the sidecar's UID is drawn anew"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses a container that did not get what [`super::harden`] gives.
    pub(crate) fn check_hardened(&self) -> Result<(), Refusal> {
        if self.security.and_then(|security| security.allow_privilege_escalation) != Some(false) {
            let instead = "set `securityContext.allowPrivilegeEscalation: false`";
            return Err(self.refusal("may gain privileges", instead));
        }
        let dropped: Vec<String> = self.capabilities(|capabilities| capabilities.drop.as_deref());
        let held = |name: &&&str| !dropped.iter().any(|dropped| dropped == **name || dropped == "ALL");
        match DROPPED.iter().find(held) {
            Some(name) => {
                let instead = "set `securityContext.capabilities.drop: [ALL]`";
                Err(self.refusal(&format!("holds the capability `{name}`"), instead))
            }
            None => Ok(()),
        }
    }

    fn check_privileges(&self) -> Result<(), Refusal> {
        let Some(security) = self.security else { return Ok(()) };
        if security.privileged == Some(true) {
            return Err(self.refusal("is privileged", "remove `securityContext.privileged`"));
        }
        if security.windows_options.as_ref().is_some_and(|windows| windows.host_process == Some(true)) {
            return Err(self.refusal("is a process of the node", "remove `securityContext.windowsOptions`"));
        }
        if security.proc_mount.as_deref().is_some_and(|mount| mount != "Default") {
            return Err(self.refusal("has an unmasked /proc", "remove `securityContext.procMount`"));
        }
        let added = self.capabilities(|capabilities| capabilities.add.as_deref());
        match added.iter().find(|name| FORBIDDEN.contains(&name.as_str())) {
            Some(name) => {
                let instead = format!("remove `{name}` from `securityContext.capabilities.add`");
                Err(self.refusal(&format!("adds the capability `{name}`"), &instead))
            }
            None => Ok(()),
        }
    }

    fn check_ports(&self, ports: &Ports) -> Result<(), Refusal> {
        let taken = |port: &&ContainerPort| {
            ports.named().iter().any(|(_, ours)| i32::from(*ours) == port.container_port)
        };
        match self.ports.iter().find(taken) {
            Some(port) => {
                let what = format!("listens on the port {} of the sidecar", port.container_port);
                Err(self
                    .refusal(&what, "choose another port, or another for the sidecar in the chart's values"))
            }
            None => Ok(()),
        }
    }

    fn capabilities(
        &self,
        list: impl Fn(&'a k8s_openapi::api::core::v1::Capabilities) -> Option<&'a [String]>,
    ) -> Vec<String> {
        let capabilities = self.security.and_then(|security| security.capabilities.as_ref());
        let names = capabilities.and_then(list).unwrap_or_default();
        names.iter().map(|name| normal(name)).collect()
    }

    fn refusal(&self, what: &str, instead: &str) -> Refusal {
        Refusal::new(format!("`spec.{}` `{}` {what}", self.list, self.name), instead)
    }
}

/// A capability by its one name: runtimes read `cap_net_raw` and `NET_RAW` alike.
pub(crate) fn normal(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map_or_else(|| upper.clone(), str::to_owned)
}
