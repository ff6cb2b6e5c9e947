//! From the client: bytes to frames, frames to the gate.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use policy::Generation;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::postgres::ClientSplitter;

use super::{End, quiet::Quiet, scratch};
use crate::{policy::Documents, postgres::EndReason, postgres::gate::Gate, stream::ReadHalf};

/// A buffer that held more than this is given back once it is empty, in bytes.
const KEPT: usize = 4 * 1024;
/// How long a session gets to finish its transaction when the sidecar ends.
const DRAIN: Duration = Duration::from_secs(5);

/// The client's direction.
#[derive(Debug)]
pub(super) struct ClientSide {
    reader: ReadHalf,
    splitter: ClientSplitter,
    /// What came since the buffer was last given back, if that is much.
    grown: usize,
    signals: Quiet<Signal>,
    bytes: u64,
}

/// What a session hears from beside the client: with what it takes to wait for the next one.
type Signal = BoxFuture<'static, (Signalled, watch::Receiver<Generation>, CancellationToken)>;

enum Signalled {
    PolicyChanged,
    Shutdown,
    /// The holder of the policy is gone.
    Alone,
}

enum Heard {
    Bytes(usize),
    Gone,
    Signal(Signalled),
}

fn signal(mut changed: watch::Receiver<Generation>, shutdown: CancellationToken) -> Signal {
    Box::pin(async move {
        let signalled = tokio::select! {
            changed = changed.changed() => match changed {
                Ok(()) => Signalled::PolicyChanged,
                Err(_) => Signalled::Alone,
            },
            () = shutdown.cancelled() => Signalled::Shutdown,
        };
        (signalled, changed, shutdown)
    })
}

impl ClientSide {
    pub(super) fn new(
        reader: ReadHalf,
        buffer: BytesMut,
        documents: &Documents,
        shutdown: CancellationToken,
    ) -> Self {
        let bytes = buffer.len() as u64;
        let signals = Quiet::new(signal(documents.changed(), shutdown));
        Self { reader, splitter: ClientSplitter::new(buffer), grown: KEPT + 1, signals, bytes }
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
            if let Some(end) = self.frames(gate).await? {
                return Ok(end);
            }
            match self.hear().await {
                Heard::Bytes(read) => self.bytes += read as u64,
                Heard::Gone => return Ok(End::silent(EndReason::ClientGone)),
                Heard::Signal(Signalled::PolicyChanged) => gate.policy_changed()?,
                Heard::Signal(Signalled::Shutdown) => return Ok(self.drain(gate).await),
                Heard::Signal(Signalled::Alone) => return Ok(End::silent(EndReason::Internal)),
            }
        }
    }

    /// Passes on all frames that are whole. An end is returned when the client says goodbye.
    async fn frames(&mut self, gate: &mut Gate<'_>) -> Result<Option<End>, End> {
        gate.heard();
        while let Some(frame) = self.splitter.next().map_err(End::violation)? {
            if let Some(end) = gate.frame(frame).await? {
                return Ok(Some(end));
            }
        }
        let buffer = self.splitter.buffer();
        if self.grown > KEPT && buffer.is_empty() {
            *buffer = BytesMut::new();
            self.grown = 0;
        }
        gate.rest().await?;
        Ok(None)
    }

    /// Waits for the client, or a signal.
    async fn hear(&mut self) -> Heard {
        let Self { reader, splitter, signals, grown, .. } = self;
        let heard = poll_fn(|context| {
            if let Poll::Ready((signalled, changed, shutdown)) = Pin::new(&mut *signals).poll(context) {
                signals.set(signal(changed, shutdown));
                return Poll::Ready(Ok(Heard::Signal(signalled)));
            }
            let read = read(reader, splitter, context);
            read.map_ok(|read| if read == 0 { Heard::Gone } else { Heard::Bytes(read) })
        });
        let heard = heard.await.unwrap_or(Heard::Gone);
        if let Heard::Bytes(read) = heard {
            *grown = (*grown).max(read).max(splitter.buffer().len());
        }
        heard
    }

    /// Goes on until the client is between transactions, but not for long.
    async fn drain(&mut self, gate: &mut Gate<'_>) -> End {
        let finish = async {
            while !gate.is_idle() {
                let Self { reader, splitter, .. } = self;
                tokio::select! {
                    read = poll_fn(|context| read(reader, splitter, context)) => match read {
                        Ok(0) | Err(_) => return Err(End::silent(EndReason::ClientGone)),
                        Ok(read) => self.bytes += read as u64,
                    },
                    () = gate.progress() => {}
                }
                if let Some(end) = self.frames(gate).await? {
                    return Err(end);
                }
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

fn read(
    reader: &mut ReadHalf,
    splitter: &mut ClientSplitter,
    context: &mut std::task::Context<'_>,
) -> Poll<io::Result<usize>> {
    scratch::poll_read(reader, context, |bytes, _| {
        splitter.push(bytes);
        bytes.len()
    })
}
