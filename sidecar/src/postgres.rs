//! PostgreSQL: the phases of a session, each in its own module.
//!
//! ```text
//! startup   what the client wants, TLS towards it        -> Wanted
//! login     the upstream session, logged in and pinned   -> LoggedIn
//! relay     frames, verdicts, answers                    -> Outcome
//! cancel    keys of our own, mapped to the upstream's
//! ```
//! No module here writes a client's bytes to an upstream but the relay's writer, and that one only takes
//! what was cleared.

pub mod cancel;
pub mod catalog;
mod decision;
mod gate;
mod known;
pub mod login;
mod own;
mod parser;
mod refusal;
pub mod relay;
pub mod startup;
mod statements;

use bytes::BytesMut;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    policy::{Documents, SessionGuard},
    recorder::Recorder,
    stream::Stream,
};

pub use cancel::CancelGate;
pub use catalog::Catalogs;
pub use login::{Another, LoggedIn, ServerVersion};

/// A session that is ready for statements: the client has its ReadyForQuery, the upstream is idle.
#[derive(Debug)]
pub struct Session {
    /// Names it in records.
    pub id: Uuid,
    /// Towards the client.
    pub client: Stream,
    /// What the client sent already.
    pub client_buffer: BytesMut,
    /// Towards the upstream.
    pub upstream: LoggedIn,
    /// The Connection's `namespace/name`.
    pub connection: String,
    /// The database.
    pub database: String,
    /// The user that the client claims to be; recorded, not believed.
    pub claimed_user: String,
    /// Where the document in force is found.
    pub documents: Documents,
    /// Says which generation this session uses, and who it is to `decide`.
    pub guard: SessionGuard,
    /// Where records go before bytes go.
    pub recorder: Recorder,
    /// Says when a cancel may go upstream.
    pub cancel: CancelGate,
    /// What is known of the upstreams' catalogs.
    pub catalogs: Catalogs,
    /// Opens further upstream sessions with the same lease, database and pins.
    pub another: Another,
    /// When cancelled: finish what is outstanding within a bounded time, say so and return.
    pub shutdown: CancellationToken,
}

/// How a session went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it ended.
    pub reason: EndReason,
    /// Decided frames.
    pub statements: u64,
    /// Refused ones among them.
    pub refused: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

impl Outcome {
    /// Of a session that ended before its first byte.
    pub(crate) const fn before_anything(reason: EndReason) -> Self {
        Self { reason, statements: 0, refused: 0, bytes_in: 0, bytes_out: 0 }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The client said so.
    Terminated,
    /// The client is gone without a word.
    ClientGone,
    /// The upstream is gone.
    UpstreamGone,
    /// The client sent what cannot be decoded, or out of order.
    ProtocolViolation,
    /// The upstream sent what cannot be decoded, or out of order.
    UpstreamViolation,
    /// The server would read texts in another way than we do.
    Misread,
    /// The policy in force would not allow what the session has become.
    PolicyChanged,
    /// The record could not be kept.
    Unrecorded,
    /// The sidecar ends.
    Drained,
    /// A defect of the sidecar.
    Internal,
}

impl EndReason {
    /// In words, for the record.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Terminated => "ended by the client",
            Self::ClientGone => "the client is gone",
            Self::UpstreamGone => "the upstream is gone",
            Self::ProtocolViolation => "the client broke the protocol",
            Self::UpstreamViolation => "the upstream broke the protocol",
            Self::Misread => "the server would read texts in another way",
            Self::PolicyChanged => "the policy no longer allows the session's state",
            Self::Unrecorded => "records could not be kept",
            Self::Drained => "the sidecar ended",
            Self::Internal => "defect of the sidecar",
        }
    }
}
