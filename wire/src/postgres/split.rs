//! From a stream of bytes to messages, at any split of the stream.

use bytes::{Bytes, BytesMut};

use crate::{
    DecodeError, Frame, Reader,
    postgres::{backend, frontend},
};

/// Cuts what a client sends into frames. Holds back an incomplete message, whose size is bounded by its
/// tag; memory grows with the bytes that came, never with the length that a peer claims.
#[derive(Default)]
pub struct ClientSplitter {
    buffer: BytesMut,
}

impl ClientSplitter {
    /// A splitter that starts with bytes that were read already.
    #[must_use]
    pub const fn new(buffer: BytesMut) -> Self {
        Self { buffer }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer, to read into without another copy.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message.
    ///
    /// # Errors
    /// As soon as a header is there that no client message may have. The stream is then beyond repair.
    #[expect(clippy::should_implement_trait, reason = "an exhausted buffer is not an end")]
    pub fn next(&mut self) -> Result<Option<Frame>, DecodeError> {
        let Some(length) = length(&self.buffer, frontend::Message::limit)? else { return Ok(None) };
        if self.buffer.len() < length {
            return Ok(None);
        }
        Frame::new(self.buffer.split_to(length).freeze()).map(Some)
    }
}

/// One step over what a server sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A whole message of that many bytes, header included, with this tag.
    Message {
        /// What kind of message it is.
        tag: u8,
        /// Header and body.
        bytes: usize,
    },
    /// That many bytes of messages that stream: DataRow, CopyData and FunctionCallResponse, cut anywhere.
    Stream {
        /// How many bytes.
        bytes: usize,
        /// How many of these messages begin in them.
        messages: usize,
    },
    /// The message is not complete; call again with the same bytes and more.
    Incomplete,
}

/// Walks over what a server sends. Messages that stream are never assembled, however long; all others are
/// reported when they are whole, and bounded.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerWalk {
    /// Bytes of a streaming message that are still to come.
    pending: usize,
}

impl ServerWalk {
    /// The next step over `bytes`, which begin where the last step ended.
    ///
    /// # Errors
    /// As soon as a header is there that no server message may have. The stream is then beyond repair.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, DecodeError> {
        let mut walked = 0;
        let mut messages = 0;
        loop {
            let passed = self.pending.min(bytes.len() - walked);
            self.pending -= passed;
            walked += passed;
            let rest = bytes.get(walked..).unwrap_or_default();
            let (Some(tag), Some(length)) = (rest.first(), length(rest, backend::Message::limit)?) else {
                break;
            };
            if matches!(tag, b'D' | b'd' | b'V') {
                self.pending = length;
                messages += 1;
                continue;
            }
            if walked == 0 && rest.len() >= length {
                return Ok(Step::Message { tag: *tag, bytes: length });
            }
            break;
        }
        Ok(if walked == 0 { Step::Incomplete } else { Step::Stream { bytes: walked, messages } })
    }

    /// Whether the next byte begins a message.
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        self.pending == 0
    }

    /// The tag and size of the message at the front of `bytes`, rows included: for answers to our own
    /// statements, which are small. None while it is not whole.
    ///
    /// # Errors
    /// When no server message has that header, when it is too long to be assembled, or in the middle of a
    /// message that streams.
    pub fn whole(&self, bytes: &[u8]) -> Result<Option<(u8, usize)>, DecodeError> {
        if !self.is_between_messages() {
            return Err(DecodeError::Truncated);
        }
        let assembled = |tag| backend::Message::limit(tag).map(|limit| limit.min(backend::MAX_ASSEMBLED));
        let length = length(bytes, assembled)?.filter(|length| bytes.len() >= *length);
        Ok(bytes.first().copied().zip(length))
    }
}

/// Something that a server sent.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// A whole message.
    Frame(Frame),
    /// Bytes of messages that stream, cut anywhere, and how many messages begin in them.
    Stream {
        /// The bytes.
        bytes: Bytes,
        /// How many messages begin in them.
        messages: usize,
    },
}

/// Sizes only.
impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(frame) => frame.fmt(f),
            Self::Stream { bytes, messages } => {
                let mut shown = f.debug_struct("Stream");
                shown.field("bytes", &bytes.len()).field("messages", messages).finish()
            }
        }
    }
}

/// [`ServerWalk`] over a buffer of its own.
#[derive(Default)]
pub struct ServerSplitter {
    buffer: BytesMut,
    walk: ServerWalk,
}

impl ServerSplitter {
    /// A splitter that starts with bytes that were read already.
    #[must_use]
    pub fn new(buffer: BytesMut) -> Self {
        Self { buffer, walk: ServerWalk::default() }
    }

    /// Adds bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer, to read into without another copy.
    pub const fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next message or part of a stream.
    ///
    /// # Errors
    /// As soon as a header is there that no server message may have. The stream is then beyond repair.
    #[expect(clippy::should_implement_trait, reason = "an exhausted buffer is not an end")]
    pub fn next(&mut self) -> Result<Option<Piece>, DecodeError> {
        Ok(match self.walk.step(&self.buffer)? {
            Step::Incomplete => None,
            Step::Message { tag: _, bytes } => {
                Some(Piece::Frame(Frame::new(self.buffer.split_to(bytes).freeze())?))
            }
            Step::Stream { bytes, messages } => {
                Some(Piece::Stream { bytes: self.buffer.split_to(bytes).freeze(), messages })
            }
        })
    }
}

impl ServerSplitter {
    /// The next message, rows included: for answers to our own statements, which are small.
    ///
    /// # Errors
    /// As [`ServerWalk::whole`].
    pub fn whole(&mut self) -> Result<Option<Frame>, DecodeError> {
        let Some((_, bytes)) = self.walk.whole(&self.buffer)? else { return Ok(None) };
        Frame::new(self.buffer.split_to(bytes).freeze()).map(Some)
    }
}

/// How much it holds only.
impl std::fmt::Debug for ClientSplitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSplitter").field("held", &self.buffer.len()).finish_non_exhaustive()
    }
}

/// How much it holds only.
impl std::fmt::Debug for ServerSplitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSplitter").field("held", &self.buffer.len()).finish_non_exhaustive()
    }
}

/// How long the message at the front is, header included; none while the header is not there. An unknown
/// tag is refused at its first byte.
fn length(
    bytes: &[u8],
    limit: impl Fn(u8) -> Result<usize, DecodeError>,
) -> Result<Option<usize>, DecodeError> {
    let Some(tag) = bytes.first() else { return Ok(None) };
    let limit = limit(*tag)?;
    let mut header = Reader::new(bytes);
    header.take(1)?;
    let Ok(claimed) = header.u32() else { return Ok(None) };
    if claimed < 4 {
        return Err(DecodeError::Length(claimed));
    }
    let length = usize::try_from(claimed).unwrap_or(usize::MAX).saturating_add(1);
    if length > limit {
        return Err(DecodeError::TooLong { length, limit });
    }
    Ok(Some(length))
}
