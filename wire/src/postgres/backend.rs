//! What a server sends after startup.

use crate::{
    DecodeError, Frame, Reader,
    postgres::{Data, Format, Formats, Oids, TransactionStatus, Values, lists::value},
};

/// The longest message that is assembled. Rows, COPY data and function results may be longer: they stream.
pub const MAX_ASSEMBLED: usize = 16 * 1024 * 1024;
/// The longest message at all: what a length field can say.
pub const MAX_STREAMED: usize = 0x7fff_ffff;

/// One message of a server. Borrows from its frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// `R`: a step of authentication.
    Authentication(Authentication<'a>),
    /// `K`: what a cancel request must say.
    BackendKeyData(KeyData<'a>),
    /// `2`
    BindComplete,
    /// `3`
    CloseComplete,
    /// `C`: the command's tag.
    CommandComplete(&'a str),
    /// `d`
    CopyData(Data<'a>),
    /// `c`
    CopyDone,
    /// `G`
    CopyInResponse(CopyFormats<'a>),
    /// `H`
    CopyOutResponse(CopyFormats<'a>),
    /// `W`
    CopyBothResponse(CopyFormats<'a>),
    /// `D`
    DataRow(Values<'a>),
    /// `I`
    EmptyQueryResponse,
    /// `E`
    ErrorResponse(Fields<'a>),
    /// `V`: the result, or NULL.
    FunctionCallResponse(Option<Data<'a>>),
    /// `v`
    NegotiateProtocolVersion(Negotiation<'a>),
    /// `n`
    NoData,
    /// `N`
    NoticeResponse(Fields<'a>),
    /// `A`
    NotificationResponse(Notification<'a>),
    /// `t`
    ParameterDescription(Oids<'a>),
    /// `S`: name and value.
    ParameterStatus(&'a str, &'a str),
    /// `1`
    ParseComplete,
    /// `s`
    PortalSuspended,
    /// `Z`
    ReadyForQuery(TransactionStatus),
    /// `T`
    RowDescription(RowDescription<'a>),
}

/// A step of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Done.
    Ok,
    /// The password as it is.
    Cleartext,
    /// The password hashed with this salt.
    Md5([u8; 4]),
    /// One of these mechanisms.
    Sasl(Mechanisms<'a>),
    /// A later message of the mechanism.
    SaslContinue(Data<'a>),
    /// Its last one.
    SaslFinal(Data<'a>),
    /// A method that is not spoken here (Kerberos, GSSAPI, SSPI, SCM, OAuth and what is to come).
    Other(u32),
}

/// The SASL mechanisms that a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms<'a> {
    bytes: &'a [u8],
}

/// What a cancel request must say: 4 bytes in protocol 3.0, up to 256 in 3.2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyData<'a> {
    /// The server process.
    pub pid: u32,
    /// The secret.
    pub key: &'a [u8],
}

/// Formats of a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyFormats<'a> {
    /// Of the whole.
    pub overall: Format,
    /// Of each column.
    pub columns: Formats<'a>,
}

/// The fields of an error or notice. Their texts are bytes: before login is complete a server may use any
/// encoding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fields<'a> {
    bytes: &'a [u8],
}

/// What of the protocol the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiation<'a> {
    /// The newest version that it speaks, as servers write it: both parts.
    pub newest: u32,
    /// The options that it does not know.
    pub unknown: Vec<&'a str>,
}

/// A notification of another session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Notification<'a> {
    /// The notifying process.
    pub pid: u32,
    /// The channel.
    pub channel: &'a str,
    /// What it says.
    pub payload: &'a str,
}

/// The columns of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowDescription<'a> {
    count: usize,
    bytes: &'a [u8],
}

/// One column of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its label.
    pub name: &'a str,
    /// The table that it comes from; 0 when it is no plain column.
    pub table: u32,
    /// Its number there; 0 when it is no plain column.
    pub attribute: i16,
    /// Its type.
    pub type_oid: u32,
    /// The type's size.
    pub type_size: i16,
    /// The type's modifier.
    pub type_modifier: i32,
    /// How it is written.
    pub format: Format,
}

impl<'a> Message<'a> {
    /// The longest message with this tag, header included.
    ///
    /// # Errors
    /// When servers have no message with this tag.
    pub const fn limit(tag: u8) -> Result<usize, DecodeError> {
        match tag {
            b'D' | b'd' | b'V' => Ok(MAX_STREAMED),
            b'R' | b'K' | b'2' | b'3' | b'C' | b'c' | b'G' | b'H' | b'W' | b'I' | b'E' | b'v' | b'n'
            | b'N' | b'A' | b't' | b'S' | b'1' | b's' | b'Z' | b'T' => Ok(MAX_ASSEMBLED),
            _ => Err(DecodeError::Tag(tag)),
        }
    }

    /// The meaning of a frame.
    ///
    /// # Errors
    /// When it is not exactly one message of a server.
    pub fn decode(frame: &'a Frame) -> Result<Self, DecodeError> {
        Self::read(frame.tag(), frame.body())
    }

    /// The meaning of a message that was not cut out: its tag and what follows its length.
    ///
    /// # Errors
    /// When it is not exactly one message of a server.
    pub fn read(tag: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let message = Self::simple(tag).map_or_else(|| Self::with_fields(tag, &mut reader), Ok)?;
        reader.all()?;
        Ok(message)
    }

    /// Messages without a body.
    const fn simple(tag: u8) -> Option<Self> {
        Some(match tag {
            b'1' => Self::ParseComplete,
            b'2' => Self::BindComplete,
            b'3' => Self::CloseComplete,
            b'c' => Self::CopyDone,
            b'I' => Self::EmptyQueryResponse,
            b'n' => Self::NoData,
            b's' => Self::PortalSuspended,
            _ => return None,
        })
    }

    fn with_fields(tag: u8, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match tag {
            b'D' => Self::DataRow(Values::read(reader)?),
            b'd' => Self::CopyData(Data(reader.rest())),
            b'C' => Self::CommandComplete(reader.cstr()?),
            b'Z' => Self::ReadyForQuery(status(reader)?),
            b'T' => Self::RowDescription(RowDescription::read(reader)?),
            b't' => Self::ParameterDescription(Oids::read(reader)?),
            b'E' => Self::ErrorResponse(Fields::read(reader)?),
            b'N' => Self::NoticeResponse(Fields::read(reader)?),
            b'S' => Self::ParameterStatus(reader.cstr()?, reader.cstr()?),
            b'A' => Self::NotificationResponse(Notification::read(reader)?),
            b'G' => Self::CopyInResponse(CopyFormats::read(reader)?),
            b'H' => Self::CopyOutResponse(CopyFormats::read(reader)?),
            b'W' => Self::CopyBothResponse(CopyFormats::read(reader)?),
            b'R' => Self::Authentication(Authentication::read(reader)?),
            b'K' => Self::BackendKeyData(KeyData::read(reader)?),
            b'v' => Self::NegotiateProtocolVersion(Negotiation::read(reader)?),
            b'V' => Self::FunctionCallResponse(value(reader)?.map(Data)),
            _ => return Err(DecodeError::Tag(tag)),
        })
    }
}

fn status(reader: &mut Reader<'_>) -> Result<TransactionStatus, DecodeError> {
    match reader.u8()? {
        b'I' => Ok(TransactionStatus::Idle),
        b'T' => Ok(TransactionStatus::Transaction),
        b'E' => Ok(TransactionStatus::Failed),
        other => Err(DecodeError::Value { field: "the transaction status", value: i64::from(other) }),
    }
}

impl<'a> Authentication<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u32()? {
            0 => Self::Ok,
            3 => Self::Cleartext,
            5 => {
                let salt = reader.take(4)?;
                Self::Md5(salt.try_into().map_err(|_| DecodeError::Truncated)?)
            }
            10 => Self::Sasl(Mechanisms::read(reader)?),
            11 => Self::SaslContinue(Data(reader.rest())),
            12 => Self::SaslFinal(Data(reader.rest())),
            other => {
                reader.rest();
                Self::Other(other)
            }
        })
    }
}

impl<'a> Mechanisms<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let bytes = reader.rest();
        let mut each = Reader::new(bytes);
        while !each.cstr()?.is_empty() {}
        each.all()?;
        Ok(Self { bytes })
    }

    /// Each name.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || reader.cstr().ok().filter(|name| !name.is_empty()))
    }
}

impl<'a> KeyData<'a> {
    /// The shortest and the longest key.
    const KEY: std::ops::RangeInclusive<usize> = 4..=256;

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let data = Self { pid: reader.u32()?, key: reader.rest() };
        if Self::KEY.contains(&data.key.len()) {
            return Ok(data);
        }
        let value = i64::try_from(data.key.len()).unwrap_or(i64::MAX);
        Err(DecodeError::Value { field: "the length of a cancel key", value })
    }
}

/// Without the secret.
impl std::fmt::Debug for KeyData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyData").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl<'a> CopyFormats<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let overall = Format::decode(i16::from(reader.u8()?))?;
        Ok(Self { overall, columns: Formats::read(reader)? })
    }
}

impl<'a> Fields<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let bytes = reader.rest();
        let mut each = Reader::new(bytes);
        while each.u8()? != 0 {
            each.cbytes()?;
        }
        each.all()?;
        Ok(Self { bytes })
    }

    /// Each field: its letter and its text.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || {
            let letter = reader.u8().ok().filter(|letter| *letter != 0)?;
            Some((letter, reader.cbytes().ok()?))
        })
    }

    /// The field with this letter.
    #[must_use]
    pub fn field(&self, letter: u8) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == letter).map(|(_, text)| text)
    }

    /// The field with this letter, if it is UTF-8.
    #[must_use]
    pub fn text(&self, letter: u8) -> Option<&'a str> {
        std::str::from_utf8(self.field(letter)?).ok()
    }

    /// The SQLSTATE: five upper-case letters or digits.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&'a str> {
        let plain = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        self.text(b'C').filter(|code| code.len() == 5 && code.bytes().all(plain))
    }
}

/// The SQLSTATE only: texts may hold values.
impl std::fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fields").field("sqlstate", &self.sqlstate()).finish_non_exhaustive()
    }
}

impl<'a> Negotiation<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let newest = reader.u32()?;
        let count = reader.u32()?;
        let mut unknown = Vec::new();
        for _ in 0..count {
            unknown.push(reader.cstr()?);
        }
        Ok(Self { newest, unknown })
    }
}

impl<'a> Notification<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { pid: reader.u32()?, channel: reader.cstr()?, payload: reader.cstr()? })
    }
}

/// Without the payload.
impl std::fmt::Debug for Notification<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Notification");
        shown.field("pid", &self.pid).field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl<'a> RowDescription<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = usize::from(reader.u16()?);
        let mut probe = reader.clone();
        for _ in 0..count {
            Column::read(&mut probe)?;
        }
        let bytes = reader.take(reader.len() - probe.len())?;
        Ok(Self { count, bytes })
    }

    /// How many columns.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Each column.
    pub fn iter(&self) -> impl Iterator<Item = Column<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| Column::read(&mut reader).ok())
    }
}

impl<'a> Column<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: reader.cstr()?,
            table: reader.u32()?,
            attribute: reader.i16()?,
            type_oid: reader.u32()?,
            type_size: reader.i16()?,
            type_modifier: reader.i32()?,
            format: Format::decode(reader.i16()?)?,
        })
    }
}
