//! Version `v1alpha1`.

mod access_policy;
mod connection;

pub use access_policy::{
    AccessPolicy, AccessPolicySpec, AccessPolicyStatus, Baseline, ConnectionRefs, Durability, LabelSelector,
    Recording, Rule, RuleVerdict, Sql, StatementRecording, Subject, Where,
};
pub use connection::{
    Agent, AllowedNamespaces, CaBundle, Connection, ConnectionSpec, ConnectionStatus, Credential,
    Environment, KeyRef, Nothing, Postgres, Protocol, SecretCredential, TlsMode, Upstream, UpstreamTls,
};
