//! A bounded cursor over one message.

use crate::DecodeError;

/// Reads fields from the front of a slice, and nothing beyond it. A sub-reader cannot leave its part, and
/// [`Reader::all`] rejects what nobody read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A reader of the next `n` bytes only.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn sub(&mut self, n: usize) -> Result<Self, DecodeError> {
        self.take(n).map(Self::new)
    }

    /// Whatever is left, which may be nothing.
    pub const fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// Ends reading.
    ///
    /// # Errors
    /// When bytes are left.
    pub const fn all(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }

    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    ///
    /// # Errors
    /// When none is left.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A big-endian 16-bit number.
    ///
    /// # Errors
    /// When too few bytes are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A big-endian signed 16-bit number.
    ///
    /// # Errors
    /// When too few bytes are left.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    /// A big-endian 32-bit number.
    ///
    /// # Errors
    /// When too few bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A big-endian signed 32-bit number.
    ///
    /// # Errors
    /// When too few bytes are left.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// The bytes up to the next NUL, which is consumed.
    ///
    /// # Errors
    /// When there is no NUL.
    pub fn cbytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let end = memchr::memchr(0, self.rest).ok_or(DecodeError::Unterminated)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    /// The UTF-8 text up to the next NUL, which is consumed.
    ///
    /// # Errors
    /// When there is no NUL, or the text is not UTF-8.
    pub fn cstr(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.cbytes()?).map_err(|_| DecodeError::Encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_reader_cannot_leave_its_part() {
        let mut outer = Reader::new(&[0, 1, 0, 2, 9]);
        let mut inner = outer.sub(2).unwrap();
        assert_eq!(inner.u16(), Ok(1));
        assert_eq!(inner.u8(), Err(DecodeError::Truncated));
        assert_eq!(outer.u16(), Ok(2));
        assert_eq!(outer.all(), Err(DecodeError::Trailing(1)));
    }

    #[test]
    fn strings_need_a_terminator_and_utf8() {
        assert_eq!(Reader::new(b"abc").cstr(), Err(DecodeError::Unterminated));
        assert_eq!(Reader::new(b"\xff\0").cstr(), Err(DecodeError::Encoding));
        let mut two = Reader::new(b"a\0\0");
        assert_eq!((two.cstr(), two.cstr()), (Ok("a"), Ok("")));
        assert_eq!(two.all(), Ok(()));
    }

    #[test]
    fn a_failed_read_consumes_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), Err(DecodeError::Truncated));
        assert_eq!(reader.take(4), Err(DecodeError::Truncated));
        assert_eq!(reader.rest(), &[1, 2, 3]);
        assert!(reader.is_empty());
    }
}
