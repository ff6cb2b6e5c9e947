//! What can be wrong with bytes.

/// Why bytes are not a message. Never quotes them: they may hold values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field reaches past the end of its message.
    #[error("the message ends in the middle of a field")]
    Truncated,
    /// Bytes are left after the last field.
    #[error("{0} bytes follow the last field of the message")]
    Trailing(usize),
    /// The message is longer than its limit.
    #[error("the message claims {length} bytes, the limit is {limit}")]
    TooLong {
        /// What it claims.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The length field is smaller than the field itself.
    #[error("the message's length field says {0}, less than the field itself takes")]
    Length(u32),
    /// No message of this direction has that tag.
    #[error("no message has the tag 0x{0:02x}")]
    Tag(u8),
    /// A name or text is not UTF-8.
    #[error("a text is not UTF-8")]
    Encoding,
    /// A string has no terminator.
    #[error("a string has no terminator")]
    Unterminated,
    /// A number has no meaning where it stands.
    #[error("{field} is {value}, which has no meaning there")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it is.
        value: i64,
    },
    /// A protocol version that is not spoken here.
    #[error("protocol version {major}.{minor} is not spoken here")]
    Version {
        /// The part before the dot.
        major: u16,
        /// The part after it.
        minor: u16,
    },
}

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string holds a NUL, which would end it early.
    #[error("a string holds a NUL byte")]
    Nul,
    /// More than its length or count field can say.
    #[error("a field is too long for the protocol")]
    TooLong,
}
