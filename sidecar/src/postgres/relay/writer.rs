//! The one way to the upstream: a client's frames only as [`Cleared`], our own messages only as [`Own`].

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use wire::Frame;

use super::super::own::Own;
use crate::{cleared::Cleared, stream::WriteHalf};

/// What is gathered before it must be written, in bytes.
const GATHER: usize = 64 * 1024;

/// Gathers messages and writes them at once.
#[derive(Debug)]
pub(in crate::postgres) struct UpstreamWriter {
    half: WriteHalf,
    gathered: BytesMut,
}

impl UpstreamWriter {
    pub(super) fn new(half: WriteHalf) -> Self {
        Self { half, gathered: BytesMut::new() }
    }

    /// A client's frame that was decided on.
    pub(in crate::postgres) fn client(&mut self, cleared: &Cleared<Frame>) {
        self.gathered.extend_from_slice(cleared.bytes());
    }

    /// A message of our own.
    pub(in crate::postgres) fn own(&mut self, own: &Own) {
        self.gathered.extend_from_slice(own.bytes());
    }

    /// Whether so much is gathered that it should be written now.
    pub(in crate::postgres) fn is_full(&self) -> bool {
        self.gathered.len() >= GATHER
    }

    /// Writes what is gathered.
    pub(in crate::postgres) async fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.half.write_all_buf(&mut self.gathered).await?;
        self.half.flush().await
    }
}
