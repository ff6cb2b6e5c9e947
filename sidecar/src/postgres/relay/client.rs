//! From the client: bytes to frames, frames to the gate.

use std::time::Duration;

use bytes::BytesMut;
use policy::Generation;
use tokio::{io::AsyncReadExt, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::postgres::ClientSplitter;

use super::End;
use crate::{policy::Documents, postgres::EndReason, postgres::gate::Gate, stream::ReadHalf};

/// What is read at once, in bytes.
const READ: usize = 16 * 1024;
/// How long a session gets to finish its transaction when the sidecar ends.
const DRAIN: Duration = Duration::from_secs(5);

/// The client's direction.
#[derive(Debug)]
pub(super) struct ClientSide {
    reader: ReadHalf,
    splitter: ClientSplitter,
    changed: watch::Receiver<Generation>,
    shutdown: CancellationToken,
    bytes: u64,
}

impl ClientSide {
    pub(super) fn new(
        reader: ReadHalf,
        buffer: BytesMut,
        documents: &Documents,
        shutdown: CancellationToken,
    ) -> Self {
        let bytes = buffer.len() as u64;
        let changed = documents.changed();
        Self { reader, splitter: ClientSplitter::new(buffer), changed, shutdown, bytes }
    }

    /// Bytes that came.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Until the session ends from this side.
    pub(super) async fn run(&mut self, gate: &mut Gate<'_>) -> End {
        match self.relay(gate).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn relay(&mut self, gate: &mut Gate<'_>) -> Result<End, End> {
        loop {
            while let Some(frame) = self.splitter.next().map_err(End::violation)? {
                if let Some(end) = gate.frame(frame).await? {
                    return Ok(end);
                }
            }
            gate.flush().await?;
            let buffer = self.splitter.buffer();
            buffer.reserve(READ);
            tokio::select! {
                read = self.reader.read_buf(buffer) => match read {
                    Ok(0) | Err(_) => return Ok(End::silent(EndReason::ClientGone)),
                    Ok(read) => self.bytes += read as u64,
                },
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return Ok(End::silent(EndReason::Internal));
                    }
                    gate.policy_changed()?;
                }
                () = self.shutdown.cancelled() => return Ok(self.drain(gate).await),
            }
        }
    }

    /// Goes on until the client is between transactions, but not for long.
    async fn drain(&mut self, gate: &mut Gate<'_>) -> End {
        let finish = async {
            while !gate.is_idle() {
                let buffer = self.splitter.buffer();
                buffer.reserve(READ);
                tokio::select! {
                    read = self.reader.read_buf(buffer) => match read {
                        Ok(0) | Err(_) => return Err(End::silent(EndReason::ClientGone)),
                        Ok(read) => self.bytes += read as u64,
                    },
                    () = gate.progress() => {}
                }
                while let Some(frame) = self.splitter.next().map_err(End::violation)? {
                    if let Some(end) = gate.frame(frame).await? {
                        return Err(end);
                    }
                }
                gate.flush().await?;
            }
            Ok(())
        };
        match timeout(DRAIN, finish).await {
            Ok(Err(end)) => end,
            Ok(Ok(())) | Err(_) => {
                End::telling(EndReason::Drained, "57P01", "terminating connection: the sidecar is ending")
            }
        }
    }
}
