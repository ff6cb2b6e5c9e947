//! Why a client gets no session because of what it sent.

use wire::{DecodeError, EncodeError};

/// Why a client gets no session because of what it sent.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// It left.
    #[error("the client is gone")]
    Gone,
    /// It took too long.
    #[error("the startup took too long")]
    Timeout,
    /// Not a packet of PostgreSQL's protocol.
    #[error("this is not PostgreSQL's protocol 3: {0}")]
    Decode(#[from] DecodeError),
    /// Packets in an order that makes no sense.
    #[error("this request cannot come here")]
    Order,
    /// Bytes came in the clear after a request for encryption.
    #[error("unencrypted bytes follow the request for encryption")]
    Unencrypted,
    /// The TLS handshake failed.
    #[error("the TLS handshake with the client failed")]
    Tls,
    /// Direct TLS for something else.
    #[error("direct TLS needs the ALPN protocol `postgresql`")]
    Alpn,
    /// A startup parameter that is missing or not allowed.
    #[error("{message}")]
    Parameter {
        /// The SQLSTATE.
        sqlstate: &'static str,
        /// What is wrong.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// The upstream reported a setting that cannot be passed on.
    #[error("a setting of the upstream cannot be passed on: {0}")]
    Encode(#[from] EncodeError),
}

impl StartupError {
    /// A parameter that is refused.
    pub(super) fn parameter(sqlstate: &'static str, message: String, hint: &str) -> Self {
        Self::Parameter { sqlstate, message, hint: (!hint.is_empty()).then(|| hint.to_owned()) }
    }
}
