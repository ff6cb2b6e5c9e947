//! What we send as a client of the upstream.

use bytes::{BufMut, BytesMut};

use super::{count, cstr, empty, message, value};
use crate::{
    EncodeError,
    postgres::{Format, Target, startup::Version},
};

/// A wish for TLS.
pub fn ssl_request(to: &mut BytesMut) {
    to.put_u32(8);
    to.put_u32(80_877_103);
}

/// A wish to cancel.
///
/// # Errors
/// When the key is too long for the protocol.
pub fn cancel_request(to: &mut BytesMut, pid: u32, key: &[u8]) -> Result<(), EncodeError> {
    message(to, None, |to| {
        to.put_u32(80_877_102);
        to.put_u32(pid);
        to.put_slice(key);
        Ok(())
    })
}

/// The start of a session.
///
/// # Errors
/// When a name or value holds a NUL, or a name is empty.
pub fn startup(to: &mut BytesMut, version: Version, parameters: &[(&str, &str)]) -> Result<(), EncodeError> {
    message(to, None, |to| {
        to.put_u32(version.code());
        for (name, value) in parameters {
            if name.is_empty() {
                return Err(EncodeError::Nul);
            }
            cstr(to, name.as_bytes())?;
            cstr(to, value.as_bytes())?;
        }
        to.put_u8(0);
        Ok(())
    })
}

/// A password, as it is or hashed.
///
/// # Errors
/// When it holds a NUL.
pub fn password(to: &mut BytesMut, password: &[u8]) -> Result<(), EncodeError> {
    message(to, Some(b'p'), |to| cstr(to, password))
}

/// The choice of a SASL mechanism and its first message.
///
/// # Errors
/// When the mechanism holds a NUL or the message is too long.
pub fn sasl_initial(to: &mut BytesMut, mechanism: &str, first: &[u8]) -> Result<(), EncodeError> {
    message(to, Some(b'p'), |to| {
        cstr(to, mechanism.as_bytes())?;
        value(to, Some(first))
    })
}

/// A later message of a SASL mechanism.
///
/// # Errors
/// When it is too long.
pub fn sasl_response(to: &mut BytesMut, response: &[u8]) -> Result<(), EncodeError> {
    message(to, Some(b'p'), |to| {
        to.put_slice(response);
        Ok(())
    })
}

/// Run these statements.
///
/// # Errors
/// When the text holds a NUL or is too long.
pub fn query(to: &mut BytesMut, text: &str) -> Result<(), EncodeError> {
    message(to, Some(b'Q'), |to| cstr(to, text.as_bytes()))
}

/// Prepare a statement.
///
/// # Errors
/// When a text holds a NUL or a list is too long.
pub fn parse(to: &mut BytesMut, name: &str, text: &str, types: &[u32]) -> Result<(), EncodeError> {
    message(to, Some(b'P'), |to| {
        cstr(to, name.as_bytes())?;
        cstr(to, text.as_bytes())?;
        count(to, types.len())?;
        types.iter().for_each(|oid| to.put_u32(*oid));
        Ok(())
    })
}

/// What a Bind binds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bound<'a> {
    /// How the values are written: none, one for all, or one each.
    pub formats: &'a [Format],
    /// The values.
    pub values: &'a [Option<&'a [u8]>],
    /// How results are wanted.
    pub results: &'a [Format],
}

/// Make a portal.
///
/// # Errors
/// When a name holds a NUL or a list is too long.
pub fn bind(to: &mut BytesMut, portal: &str, statement: &str, bound: Bound<'_>) -> Result<(), EncodeError> {
    message(to, Some(b'B'), |to| {
        cstr(to, portal.as_bytes())?;
        cstr(to, statement.as_bytes())?;
        count(to, bound.formats.len())?;
        bound.formats.iter().for_each(|format| to.put_i16(format.code()));
        count(to, bound.values.len())?;
        bound.values.iter().try_for_each(|each| value(to, *each))?;
        count(to, bound.results.len())?;
        bound.results.iter().for_each(|format| to.put_i16(format.code()));
        Ok(())
    })
}

fn named(to: &mut BytesMut, tag: u8, target: Target<'_>) -> Result<(), EncodeError> {
    message(to, Some(tag), |to| {
        let (kind, name) = match target {
            Target::Statement(name) => (b'S', name),
            Target::Portal(name) => (b'P', name),
        };
        to.put_u8(kind);
        cstr(to, name.as_bytes())
    })
}

/// Describe a statement or portal.
///
/// # Errors
/// When its name holds a NUL.
pub fn describe(to: &mut BytesMut, target: Target<'_>) -> Result<(), EncodeError> {
    named(to, b'D', target)
}

/// Close a statement or portal.
///
/// # Errors
/// When its name holds a NUL.
pub fn close(to: &mut BytesMut, target: Target<'_>) -> Result<(), EncodeError> {
    named(to, b'C', target)
}

/// Run a portal.
///
/// # Errors
/// When its name holds a NUL.
pub fn execute(to: &mut BytesMut, portal: &str, max_rows: i32) -> Result<(), EncodeError> {
    message(to, Some(b'E'), |to| {
        cstr(to, portal.as_bytes())?;
        to.put_i32(max_rows);
        Ok(())
    })
}

/// The failure of a COPY.
///
/// # Errors
/// When the reason holds a NUL.
pub fn copy_fail(to: &mut BytesMut, reason: &str) -> Result<(), EncodeError> {
    message(to, Some(b'f'), |to| cstr(to, reason.as_bytes()))
}

/// End of an extended exchange.
pub fn sync(to: &mut BytesMut) {
    empty(to, b'S');
}

/// Send what is ready.
pub fn flush(to: &mut BytesMut) {
    empty(to, b'H');
}

/// The end of the session.
pub fn terminate(to: &mut BytesMut) {
    empty(to, b'X');
}
