//! Messages that we write ourselves: as a client of the upstream, and as the server of the agent.

mod client;
mod server;

use bytes::{BufMut, BytesMut};

use crate::EncodeError;

pub use client::{
    Bound, bind, cancel_request, close, copy_fail, describe, execute, flush, parse, password, query,
    sasl_initial, sasl_response, ssl_request, startup, sync, terminate,
};
pub use server::{
    Bare, ErrorText, Severity, authentication_cleartext, authentication_ok, backend_key_data, bare,
    command_complete, data_row, error, negotiate, notice, parameter_status, ready_for_query,
    text_row_description,
};

/// Writes one message: tag, length, and what `body` writes. On an error nothing of it stays.
fn message(
    to: &mut BytesMut,
    tag: Option<u8>,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = to.len();
    let written = write_at(to, tag, body);
    if written.is_err() {
        to.truncate(start);
    }
    written
}

fn write_at(
    to: &mut BytesMut,
    tag: Option<u8>,
    body: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    if let Some(tag) = tag {
        to.put_u8(tag);
    }
    let start = to.len();
    to.put_u32(0);
    body(to)?;
    let length = i32::try_from(to.len() - start).map_err(|_| EncodeError::TooLong)?;
    let field = to.get_mut(start..start + 4).ok_or(EncodeError::TooLong)?;
    field.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A message without a body.
fn empty(to: &mut BytesMut, tag: u8) {
    to.put_u8(tag);
    to.put_u32(4);
}

/// A string and its terminator.
fn cstr(to: &mut BytesMut, text: &[u8]) -> Result<(), EncodeError> {
    if memchr::memchr(0, text).is_some() {
        return Err(EncodeError::Nul);
    }
    to.put_slice(text);
    to.put_u8(0);
    Ok(())
}

/// A 16-bit count.
fn count(to: &mut BytesMut, count: usize) -> Result<(), EncodeError> {
    to.put_u16(u16::try_from(count).map_err(|_| EncodeError::TooLong)?);
    Ok(())
}

/// A value with its length, or NULL.
fn value(to: &mut BytesMut, value: Option<&[u8]>) -> Result<(), EncodeError> {
    let Some(value) = value else {
        to.put_i32(-1);
        return Ok(());
    };
    to.put_i32(i32::try_from(value.len()).map_err(|_| EncodeError::TooLong)?);
    to.put_slice(value);
    Ok(())
}
