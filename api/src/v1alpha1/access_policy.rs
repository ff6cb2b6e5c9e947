//! `AccessPolicy`: who may do what on which Connections of its namespace.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Nothing;

/// Who may do what on which Connections of this namespace. What no rule allows is refused.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "chaperone.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    namespaced,
    status = "AccessPolicyStatus",
    shortname = "cpol",
    category = "chaperone",
    derive = "PartialEq",
    doc = "Who may do what on which Connections of its namespace.",
    printcolumn = r#"{"name":"Rules","type":"integer","jsonPath":".status.rules"}"#,
    printcolumn = r#"{"name":"Pods","type":"integer","jsonPath":".status.pods"}"#,
    printcolumn = r#"{"name":"Live","type":"integer","jsonPath":".status.podsOnGeneration"}"#,
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
pub struct AccessPolicySpec {
    /// Whom it concerns: any of these.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub subjects: Vec<Subject>,
    /// Which Connections of this namespace.
    pub connections: ConnectionRefs,
    /// What comes along with any Allow. Default: Standard.
    #[serde(default)]
    pub baseline: Baseline,
    /// The rules. Their order does not matter: Deny over Allow; nothing matched: refused.
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub rules: Vec<Rule>,
    /// What is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recording>,
}

/// Pods by their service account, namespace and labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Service accounts. `["*"]` means all, and must be said.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub service_accounts: Vec<String>,
    /// Their namespaces. Default: this one. Others must be among the Connection's `allowedNamespaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [{
            "rule": "!('*' in self)",
            "message": "`*` is not possible; name each namespace, or leave the list out for this one"
        }])
    )]
    pub namespaces: Option<Vec<String>>,
    /// Narrows to pods that had these labels at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}

/// Labels that must all be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Keys and values.
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
}

/// Which Connections of this namespace. Exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.names) != has(self.selector)",
    "message": "set exactly one of `names` and `selector`; an empty selector means all Connections of the namespace"
}]))]
pub struct ConnectionRefs {
    /// By name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub names: Option<Vec<String>>,
    /// By label; `{matchLabels: {}}` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// What comes along with any Allow: transactions, harmless functions, drivers' settings and catalog reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Baseline {
    /// The documented list.
    #[default]
    Standard,
    /// Nothing.
    None,
}

/// One rule. Exactly one of `sql` and `opaque` says what it matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.sql) != has(self.opaque)",
        "message": "set exactly one of `sql: {verbs: [...], ...}` and `opaque: {}`"
    },
    {
        "rule": "self.verdict != 'Deny' || !has(self.sql) || !has(self.sql.where)",
        "message": "`where` narrows an Allow; a Deny cannot have it: leave it out"
    }
]))]
pub struct Rule {
    /// Unique within the policy; refusals and records name it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What it says about what it matches.
    pub verdict: RuleVerdict,
    /// Statements on Connections of protocol Postgres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<Sql>,
    /// Whole sessions on Connections of protocol Opaque: nothing in them is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Nothing>,
    /// Told to the client when the rule denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuleVerdict {
    /// What it matches is allowed unless something denies it.
    Allow,
    /// What it matches is refused, whatever allows it.
    Deny,
}

/// Which accesses a rule matches. Each verb needs the list for its kind of object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sql {
    /// Verbs (`Select`, `Insert`, …) and groups (`Read`, `Write`, `*`).
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 32)), extend("x-kubernetes-list-type" = "set"))]
    pub verbs: Vec<String>,
    /// Relations as `schema.table`; `*` stands for any characters within one name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 192)), extend("x-kubernetes-list-type" = "set"))]
    pub relations: Option<Vec<String>>,
    /// Columns of those relations. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub columns: Option<Vec<String>>,
    /// Functions: `schema.name`, `name` (a built-in), `name(types)`, `ext:NAME`, `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub functions: Option<Vec<String>>,
    /// Settings, for the verb Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub settings: Option<Vec<String>>,
    /// Channels, for the verbs Listen and Notify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub channels: Option<Vec<String>>,
    /// Schemas, and what lives in them that is neither relation nor function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub schemas: Option<Vec<String>>,
    /// `Required`: Update and Delete are allowed only with a WHERE on a column of the changed relation.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub where_clause: Option<Where>,
}

/// What is asked of the WHERE clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Where {
    /// It must mention a column of the changed relation.
    Required,
}

/// What is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recording {
    /// How much of a statement's text. Default: Full.
    #[serde(default)]
    pub statements: StatementRecording,
    /// What must have happened to a record before the statement's bytes go. Default: Process.
    #[serde(default)]
    pub durability: Durability,
}

/// How much of a statement's text is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StatementRecording {
    /// The text.
    #[default]
    Full,
    /// Only a fingerprint of its shape.
    Fingerprint,
}

/// What must have happened to a record before the statement's bytes go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Durability {
    /// It survives the end of any process.
    #[default]
    Process,
    /// It survives the end of the node.
    Node,
    /// The store has acknowledged it.
    Store,
}

/// What the operator says about an AccessPolicy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicyStatus {
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, ResolvedRefs, Programmed, Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// How many rules it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<i32>,
    /// How many pods it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<i32>,
    /// On how many of them this generation is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_on_generation: Option<i32>,
    /// How many have been silent for a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_stale: Option<i32>,
}
