//! PostgreSQL's protocol, versions 3.0 and 3.2.
//!
//! ```text
//! client                                       server
//!   SSLRequest | GSSENCRequest  ------------->          startup
//!              <-------------  one byte: S, N
//!   StartupMessage              ------------->
//!              <-------------  Authentication*, ParameterStatus, BackendKeyData, ReadyForQuery
//!   Query                       ------------->          frontend
//!              <-------------  RowDescription, DataRow*, CommandComplete | ErrorResponse   backend
//!              <-------------  ReadyForQuery
//!   Parse, Bind, Describe, Execute, Close, Flush, Sync  ->
//!              <-------------  ParseComplete, BindComplete, ... ReadyForQuery
//! ```
//! Before the StartupMessage packets have no tag: [`startup`]. After it [`ClientSplitter`] cuts what a client
//! sends into [`Frame`](crate::Frame)s, and [`ServerWalk`] or [`ServerSplitter`] walk over what a server sends without
//! assembling rows. [`frontend::Message`] and [`backend::Message`] are the meaning of one frame.

pub mod backend;
pub mod frontend;
mod lists;
mod split;
pub mod startup;
pub mod write;

pub use lists::{Data, Formats, Oids, Values};
pub use split::{ClientSplitter, Piece, ServerSplitter, ServerWalk, Step};

/// How a value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// As text.
    #[default]
    Text,
    /// As the type's binary form.
    Binary,
}

impl Format {
    /// Its number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }

    const fn decode(code: i16) -> Result<Self, crate::DecodeError> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            _ => Err(crate::DecodeError::Value { field: "a format code", value: code as i64 }),
        }
    }
}

/// What a Describe or Close names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a str),
    /// A portal.
    Portal(&'a str),
}

/// A session's transaction state, as ReadyForQuery says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// Not in a transaction.
    #[default]
    Idle,
    /// In a transaction.
    Transaction,
    /// In a transaction that failed.
    Failed,
}

impl TransactionStatus {
    /// Its letter on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::Transaction => b'T',
            Self::Failed => b'E',
        }
    }
}
