//! Counted lists inside messages: checked once, read without allocating.

use crate::{DecodeError, Reader, postgres::Format};

/// Bytes or text of a peer that are never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Data<'a>(pub &'a [u8]);

/// The size only.
impl std::fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// Format codes of Bind and of the Copy responses: none (all text), one for all, or one per value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Formats<'a> {
    codes: &'a [u8],
}

impl<'a> Formats<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = usize::from(reader.u16()?);
        let codes = reader.take(count * 2)?;
        let formats = Self { codes };
        let mut each = Reader::new(codes);
        while !each.is_empty() {
            Format::decode(each.i16()?)?;
        }
        Ok(formats)
    }

    /// Each code as it was sent.
    pub fn iter(&self) -> impl Iterator<Item = Format> + use<'a> {
        self.codes.chunks_exact(2).map(|code| if code == [0, 1] { Format::Binary } else { Format::Text })
    }

    /// How many codes were sent.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.codes.len() / 2
    }

    /// Whether none was sent: all values are text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The format of the value with this index.
    #[must_use]
    pub fn of(&self, index: usize) -> Format {
        match self.len() {
            0 => Format::Text,
            1 => self.iter().next().unwrap_or_default(),
            _ => self.iter().nth(index).unwrap_or_default(),
        }
    }

    /// Whether these codes fit `values` values: none, one, or as many.
    #[must_use]
    pub const fn fits(&self, values: usize) -> bool {
        self.len() <= 1 || self.len() == values
    }
}

/// Type OIDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oids<'a> {
    oids: &'a [u8],
}

impl<'a> Oids<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = usize::from(reader.u16()?);
        Ok(Self { oids: reader.take(count * 4)? })
    }

    /// Each OID; 0 means that the sender leaves it open.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.oids.as_chunks::<4>().0.iter().map(|oid| u32::from_be_bytes(*oid))
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.oids.len() / 4
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.oids.is_empty()
    }
}

/// Values, each with its length or NULL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Values<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Values<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = usize::from(reader.u16()?);
        let mut probe = reader.clone();
        let before = probe.len();
        for _ in 0..count {
            value(&mut probe)?;
        }
        let bytes = reader.take(before - probe.len())?;
        Ok(Self { count, bytes })
    }

    /// Each value; none for NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| value(&mut reader).ok())
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The count only: values are never printed.
impl std::fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").field("count", &self.count).finish_non_exhaustive()
    }
}

/// One value: its length, -1 for NULL, and its bytes.
pub(super) fn value<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
    let length = reader.i32()?;
    if length == -1 {
        return Ok(None);
    }
    let invalid = |_| DecodeError::Value { field: "a value's length", value: i64::from(length) };
    let length = usize::try_from(length).map_err(invalid)?;
    reader.take(length).map(Some)
}
