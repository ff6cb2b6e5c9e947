//! Our own exchange with an upstream: what we write, and whole messages back. Bounded in all.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::{
    EncodeError, Frame,
    postgres::{ServerSplitter, backend::Message},
};
use zeroize::Zeroize;

use super::{LoginError, refused};
use crate::stream::Stream;

/// The most bytes that an upstream may send until the login is done.
const MAX_BYTES: usize = 256 * 1024;

/// One side of the exchange.
#[derive(Debug)]
pub(super) struct Conversation {
    stream: Stream,
    splitter: ServerSplitter,
    received: usize,
}

impl Conversation {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, splitter: ServerSplitter::default(), received: 0 }
    }

    /// Sends messages of our own. The buffer is wiped: it may hold a password.
    pub(super) async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
    ) -> Result<(), LoginError> {
        let mut bytes = BytesMut::with_capacity(1024);
        write(&mut bytes)?;
        let sent = self.stream.write_all(&bytes).await;
        bytes.as_mut().zeroize();
        sent.map_err(|_| LoginError::Closed)?;
        self.stream.flush().await.map_err(|_| LoginError::Closed)
    }

    /// The next message that is not a notice.
    pub(super) async fn next(&mut self) -> Result<Frame, LoginError> {
        loop {
            if let Some(frame) = self.splitter.whole()? {
                if matches!(Message::decode(&frame)?, Message::NoticeResponse(_)) {
                    continue;
                }
                return Ok(frame);
            }
            let buffer = self.splitter.buffer();
            buffer.reserve(4096);
            let read = self.stream.read_buf(buffer).await.map_err(|_| LoginError::Closed)?;
            self.received += read;
            if read == 0 {
                return Err(LoginError::Closed);
            }
            if self.received > MAX_BYTES {
                return Err(LoginError::Protocol("it sends too much before the login is done"));
            }
        }
    }

    /// The stream, and what was read but not asked for.
    pub(super) fn into_parts(mut self) -> (Stream, BytesMut) {
        let rest = self.splitter.buffer().split();
        (self.stream, rest)
    }
}

/// What a message means that is not due: the upstream's refusal, or a breach of the protocol.
pub(super) fn unexpected(frame: &Frame) -> LoginError {
    refused(frame).unwrap_or(LoginError::Protocol("a message came that is not due"))
}
