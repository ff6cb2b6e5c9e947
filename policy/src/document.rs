//! The document: the compiled policy that the operator sends to the sidecars of one class of pods.

use std::{collections::BTreeSet, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::{ColumnPattern, FunctionPattern, NamePattern, RelationPattern, Verb};

/// The version of the document's form. A sidecar refuses a document of another version.
pub const FORMAT: u32 = 1;

/// Everything that the sidecars of one class need to decide alone. Addressed by its content: equal classes
/// have equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Features that the reader must know; an unknown one makes the document unusable.
    pub features: Vec<String>,
    /// Seconds after the last contact with the operator until the sidecar refuses.
    pub stale_after_seconds: u64,
    /// Which names outside Connections the sidecar resolves.
    pub dns: DnsMode,
    /// The Connections that this class may see, sorted by name.
    pub connections: Vec<ConnectionDocument>,
}

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON of this shape.
    #[error("the document cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another version.
    #[error("the document has format {found}, this sidecar reads {FORMAT}")]
    Format {
        /// The format that was found.
        found: u32,
    },
    /// Needs something that this sidecar does not know.
    #[error("the document needs the feature `{0}`, which this sidecar does not know")]
    Feature(String),
}

impl Document {
    /// Features that this build understands.
    pub const FEATURES: [&'static str; 2] = ["postgres", "opaque"];

    /// Reads a document and refuses what this build does not understand.
    ///
    /// # Errors
    /// When the bytes are not a document of [`FORMAT`], or need an unknown feature.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let document: Self = serde_json::from_slice(bytes)?;
        if document.format != FORMAT {
            return Err(DecodeError::Format { found: document.format });
        }
        let unknown = document.features.iter().find(|name| !Self::FEATURES.contains(&name.as_str()));
        unknown.map_or(Ok(()), |name| Err(DecodeError::Feature(name.clone())))?;
        Ok(document)
    }

    /// The bytes that are hashed and sent. Field order is fixed, so equal documents have equal bytes.
    ///
    /// # Errors
    /// Never for documents that `compile` makes; serde's signature asks for it.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// The Connection of that `namespace/name`.
    #[must_use]
    pub fn connection(&self, name: &str) -> Option<&ConnectionDocument> {
        self.connections.iter().find(|connection| connection.name == name)
    }
}

/// Which leader, and its how-manieth change. Sidecars never move to a smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// Grows with each new leader.
    pub epoch: u64,
    /// Grows with each change under one leader.
    pub sequence: u64,
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

/// Which names the sidecar's DNS resolves besides Connection hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DnsMode {
    /// None.
    ConnectionsOnly,
    /// Names of the cluster.
    #[default]
    Cluster,
    /// All names.
    All,
}

/// One Connection as the sidecar needs it, with every policy that concerns this class on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionDocument {
    /// `namespace/name`.
    pub name: String,
    /// The protocol that is spoken there.
    pub protocol: UpstreamProtocol,
    /// Where it is.
    pub upstream: Upstream,
    /// The virtual address that DNS answers with; none in standalone mode.
    pub address: Option<Ipv4Addr>,
    /// The fixed loopback port, if the Connection has one.
    pub agent_port: Option<u16>,
    /// Settings for Postgres.
    pub postgres: Option<PostgresDocument>,
    /// Why this Connection cannot be used (a conflict, a missing Secret); sessions are refused with it.
    pub problem: Option<String>,
    /// The policies whose subjects match this class, sorted by name.
    pub policies: Vec<PolicyDocument>,
}

impl ConnectionDocument {
    /// Whether sessions log in upstream with a credential of ours.
    #[must_use]
    pub const fn has_credential(&self) -> bool {
        match self.protocol {
            UpstreamProtocol::Postgres => true,
            UpstreamProtocol::Opaque => false,
        }
    }

    /// Whether any rule allows anything here. Without one nothing is possible, and no credential is needed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let mut rules = self.policies.iter().flat_map(|policy| &policy.rules);
        self.problem.is_none() && rules.any(|rule| rule.verdict == RuleVerdict::Allow)
    }

    /// The most that any policy asks to be recorded.
    #[must_use]
    pub fn recording(&self) -> Recording {
        let mut most =
            Recording { statements: StatementRecording::Fingerprint, durability: Durability::Process };
        for policy in &self.policies {
            most.statements = most.statements.max(policy.recording.statements);
            most.durability = most.durability.max(policy.recording.durability);
        }
        if self.policies.is_empty() { Recording::default() } else { most }
    }
}

/// The protocols that an upstream can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpstreamProtocol {
    /// PostgreSQL's protocol 3.
    Postgres,
    /// Bytes that nobody looks at.
    Opaque,
}

/// Where an upstream is and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    /// A fully qualified name or an IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS towards it.
    pub tls: TlsDocument,
}

/// TLS towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsDocument {
    /// How much is verified.
    pub mode: TlsMode,
    /// Root certificates in PEM; the system's roots when absent.
    pub ca_bundle: Option<String>,
}

/// How much of the upstream's TLS is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    /// No TLS.
    Disable,
    /// TLS without a check of the certificate.
    Require,
    /// The certificate's chain is checked.
    #[serde(rename = "VerifyCA")]
    VerifyCa,
    /// The chain and the host's name are checked.
    #[default]
    VerifyFull,
}

/// Postgres' own part of a Connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresDocument {
    /// The database that a session gets when it names none.
    pub database: String,
    /// Other databases that a session may name.
    pub extra_databases: Vec<String>,
}

/// One policy on one Connection for one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyDocument {
    /// `namespace/name`.
    pub name: String,
    /// The resource's `metadata.generation`.
    pub generation: i64,
    /// What comes along with any Allow.
    pub baseline: Baseline,
    /// What is recorded.
    pub recording: Recording,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Set when the policy could not be read: it then allows nothing and denies everything here.
    pub broken: Option<String>,
}

/// What comes along with any Allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Baseline {
    /// The documented list.
    #[default]
    Standard,
    /// Nothing. Wins over Standard where policies meet.
    None,
}

/// What is recorded of statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recording {
    /// How much of the text.
    #[serde(default)]
    pub statements: StatementRecording,
    /// What must have happened to a record before the statement's bytes go.
    #[serde(default)]
    pub durability: Durability,
}

/// How much of a statement's text is recorded; the greater is the more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StatementRecording {
    /// Only a fingerprint.
    Fingerprint,
    /// The text.
    #[default]
    Full,
}

/// What must have happened to a record before the statement's bytes go; the greater is the stronger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Durability {
    /// It survives the end of any process, but not of the node.
    #[default]
    Process,
    /// It survives the end of the node.
    Node,
    /// The store has acknowledged it.
    Store,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Unique within its policy.
    pub name: String,
    /// What it says about what it matches.
    pub verdict: RuleVerdict,
    /// What it matches.
    pub matches: Matches,
    /// Told to the client when the rule denies.
    pub message: Option<String>,
}

/// What a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Matches {
    /// Accesses of statements.
    Sql(SqlRule),
    /// Sessions as a whole, whose bytes nobody looks at.
    Opaque,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleVerdict {
    /// Matching accesses are allowed unless something denies them.
    Allow,
    /// Matching accesses are refused, whatever else allows them.
    Deny,
}

/// Which accesses a rule matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlRule {
    /// Verbs, groups expanded.
    pub verbs: BTreeSet<Verb>,
    /// For verbs on relations.
    #[serde(default)]
    pub relations: Vec<RelationPattern>,
    /// Columns of those relations; all when absent.
    #[serde(default)]
    pub columns: Option<Vec<ColumnPattern>>,
    /// For verbs on functions.
    #[serde(default)]
    pub functions: Vec<FunctionPattern>,
    /// For Set.
    #[serde(default)]
    pub settings: Vec<NamePattern>,
    /// For Listen and Notify.
    #[serde(default)]
    pub channels: Vec<NamePattern>,
    /// For verbs on schemas and on types and the like in them.
    #[serde(default)]
    pub schemas: Vec<NamePattern>,
    /// For an Allow of Update or Delete: the WHERE must mention a column of the changed relation.
    #[serde(default)]
    pub where_required: bool,
}
