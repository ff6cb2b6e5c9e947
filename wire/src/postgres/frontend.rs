//! What a client sends after startup.

use crate::{
    DecodeError, Frame, Reader,
    postgres::{Data, Formats, Oids, Target, Values, lists::value},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The longest statement text.
pub const MAX_TEXT: usize = 16 * MIB;
/// The longest Bind, FunctionCall or CopyData: values are long, but everything is held until it is decided.
pub const MAX_VALUES: usize = 64 * MIB;
/// The longest of all others, which hold names, a reason or a token.
pub const MAX_OTHER: usize = 64 * KIB;
/// Room for names and parameter types beside a text.
const BESIDE_TEXT: usize = 2 * MAX_OTHER + 4 * 65_536;

/// One message of a client. Borrows from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Run these statements.
    Query(Query<'a>),
    /// Prepare a statement.
    Parse(Parse<'a>),
    /// Make a portal.
    Bind(Bind<'a>),
    /// Describe a statement or portal.
    Describe(Target<'a>),
    /// Run a portal.
    Execute(Execute<'a>),
    /// Close a statement or portal.
    Close(Target<'a>),
    /// End of an extended exchange.
    Sync,
    /// Send what is ready.
    Flush,
    /// Data of a COPY.
    CopyData(Data<'a>),
    /// The end of a COPY's data.
    CopyDone,
    /// The failure of a COPY, with its reason.
    CopyFail(Data<'a>),
    /// Call a function by OID.
    FunctionCall(FunctionCall<'a>),
    /// The end of the session.
    Terminate,
    /// An answer to an authentication request.
    Password(Password<'a>),
}

/// Run these statements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Their text.
    pub text: &'a str,
}

/// Prepare a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    /// The statement's name; empty is the unnamed one.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Types of its parameters, as far as the client says.
    pub types: Oids<'a>,
}

/// Make a portal from a prepared statement and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// The portal's name; empty is the unnamed one.
    pub portal: &'a str,
    /// The statement's name.
    pub statement: &'a str,
    /// How the values are written.
    pub formats: Formats<'a>,
    /// The values.
    pub values: Values<'a>,
    /// How results are wanted.
    pub results: Formats<'a>,
}

/// Run a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The portal's name.
    pub portal: &'a str,
    /// At most that many rows; 0 (and, as in the server, anything below) is all.
    pub max_rows: i32,
}

/// Call a function by OID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionCall<'a> {
    /// Which function.
    pub function: u32,
    /// How the arguments are written.
    pub formats: Formats<'a>,
    /// The arguments.
    pub arguments: Values<'a>,
    /// How the result is wanted.
    pub result: super::Format,
}

/// An answer to an authentication request; what it means depends on the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a> {
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The longest message with this tag, header included.
    ///
    /// # Errors
    /// When clients have no message with this tag.
    pub const fn limit(tag: u8) -> Result<usize, DecodeError> {
        match tag {
            b'Q' | b'P' => Ok(MAX_TEXT + BESIDE_TEXT),
            b'B' | b'F' | b'd' => Ok(MAX_VALUES),
            b'D' | b'E' | b'C' | b'S' | b'H' | b'c' | b'f' | b'X' | b'p' => Ok(MAX_OTHER),
            _ => Err(DecodeError::Tag(tag)),
        }
    }

    /// The meaning of a frame.
    ///
    /// # Errors
    /// When it is not exactly one message of a client.
    pub fn decode(frame: &'a Frame) -> Result<Self, DecodeError> {
        Self::read(frame.tag(), frame.body())
    }

    fn read(tag: u8, body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let message = match tag {
            b'Q' => Self::Query(Query { text: text(&mut reader)? }),
            b'P' => Self::Parse(Parse::read(&mut reader)?),
            b'B' => Self::Bind(Bind::read(&mut reader)?),
            b'D' => Self::Describe(target(&mut reader)?),
            b'E' => Self::Execute(Execute { portal: reader.cstr()?, max_rows: reader.i32()? }),
            b'C' => Self::Close(target(&mut reader)?),
            b'S' => Self::Sync,
            b'H' => Self::Flush,
            b'd' => Self::CopyData(Data(reader.rest())),
            b'c' => Self::CopyDone,
            b'f' => Self::CopyFail(Data(reader.cstr()?.as_bytes())),
            b'F' => Self::FunctionCall(FunctionCall::read(&mut reader)?),
            b'X' => Self::Terminate,
            b'p' => Self::Password(Password { body: reader.rest() }),
            _ => return Err(DecodeError::Tag(tag)),
        };
        reader.all()?;
        Ok(message)
    }
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let text = reader.cstr()?;
    if text.len() > MAX_TEXT {
        return Err(DecodeError::TooLong { length: text.len(), limit: MAX_TEXT });
    }
    Ok(text)
}

fn target<'a>(reader: &mut Reader<'a>) -> Result<Target<'a>, DecodeError> {
    match reader.u8()? {
        b'S' => reader.cstr().map(Target::Statement),
        b'P' => reader.cstr().map(Target::Portal),
        other => Err(DecodeError::Value { field: "the kind of thing named", value: i64::from(other) }),
    }
}

impl<'a> Parse<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { name: reader.cstr()?, text: text(reader)?, types: Oids::read(reader)? })
    }
}

impl<'a> Bind<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let bind = Self {
            portal: reader.cstr()?,
            statement: reader.cstr()?,
            formats: Formats::read(reader)?,
            values: Values::read(reader)?,
            results: Formats::read(reader)?,
        };
        fits(bind.formats, bind.values)?;
        Ok(bind)
    }
}

impl<'a> FunctionCall<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let call = Self {
            function: reader.u32()?,
            formats: Formats::read(reader)?,
            arguments: Values::read(reader)?,
            result: super::Format::decode(reader.i16()?)?,
        };
        fits(call.formats, call.arguments)?;
        Ok(call)
    }
}

fn fits(formats: Formats<'_>, values: Values<'_>) -> Result<(), DecodeError> {
    if formats.fits(values.len()) {
        return Ok(());
    }
    let value = i64::try_from(formats.len()).unwrap_or(i64::MAX);
    Err(DecodeError::Value { field: "the number of format codes", value })
}

impl<'a> Password<'a> {
    /// As the answer to a request for a password.
    ///
    /// # Errors
    /// When it is not one string.
    pub fn password(&self) -> Result<&'a [u8], DecodeError> {
        let mut reader = Reader::new(self.body);
        let password = reader.cbytes()?;
        reader.all()?;
        Ok(password)
    }

    /// As the first answer to a SASL request: the mechanism, and the first response if there is one.
    ///
    /// # Errors
    /// When it is not that.
    pub fn sasl_initial(&self) -> Result<(&'a str, Option<&'a [u8]>), DecodeError> {
        let mut reader = Reader::new(self.body);
        let mechanism = reader.cstr()?;
        let response = value(&mut reader)?;
        reader.all()?;
        Ok((mechanism, response))
    }

    /// As a later answer to a SASL request.
    #[must_use]
    pub const fn sasl(&self) -> &'a [u8] {
        self.body
    }
}

/// The size only.
impl std::fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Query").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// Without the text.
impl std::fmt::Debug for Parse<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parse").field("name", &self.name).field("types", &self.types).finish_non_exhaustive()
    }
}

/// Nothing of it.
impl std::fmt::Debug for Password<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password").finish_non_exhaustive()
    }
}
