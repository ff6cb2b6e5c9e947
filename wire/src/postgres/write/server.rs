//! What we send as the agent's server.

use bytes::{BufMut, BytesMut};

use super::{count, cstr, empty, message, value};
use crate::{
    EncodeError,
    postgres::{TransactionStatus, startup::Version},
};

/// How grave an error or notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// For a notice.
    Notice,
    /// For a notice.
    Warning,
}

impl Severity {
    const fn text(self) -> &'static [u8] {
        match self {
            Self::Error => b"ERROR",
            Self::Fatal => b"FATAL",
            Self::Notice => b"NOTICE",
            Self::Warning => b"WARNING",
        }
    }
}

/// What an error or notice says.
#[derive(Clone, Copy, Debug)]
pub struct ErrorText<'a> {
    /// How grave it is.
    pub severity: Severity,
    /// Five letters.
    pub sqlstate: &'a str,
    /// What is wrong.
    pub message: &'a str,
    /// More of it.
    pub detail: Option<&'a str>,
    /// What to do.
    pub hint: Option<&'a str>,
    /// Where in the text, from 1, in characters.
    pub position: Option<usize>,
}

impl<'a> ErrorText<'a> {
    /// An error with a message only.
    #[must_use]
    pub const fn new(severity: Severity, sqlstate: &'a str, message: &'a str) -> Self {
        Self { severity, sqlstate, message, detail: None, hint: None, position: None }
    }

    fn write(&self, to: &mut BytesMut) {
        let Self { severity, sqlstate, message, detail, hint, position } = self;
        text(to, b'S', severity.text());
        text(to, b'V', severity.text());
        text(to, b'C', sqlstate.as_bytes());
        text(to, b'M', message.as_bytes());
        detail.iter().for_each(|detail| text(to, b'D', detail.as_bytes()));
        hint.iter().for_each(|hint| text(to, b'H', hint.as_bytes()));
        position.iter().for_each(|position| text(to, b'P', position.to_string().as_bytes()));
        to.put_u8(0);
    }
}

/// The longest text of one field; our own texts may quote names that a client chose.
const MAX_FIELD: usize = 64 * 1024;

/// One field. An error must always be possible, so a NUL becomes a space and the end is cut off.
fn text(to: &mut BytesMut, letter: u8, text: &[u8]) {
    let kept = match std::str::from_utf8(text) {
        Ok(text) => text.get(..text.floor_char_boundary(MAX_FIELD)).unwrap_or_default().as_bytes(),
        Err(_) => b"?",
    };
    to.put_u8(letter);
    kept.iter().for_each(|byte| to.put_u8(if *byte == 0 { b' ' } else { *byte }));
    to.put_u8(0);
}

/// An error.
pub fn error(to: &mut BytesMut, error: &ErrorText<'_>) {
    fields(to, b'E', error);
}

/// A notice.
pub fn notice(to: &mut BytesMut, notice: &ErrorText<'_>) {
    fields(to, b'N', notice);
}

/// Fields are bounded, so that their sum fits any length field.
fn fields(to: &mut BytesMut, tag: u8, error: &ErrorText<'_>) {
    let mut body = BytesMut::new();
    error.write(&mut body);
    to.put_u8(tag);
    to.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    to.put_slice(&body);
}

/// A step of authentication without content.
fn authentication(to: &mut BytesMut, step: u32) {
    to.put_u8(b'R');
    to.put_u32(8);
    to.put_u32(step);
}

/// Authentication is done.
pub fn authentication_ok(to: &mut BytesMut) {
    authentication(to, 0);
}

/// The password is wanted as it is.
pub fn authentication_cleartext(to: &mut BytesMut) {
    authentication(to, 3);
}

/// A setting that the client should know.
///
/// # Errors
/// When a text holds a NUL.
pub fn parameter_status(to: &mut BytesMut, name: &str, value: &str) -> Result<(), EncodeError> {
    message(to, Some(b'S'), |to| {
        cstr(to, name.as_bytes())?;
        cstr(to, value.as_bytes())
    })
}

/// What a cancel request must say.
///
/// # Errors
/// When the key is too long for the protocol.
pub fn backend_key_data(to: &mut BytesMut, pid: u32, key: &[u8]) -> Result<(), EncodeError> {
    message(to, Some(b'K'), |to| {
        to.put_u32(pid);
        to.put_slice(key);
        Ok(())
    })
}

/// The next query may come.
pub fn ready_for_query(to: &mut BytesMut, status: TransactionStatus) {
    to.put_u8(b'Z');
    to.put_u32(5);
    to.put_u8(status.code());
}

/// What of the protocol we know.
///
/// # Errors
/// When a name holds a NUL.
pub fn negotiate(to: &mut BytesMut, spoken: Version, unknown: &[&str]) -> Result<(), EncodeError> {
    message(to, Some(b'v'), |to| {
        // The documentation speaks of the minor version; servers send, and clients read, both parts.
        to.put_u32(spoken.code());
        to.put_u32(u32::try_from(unknown.len()).map_err(|_| EncodeError::TooLong)?);
        unknown.iter().try_for_each(|name| cstr(to, name.as_bytes()))
    })
}

/// The end of a command.
///
/// # Errors
/// When the tag holds a NUL.
pub fn command_complete(to: &mut BytesMut, tag: &str) -> Result<(), EncodeError> {
    message(to, Some(b'C'), |to| cstr(to, tag.as_bytes()))
}

/// A row.
///
/// # Errors
/// When there are too many values or one is too long.
pub fn data_row(to: &mut BytesMut, values: &[Option<&[u8]>]) -> Result<(), EncodeError> {
    message(to, Some(b'D'), |to| {
        count(to, values.len())?;
        values.iter().try_for_each(|each| value(to, *each))
    })
}

/// Columns of type text, in text format.
///
/// # Errors
/// When a name holds a NUL or there are too many.
pub fn text_row_description(to: &mut BytesMut, names: &[&str]) -> Result<(), EncodeError> {
    const TEXT: u32 = 25;
    message(to, Some(b'T'), |to| {
        count(to, names.len())?;
        for name in names {
            cstr(to, name.as_bytes())?;
            to.put_u32(0);
            to.put_i16(0);
            to.put_u32(TEXT);
            to.put_i16(-1);
            to.put_i32(-1);
            to.put_i16(0);
        }
        Ok(())
    })
}

/// Answers without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bare {
    /// A statement was prepared.
    ParseComplete,
    /// A portal was made.
    BindComplete,
    /// A statement or portal was closed.
    CloseComplete,
    /// There are no columns.
    NoData,
    /// There was no statement.
    EmptyQueryResponse,
    /// More rows remain.
    PortalSuspended,
    /// The end of a COPY's data.
    CopyDone,
}

/// An answer without content.
pub fn bare(to: &mut BytesMut, answer: Bare) {
    let tag = match answer {
        Bare::ParseComplete => b'1',
        Bare::BindComplete => b'2',
        Bare::CloseComplete => b'3',
        Bare::NoData => b'n',
        Bare::EmptyQueryResponse => b'I',
        Bare::PortalSuspended => b's',
        Bare::CopyDone => b'c',
    };
    empty(to, tag);
}
