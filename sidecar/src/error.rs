//! What stops a connection before it is a session, grouped by whose fault it is, and what the client is told.
//!
//! The group decides the log level; the client never hears internal detail, nor where the upstream is or who
//! logs in there. Within a session a refusal is a value, not an error: see `postgres`.

use wire::postgres::write::{ErrorText, Severity};

use crate::{
    credentials::NoLease,
    postgres::{
        login::LoginError,
        startup::{CertificateError, StartupError},
    },
    recorder::RecorderError,
};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client sent what leads to none.
    #[error(transparent)]
    Client(#[from] StartupError),
    /// The upstream gives none.
    #[error("the upstream of the Connection `{connection}` gives no session: {source}")]
    Upstream {
        /// The Connection.
        connection: String,
        /// Why.
        source: LoginError,
    },
    /// The document in force gives none.
    #[error(transparent)]
    Policy(#[from] NoSession),
    /// Nothing may happen that is not recorded.
    #[error("the session cannot be recorded")]
    Unrecorded(#[from] RecorderError),
    /// The sidecar itself.
    #[error("the sidecar cannot serve this connection")]
    Internal(#[source] std::io::Error),
}

/// Why the document in force gives no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// There is none.
    #[error("no policy is in force: the sidecar has heard nothing of the operator, or not for too long")]
    NoDocument,
    /// Nothing is there.
    #[error("no Connection has this address")]
    NoConnection,
    /// Several Connections are there, told apart by their databases.
    #[error("several Connections share this address, told apart by the database: name one of {}", .0.join(", "))]
    Ambiguous(Vec<String>),
    /// The Connection cannot be used.
    #[error("the Connection `{connection}` cannot be used: {problem}")]
    Problem {
        /// The Connection.
        connection: String,
        /// Why.
        problem: String,
    },
    /// There is no credential.
    #[error("the Connection `{connection}` has no credential: {reason}")]
    NoLease {
        /// The Connection.
        connection: String,
        /// Why.
        reason: NoLease,
    },
    /// No rule allows a session in which nothing is looked at.
    #[error("the Connection `{connection}` gives no session: {reason}")]
    Refused {
        /// The Connection.
        connection: String,
        /// Why.
        reason: String,
    },
    /// Too many sessions.
    #[error("the sidecar has as many sessions as it can hold")]
    TooMany,
    /// It ends.
    #[error("the sidecar is shutting down")]
    ShuttingDown,
}

/// Why the sidecar cannot begin to serve.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No threads.
    #[error("the worker threads cannot be started: {0}")]
    Workers(#[from] std::io::Error),
}

/// What a client is told in a FATAL error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The SQLSTATE.
    pub sqlstate: &'static str,
    /// What is wrong.
    pub message: String,
    /// More of it.
    pub detail: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Told {
    fn new(sqlstate: &'static str, message: String) -> Self {
        Self { sqlstate, message, detail: None, hint: None }
    }

    /// As a message of the protocol.
    #[must_use]
    pub fn text(&self) -> ErrorText<'_> {
        ErrorText {
            detail: self.detail.as_deref(),
            hint: self.hint.as_deref(),
            ..ErrorText::new(Severity::Fatal, self.sqlstate, &self.message)
        }
    }
}

const PROTOCOL_VIOLATION: &str = "08P01";
const CONNECTION_FAILURE: &str = "08006";
const CANNOT_CONNECT_NOW: &str = "57P03";
const ADMIN_SHUTDOWN: &str = "57P01";
const TOO_MANY_CONNECTIONS: &str = "53300";
const UNDEFINED_DATABASE: &str = "3D000";
const IO_ERROR: &str = "58030";

impl Error {
    /// What the client is told; nothing when nobody is there.
    #[must_use]
    pub fn told(&self) -> Option<Told> {
        match self {
            Self::Client(error) => client(error),
            Self::Upstream { connection, source } => Some(upstream(connection, source)),
            Self::Policy(reason) => Some(Told::new(policy(reason), reason.to_string())),
            Self::Unrecorded(_) => Some(Told {
                detail: Some("nothing is done that is not recorded, and there is no room for records".into()),
                ..Told::new(IO_ERROR, self.to_string())
            }),
            Self::Internal(_) => Some(Told::new("XX000", self.to_string())),
        }
    }

    /// Whether a person must act on it here, and not at the client.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Unrecorded(_) | Self::Internal(_))
    }
}

fn client(error: &StartupError) -> Option<Told> {
    match error {
        StartupError::Gone | StartupError::Tls | StartupError::Alpn => None,
        StartupError::Parameter { sqlstate, message, hint } => {
            Some(Told { hint: hint.clone(), ..Told::new(sqlstate, message.clone()) })
        }
        StartupError::Timeout
        | StartupError::Decode(_)
        | StartupError::Order
        | StartupError::Unencrypted
        | StartupError::Encode(_) => Some(Told::new(PROTOCOL_VIOLATION, error.to_string())),
    }
}

const fn policy(reason: &NoSession) -> &'static str {
    match reason {
        NoSession::NoDocument | NoSession::NoLease { .. } | NoSession::Problem { .. } => CANNOT_CONNECT_NOW,
        NoSession::NoConnection => "08004",
        NoSession::Refused { .. } => "42501",
        NoSession::Ambiguous(_) => UNDEFINED_DATABASE,
        NoSession::TooMany => TOO_MANY_CONNECTIONS,
        NoSession::ShuttingDown => ADMIN_SHUTDOWN,
    }
}

/// A few of the upstream's own reasons are the client's business, by their codes; its texts, which name
/// roles and hosts, never are.
fn upstream(connection: &str, error: &LoginError) -> Told {
    let LoginError::Refused { sqlstate: Some(code) } = error else {
        let message = format!("the upstream of the Connection `{connection}` cannot be used: {error}");
        return Told::new(CONNECTION_FAILURE, message);
    };
    let (sqlstate, what) = match code.as_str() {
        "3D000" => (UNDEFINED_DATABASE, "does not have this database"),
        "42501" => ("42501", "does not let this Connection's role connect to this database"),
        "53300" => (TOO_MANY_CONNECTIONS, "has too many connections"),
        "57P03" => (CANNOT_CONNECT_NOW, "is starting up, shutting down or in recovery"),
        "22023" | "22P02" | "22007" => ("22023", "refuses the value of a startup parameter"),
        "28000" | "28P01" => ("28000", "refuses the credential that the Connection names"),
        _ => {
            let message = format!("the upstream of the Connection `{connection}` cannot be used: {error}");
            return Told::new(CONNECTION_FAILURE, message);
        }
    };
    Told::new(sqlstate, format!("the upstream of the Connection `{connection}` {what}"))
}
