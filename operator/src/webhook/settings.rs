//! What an injected container is made of, as the operator's arguments say.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;

/// The namespace whose label asks for injection: `enabled` or `required`.
pub const INJECTION_LABEL: &str = "chaperone.dev/injection";
/// The pod's annotation or label that asks for a sidecar, or declines it.
pub const INJECT: &str = "chaperone.dev/inject";
/// The pod's annotation that names the Connections it wants.
pub const CONNECTIONS: &str = "chaperone.dev/connections";
/// Set on injected pods: a label.
pub const INJECTED: &str = "chaperone.dev/injected";
/// Set on injected pods: the operator's version.
pub const VERSION: &str = "chaperone.dev/version";
/// Set on injected pods: the labels that policies match.
pub const ADMITTED_LABELS: &str = "chaperone.dev/admitted-labels";
/// Set on injected pods: the signed chain of identities.
pub const CHAIN: &str = "chaperone.dev/chain";

pub(crate) const FENCE: &str = "chaperone-fence";
pub(crate) const SIDECAR: &str = "chaperone-sidecar";
pub(crate) const TOKEN_VOLUME: &str = "chaperone-token";
pub(crate) const SPOOL_VOLUME: &str = "chaperone-spool";
pub(crate) const EMPTY_VOLUME: &str = "chaperone-empty";
/// Containers and volumes whose names start so are ours.
pub(crate) const RESERVED_PREFIX: &str = "chaperone-";

/// The ports inside the pod that the sidecar takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Identity and `/token`, on loopback.
    pub identity: u16,
    /// Captured traffic.
    pub capture: u16,
    /// DNS.
    pub dns: u16,
    /// Metrics, on the pod's address.
    pub metrics: u16,
    /// `/healthz` and `/readyz`, on the pod's address.
    pub health: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { identity: 15001, capture: 15006, dns: 15053, metrics: 15020, health: 15021 }
    }
}

impl Ports {
    /// Each port with the environment variable that names it.
    pub(crate) const fn named(&self) -> [(&'static str, u16); 5] {
        [
            ("CHAPERONE_IDENTITY_PORT", self.identity),
            ("CHAPERONE_CAPTURE_PORT", self.capture),
            ("CHAPERONE_DNS_PORT", self.dns),
            ("CHAPERONE_METRICS_PORT", self.metrics),
            ("CHAPERONE_HEALTH_PORT", self.health),
        ]
    }
}

/// Which names of others the sidecar's DNS answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dns {
    /// Names of Connections only.
    ConnectionsOnly,
    /// Names of the cluster too.
    #[default]
    Cluster,
    /// All names.
    All,
}

impl Dns {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ConnectionsOnly => "ConnectionsOnly",
            Self::Cluster => "Cluster",
            Self::All => "All",
        }
    }
}

/// What every injected pod gets; resolved once from the arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The sidecar's image.
    pub image: String,
    /// Its pull policy: `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// The operator's own version.
    pub version: String,
    /// Where sidecars find the leader, such as `https://chaperone-channel.chaperone-system.svc:9443`.
    pub operator_address: String,
    /// Ports inside the pod.
    pub ports: Ports,
    /// Requests and limits of fence and sidecar.
    pub resources: ResourceRequirements,
    /// The sidecar's log level, unless the pod says otherwise.
    pub log_level: String,
    /// The size limit of the volume for records that are on their way, in MiB; half of it is used.
    pub spool_mebibytes: u32,
    /// Which names of others are answered.
    pub dns: Dns,
}

/// The pod's namespace: its name and its labels as they are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// One variable for the agent's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Everything that injection depends on besides the pod.
#[derive(Debug, Clone)]
pub struct Injection<'a> {
    /// What every injected pod gets.
    pub settings: &'a Settings,
    /// The roots by which the sidecar knows the operator, as PEM.
    pub roots: &'a str,
    /// The pod's namespace.
    pub namespace: &'a Namespace,
    /// From the Connections that the pod names.
    pub environment: &'a [Variable],
    /// A UID drawn at random for this admission, within [`UIDS`].
    pub sidecar_uid: i64,
}

/// The UIDs from which a sidecar's is drawn.
pub const UIDS: std::ops::Range<i64> = 20_000..65_000;

/// Why a pod or resource is not admitted, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    what: String,
    instead: String,
}

impl Refusal {
    /// A refusal: `what` is wrong; do this `instead`.
    pub fn new(what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { what: what.into(), instead: instead.into() }
    }

    /// A field of a resource is wrong; its message says what to write instead.
    pub(crate) fn field(error: &api::FieldError) -> Self {
        Self::fields(std::slice::from_ref(error))
    }

    /// Several fields are wrong.
    pub(crate) fn fields(errors: &[api::FieldError]) -> Self {
        let what: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Self { what: what.join("; "), instead: String::new() }
    }

    /// Adds another way out.
    #[must_use]
    pub fn or(mut self, instead: &str) -> Self {
        self.instead = format!("{}, or {instead}", self.instead);
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.instead.as_str() {
            "" => out.write_str(&self.what),
            instead => write!(out, "{}; {instead}", self.what),
        }
    }
}
