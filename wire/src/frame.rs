//! One message as it came: tag, length, body.

use bytes::Bytes;

use crate::{DecodeError, Reader};

/// A whole message of a protocol whose messages are a tag byte, a length that counts itself, and a body.
/// Keeps the original bytes: they, and nothing rebuilt, are what may be forwarded.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    raw: Bytes,
}

impl Frame {
    /// Tag and length.
    pub const HEADER: usize = 5;

    /// Takes `raw` as one message: its length field must say exactly what is there.
    ///
    /// # Errors
    /// When it does not.
    pub fn new(raw: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&raw);
        reader.u8()?;
        let length = reader.u32()?;
        let body = usize::try_from(length).unwrap_or(usize::MAX).checked_sub(4);
        let body = body.ok_or(DecodeError::Length(length))?;
        reader.take(body)?;
        reader.all()?;
        Ok(Self { raw })
    }

    /// What kind of message it is.
    #[must_use]
    pub fn tag(&self) -> u8 {
        self.raw.first().copied().unwrap_or_default()
    }

    /// What follows tag and length.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.raw.get(Self::HEADER..).unwrap_or_default()
    }

    /// The original bytes.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The original bytes, without copying them.
    #[must_use]
    pub fn into_raw(self) -> Bytes {
        self.raw
    }
}

/// Tag and size only: a body may hold values and secrets.
impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tag = char::from(self.tag());
        f.debug_struct("Frame").field("tag", &tag).field("bytes", &self.raw.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_must_be_exact() {
        assert!(Frame::new(Bytes::from_static(b"S\0\0\0\x04")).is_ok());
        assert_eq!(Frame::new(Bytes::from_static(b"S\0\0\0\x03")), Err(DecodeError::Length(3)));
        assert_eq!(Frame::new(Bytes::from_static(b"S\0\0\0\x05")), Err(DecodeError::Truncated));
        assert_eq!(Frame::new(Bytes::from_static(b"S\0\0\0\x04x")), Err(DecodeError::Trailing(1)));
        assert_eq!(Frame::new(Bytes::from_static(b"S\0\0")), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_body_is_never_printed() {
        let frame = Frame::new(Bytes::from_static(b"p\0\0\0\x0bsecret\0")).unwrap();
        assert!(!format!("{frame:?}").contains("secret"));
    }
}
