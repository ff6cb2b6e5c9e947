//! One entry of the log. Statement text is here only as far as the recording level allows; never a secret.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Its number in the chain, from 0, without gaps.
    pub number: u64,
    /// When, in microseconds since 1970, by the pod's clock.
    pub time: u64,
    /// What.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A sidecar process began to write to this chain.
    ProcessStart {
        /// Its version.
        version: String,
    },
    /// The sidecar stopped in order; nothing follows unless a process starts again.
    ProcessEnd,
    /// A generation came into force.
    Generation {
        /// `epoch.sequence`.
        generation: String,
    },
    /// A client connected.
    SessionStart(SessionStart),
    /// A client connected to an upstream whose bytes nobody looks at. A [`SessionEnd`] follows.
    OpaqueStart(OpaqueStart),
    /// Statements were decided.
    Statement(Statement),
    /// A session ended.
    SessionEnd(SessionEnd),
    /// A cancel request reached the upstream of a session.
    Cancel {
        /// The session whose statement it cancels.
        session: Uuid,
    },
    /// Something was refused outside a session's statements.
    Refused(Refused),
}

/// A client connected to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionStart {
    /// Names the session in later records.
    pub session: Uuid,
    /// `namespace/name` of the Connection.
    pub connection: String,
    /// Where in the pod the client connected from.
    pub client: String,
    /// The database.
    pub database: String,
    /// The user that the client claimed to be; recorded, not believed.
    pub claimed_user: String,
    /// The client's `application_name`.
    pub application: String,
    /// The policy's generation, `epoch.sequence`.
    pub generation: String,
}

/// A client connected to an upstream, and what they say to each other is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpaqueStart {
    /// Names the session in later records.
    pub session: Uuid,
    /// `namespace/name` of the Connection.
    pub connection: String,
    /// Where in the pod the client connected from.
    pub client: String,
    /// `host:port` of the upstream.
    pub upstream: String,
    /// The rules that allow it, `namespace/policy:rule`.
    pub rules: Vec<String>,
    /// The policy's generation, `epoch.sequence`.
    pub generation: String,
}

/// A frame with statements was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    /// The session.
    pub session: Uuid,
    /// Counts the decided frames of the session, from 1.
    pub number: u64,
    /// What kind of frame.
    pub kind: StatementKind,
    /// The text, as far as it is recorded.
    pub text: StatementText,
    /// What was decided.
    pub verdict: StatementVerdict,
    /// What the statement does, as far as it is known: `Select public.orders.id`.
    pub accesses: Vec<String>,
    /// The policy's generation, `epoch.sequence`.
    pub generation: String,
}

/// The frames that carry statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StatementKind {
    /// A simple Query.
    Query,
    /// Preparing a statement.
    Parse,
    /// Binding values to a statement.
    Bind,
    /// Running a portal.
    Execute,
    /// The FunctionCall message.
    FunctionCall,
}

/// A statement's text, as far as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StatementText {
    /// The whole text.
    Full(String),
    /// A fingerprint of its shape.
    Fingerprint(String),
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StatementVerdict {
    /// It went upstream.
    Allow {
        /// The rules behind it, `namespace/policy:rule`; none when the baseline covers it.
        rules: Vec<String>,
    },
    /// It was refused.
    Deny {
        /// The rule that denied, if one did.
        rule: Option<String>,
        /// What was missing or forbidden.
        reason: String,
    },
}

/// A session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionEnd {
    /// The session.
    pub session: Uuid,
    /// Why.
    pub reason: String,
    /// Decided frames.
    pub statements: u64,
    /// Refused ones among them.
    pub refused: u64,
    /// Bytes from the client.
    pub bytes_from_client: u64,
    /// Bytes to the client.
    pub bytes_to_client: u64,
}

/// Something was refused outside a session's statements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refused {
    /// What kind of thing.
    pub kind: RefusedKind,
    /// Where it wanted to go: an address, a name.
    pub destination: String,
    /// Why not.
    pub reason: String,
}

/// What can be refused outside a session's statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RefusedKind {
    /// A TCP connection that belongs to no Connection.
    Connection,
    /// A name.
    Dns,
    /// A login.
    Login,
    /// A cancel request.
    Cancel,
}
