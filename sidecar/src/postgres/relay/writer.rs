//! The one way to the upstream: a client's frames only as [`Cleared`], our own messages only as [`Own`].

use std::io;

use tokio::io::AsyncWriteExt;
use wire::Frame;

use super::super::own::Own;
use crate::{cleared::Cleared, stream::WriteHalf};

/// What is gathered before it must be written, in bytes.
const GATHER: usize = 64 * 1024;
/// Room for more than this is given back once it is written, in bytes.
const KEPT: usize = 4 * 1024;

/// Gathers messages and writes them at once.
#[derive(Debug)]
pub(in crate::postgres) struct UpstreamWriter {
    half: WriteHalf,
    gathered: Vec<u8>,
    /// How much of it is written already.
    written: usize,
}

impl UpstreamWriter {
    pub(super) const fn new(half: WriteHalf) -> Self {
        Self { half, gathered: Vec::new(), written: 0 }
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
    pub(in crate::postgres) const fn is_full(&self) -> bool {
        self.gathered.len() >= GATHER
    }

    /// Writes what is gathered. Goes on where it stood when it was given up before.
    pub(in crate::postgres) async fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.gathered.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.half.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.written += written,
            }
        }
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.written = 0;
        self.gathered.clear();
        self.gathered.shrink_to(KEPT);
        self.half.flush().await
    }
}
