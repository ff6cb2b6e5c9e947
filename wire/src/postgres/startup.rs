//! What comes before a session: packets with a length and no tag.

use bytes::{Bytes, BytesMut};

use crate::{DecodeError, Reader};

/// The longest packet; the server's own limit.
pub const MAX_PACKET: usize = 10_000;
/// The first byte of a TLS record that holds a ClientHello: direct TLS.
pub const TLS_HANDSHAKE: u8 = 0x16;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The part before the dot.
    pub major: u16,
    /// The part after it.
    pub minor: u16,
}

impl Version {
    /// What everything speaks.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// With longer cancel keys.
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    /// Its number on the wire.
    #[must_use]
    pub fn code(self) -> u32 {
        u32::from(self.major) << 16 | u32::from(self.minor)
    }
}

/// One packet. Borrows from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A wish for TLS.
    SslRequest,
    /// A wish for GSSAPI encryption.
    GssEncRequest,
    /// A wish to cancel what another connection runs.
    CancelRequest(Cancel<'a>),
    /// The start of a session.
    Start(Start<'a>),
}

/// A wish to cancel: what the other connection's BackendKeyData said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cancel<'a> {
    /// The process.
    pub pid: u32,
    /// The secret.
    pub key: &'a [u8],
}

/// The start of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The version that the client wishes; its major part is 3.
    pub version: Version,
    /// Names and values, as sent.
    pub parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Start<'a> {
    /// The value of a parameter. The last one counts, as in the server.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().rev().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }
}

impl<'a> Packet<'a> {
    /// Cuts the next packet off `buffer`; none while it is not whole. Returns what follows its length.
    ///
    /// # Errors
    /// When its length is too small or too large, seen as soon as the length is there.
    pub fn split(buffer: &mut BytesMut) -> Result<Option<Bytes>, DecodeError> {
        let Ok(claimed) = Reader::new(buffer).u32() else { return Ok(None) };
        let length = usize::try_from(claimed).unwrap_or(usize::MAX);
        if length < 8 {
            return Err(DecodeError::Length(claimed));
        }
        if length > MAX_PACKET {
            return Err(DecodeError::TooLong { length, limit: MAX_PACKET });
        }
        if buffer.len() < length {
            return Ok(None);
        }
        let mut packet = buffer.split_to(length).freeze();
        Ok(Some(packet.split_off(4)))
    }

    /// The meaning of a packet, given what follows its length.
    ///
    /// # Errors
    /// When it is none of the four, or of a major version other than 3.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let code = reader.u32()?;
        let packet = match code {
            SSL => Self::SslRequest,
            GSSENC => Self::GssEncRequest,
            CANCEL => Self::CancelRequest(Cancel::read(&mut reader)?),
            _ => Self::Start(Start::read(code, &mut reader)?),
        };
        reader.all()?;
        Ok(packet)
    }
}

impl<'a> Cancel<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let cancel = Self { pid: reader.u32()?, key: reader.rest() };
        if (4..=256).contains(&cancel.key.len()) {
            return Ok(cancel);
        }
        let value = i64::try_from(cancel.key.len()).unwrap_or(i64::MAX);
        Err(DecodeError::Value { field: "the length of a cancel key", value })
    }
}

/// Without the secret.
impl std::fmt::Debug for Cancel<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cancel").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl<'a> Start<'a> {
    fn read(code: u32, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let part = |part: u32| u16::try_from(part & 0xffff).unwrap_or_default();
        let version = Version { major: part(code >> 16), minor: part(code) };
        if version.major != 3 {
            return Err(DecodeError::Version { major: version.major, minor: version.minor });
        }
        let mut parameters = Vec::new();
        loop {
            let name = reader.cstr()?;
            if name.is_empty() {
                return Ok(Self { version, parameters });
            }
            parameters.push((name, reader.cstr()?));
        }
    }
}
