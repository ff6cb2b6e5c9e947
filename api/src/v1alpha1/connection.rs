//! `Connection`: one upstream, and the credential that agents never see.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One upstream that agents may be given access to.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaperone.dev",
    version = "v1alpha1",
    kind = "Connection",
    namespaced,
    status = "ConnectionStatus",
    shortname = "cconn",
    category = "chaperone",
    derive = "PartialEq",
    doc = "One upstream that agents may be given access to.",
    printcolumn = r#"{"name":"Protocol","type":"string","jsonPath":".spec.protocol"}"#,
    printcolumn = r#"{"name":"Upstream","type":"string","jsonPath":".spec.upstream.host"}"#,
    printcolumn = r#"{"name":"Pods","type":"integer","jsonPath":".status.pods"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    crates(
        kube_core = "::kube_core",
        k8s_openapi = "::k8s_openapi",
        schemars = "::schemars",
        serde = "::serde",
        serde_json = "::serde_json"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.protocol == 'Postgres' ? has(self.postgres) : !has(self.postgres)",
        "message": "protocol Postgres needs the block `postgres: {database: NAME}`; no other protocol has it"
    },
    {
        "rule": "self.protocol != 'Postgres' || has(self.credential.secretRef)",
        "message": "protocol Postgres needs `credential: {secretRef: {name: SECRET}}`"
    },
    {
        "rule": "self.protocol != 'Opaque' || has(self.credential.none)",
        "message": "protocol Opaque logs nobody in: write `credential: {none: {}}`"
    },
    {
        "rule": "self.protocol != 'Opaque' || !has(self.upstream.tls)",
        "message": "protocol Opaque passes bytes as they are: leave `upstream.tls` out, agents speak TLS themselves"
    }
]))]
pub struct ConnectionSpec {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it is.
    pub upstream: Upstream,
    /// Settings for protocol Postgres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
    /// How Chaperone logs in. Exactly one kind.
    pub credential: Credential,
    /// How agents reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// Other namespaces whose pods may use it when a policy of this namespace says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// The protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// PostgreSQL, servers 13 to 18.
    Postgres,
    /// Bytes pass to exactly this host and port without being looked at. For what has no protocol of its own
    /// here yet, and for upstreams that agents log in to by themselves. Needs a rule with `opaque: {}`.
    Opaque,
}

/// Where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    /// A fully qualified name, or an IP address.
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = [{
            "rule": "self.contains('.') || self.contains(':') || self == 'localhost'",
            "message": "must be a fully qualified name such as `orders.prod.svc.cluster.local`, or an IP address"
        }])
    )]
    pub host: String,
    /// TCP port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// TLS towards it. Default: VerifyFull with the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.caBundle) || self.mode in ['VerifyCA', 'VerifyFull']",
    "message": "`caBundle` is used only with `mode: VerifyCA` or `VerifyFull`; leave it out or change the mode"
}]))]
pub struct UpstreamTls {
    /// How much is verified. Default: VerifyFull.
    #[serde(default)]
    pub mode: TlsMode,
    /// The roots to verify with. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
}

/// How much of the upstream's TLS is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS, without a check of the certificate.
    Require,
    /// The certificate's chain is checked.
    #[serde(rename = "VerifyCA")]
    VerifyCa,
    /// The chain and the host's name are checked.
    #[default]
    VerifyFull,
}

/// Root certificates in PEM. Exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.configMapRef) != has(self.secretRef)",
    "message": "set exactly one of `configMapRef: {name: NAME, key: KEY}` and `secretRef: {name: NAME, key: KEY}`"
}]))]
pub struct CaBundle {
    /// In a ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
    /// In a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
}

/// One key of a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRef {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Settings for protocol Postgres.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Postgres {
    /// The database that a session gets when it names none.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// Other databases that a session may name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub extra_databases: Vec<String>,
}

/// How Chaperone logs in upstream. Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.secretRef) != has(self.none)",
    "message": "set exactly one of `secretRef: {name: SECRET}` and `none: {}`"
}]))]
pub struct Credential {
    /// Username and password in a Secret of this namespace. A changed Secret counts at the next login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretCredential>,
    /// Nobody is logged in. For protocol Opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<Nothing>,
}

/// Chosen by being there; has no fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Username and password in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretCredential {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key with the username.
    #[serde(default = "username")]
    #[schemars(length(min = 1, max = 253))]
    pub username_key: String,
    /// The key with the password.
    #[serde(default = "password")]
    #[schemars(length(min = 1, max = 253))]
    pub password_key: String,
}

fn username() -> String {
    "username".to_owned()
}

fn password() -> String {
    "password".to_owned()
}

/// How agents reach an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Agent {
    /// A fixed port on which the sidecar also listens on loopback. Needed in standalone mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The environment variables that agents get. Default: Standard.
    #[serde(default)]
    pub environment: Environment,
}

/// The environment variables that agents get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Environment {
    /// PGHOST, PGPORT, PGUSER, PGDATABASE and PGSSLMODE for Postgres.
    #[default]
    Standard,
    /// None.
    None,
}

/// Other namespaces whose pods may use a Connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedNamespaces {
    /// Their names.
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [{
            "rule": "!('*' in self)",
            "message": "`*` is not possible; name each namespace"
        }])
    )]
    pub names: Vec<String>,
}

/// What the operator says about a Connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, ResolvedRefs, Programmed, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The virtual address that DNS in agent pods answers with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How many pods have it in their document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<i32>,
}
