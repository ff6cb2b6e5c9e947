//! Why a login failed.

use wire::{DecodeError, EncodeError};

use crate::upstream::UpstreamError;

/// Why a login failed. None of the texts names the upstream's role, password or address.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// It cannot be reached.
    #[error(transparent)]
    Reach(#[from] UpstreamError),
    /// It closed the connection during the login.
    #[error("it closed the connection during the login")]
    Closed,
    /// It took too long.
    #[error("the login took too long")]
    Timeout,
    /// It sent what cannot be decoded.
    #[error("it does not keep to PostgreSQL's protocol: {0}")]
    Decode(#[from] DecodeError),
    /// It sent what is not due.
    #[error("it does not keep to PostgreSQL's protocol: {0}")]
    Protocol(&'static str),
    /// It refuses.
    #[error("it refused the login (SQLSTATE {})", .sqlstate.as_deref().unwrap_or("unknown"))]
    Refused {
        /// Its reason.
        sqlstate: Option<String>,
    },
    /// It asks for what we do not do.
    #[error("it asks for {0}")]
    Method(&'static str),
    /// It does not know the password itself.
    #[error("it did not prove that it knows the password")]
    Unproven,
    /// Its built-ins are not known.
    #[error("it is PostgreSQL {} (supported: 13 to 18)", .0 / 10_000)]
    Version(u32),
    /// A pooler stands between.
    #[error("a connection pooler stands before it: session state would mean nothing")]
    Pooler,
    /// Something changes a pinned setting.
    #[error("something on it changes `{0}` at login, which must keep the value it is given")]
    Unpinned(&'static str),
    /// The credential or database cannot be written.
    #[error("the credential or the database's name cannot be sent: {0}")]
    Encode(#[from] EncodeError),
}
