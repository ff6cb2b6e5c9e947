//! What the sidecar sends upstream on its own behalf, once a session is relayed. Never built from a client's
//! bytes.

use bytes::BytesMut;
use sql::Question;
use wire::{
    EncodeError,
    postgres::{
        Target,
        write::{self, Bound},
    },
};

/// Names that clients may not use begin with this.
pub(super) const RESERVED: &str = "chaperone_";
/// A statement for a catalog read; closed after each.
const READ: &str = "chaperone_read";
/// A portal that never exists.
const ABSENT: &str = "chaperone_refused";
/// A text that is not SQL: the server answers it with a syntax error, whatever the state of its transaction.
const NOT_SQL: &str = "chaperone refuses the statement";

/// Bytes of our own for the upstream.
#[derive(Debug)]
pub(super) struct Own {
    bytes: BytesMut,
}

impl Own {
    /// One catalog read. Begins by closing what a read that failed may have left; the answers are CloseComplete,
    /// ParseComplete, BindComplete, rows, CommandComplete, CloseComplete.
    pub(super) fn read(question: &Question) -> Result<Self, EncodeError> {
        Self::read_text(question.sql())
    }

    /// One read of the session's own state.
    pub(super) fn read_text(text: &str) -> Result<Self, EncodeError> {
        let mut bytes = BytesMut::new();
        write::close(&mut bytes, Target::Statement(READ))?;
        write::parse(&mut bytes, READ, text, &[])?;
        write::bind(&mut bytes, READ, READ, Bound { formats: &[], values: &[], results: &[] })?;
        write::execute(&mut bytes, READ, 0)?;
        write::close(&mut bytes, Target::Portal(READ))?;
        Ok(Self { bytes })
    }

    /// Closes the statement of the last read: the answer is CloseComplete.
    pub(super) fn end_of_reads() -> Result<Self, EncodeError> {
        let mut bytes = BytesMut::new();
        write::close(&mut bytes, Target::Statement(READ))?;
        Ok(Self { bytes })
    }

    /// A Query that fails.
    pub(super) fn failing_query() -> Result<Self, EncodeError> {
        let mut bytes = BytesMut::new();
        write::query(&mut bytes, NOT_SQL)?;
        Ok(Self { bytes })
    }

    /// A message of the extended protocol that fails.
    pub(super) fn failing_execute() -> Result<Self, EncodeError> {
        let mut bytes = BytesMut::new();
        write::execute(&mut bytes, ABSENT, 0)?;
        Ok(Self { bytes })
    }

    /// Asks for the answers so far, within an exchange of the client.
    pub(super) fn flush() -> Self {
        let mut bytes = BytesMut::new();
        write::flush(&mut bytes);
        Self { bytes }
    }

    /// Ends an exchange of our own.
    pub(super) fn sync() -> Self {
        let mut bytes = BytesMut::new();
        write::sync(&mut bytes);
        Self { bytes }
    }

    /// Ends the upstream session.
    pub(super) fn terminate() -> Self {
        let mut bytes = BytesMut::new();
        write::terminate(&mut bytes);
        Self { bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
