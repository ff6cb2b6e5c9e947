//! From the server: what answers the client is passed on as it comes, rows without being assembled; what answers
//! us is kept; the error of a refused message is replaced.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::postgres::{ServerWalk, Step, TransactionStatus, backend::Message};

use super::{
    End,
    queue::Answer,
    state::{Shared, State},
};
use crate::{
    postgres::EndReason,
    stream::{ReadHalf, WriteHalf},
};

/// What is read at once, in bytes; more once a result turns out to be large.
const READ: usize = 16 * 1024;
const READ_LARGE: usize = 64 * 1024;
/// The most that our own reads may answer, in bytes.
const OWN_ANSWER: usize = 32 * 1024 * 1024;

/// The server's direction.
#[derive(Debug)]
pub(super) struct ServerSide<'a> {
    reader: ReadHalf,
    buffer: BytesMut,
    walk: ServerWalk,
    shared: &'a Shared,
    /// What goes to the client when it is not simply what came.
    out: BytesMut,
    bytes: u64,
}

fn broken(what: impl std::fmt::Display) -> End {
    tracing::warn!(error = %what, "the upstream broke the protocol");
    End::telling(EndReason::UpstreamViolation, "08P01", "the upstream sent what cannot be understood")
}

impl<'a> ServerSide<'a> {
    pub(super) fn new(reader: ReadHalf, buffer: BytesMut, shared: &'a Shared) -> Self {
        let walk = ServerWalk::default();
        Self { reader, buffer, walk, shared, out: BytesMut::new(), bytes: 0 }
    }

    /// Bytes that went to the client.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Until the session ends from this side.
    pub(super) async fn run(&mut self, client: &mut WriteHalf) -> End {
        match self.relay(client).await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn relay(&mut self, client: &mut WriteHalf) -> Result<End, End> {
        let mut want = READ;
        loop {
            let passed = self.walk_buffer()?;
            self.pass_on(passed, client).await?;
            self.buffer.reserve(want);
            let shared = self.shared;
            tokio::select! {
                read = self.reader.read_buf(&mut self.buffer) => match read {
                    Ok(0) | Err(_) => {
                        return Ok(End::telling(
                            EndReason::UpstreamGone, "08006", "the upstream closed the connection",
                        ));
                    }
                    Ok(read) => want = if read >= want { READ_LARGE } else { READ },
                },
                () = shared.injected.notified() => {
                    let inject = std::mem::take(&mut self.shared.lock().inject);
                    self.out.extend_from_slice(&inject);
                }
            }
        }
    }

    /// Walks over what is in the buffer. Returns how many bytes at its front go to the client as they are; what
    /// goes there otherwise is in `out`.
    fn walk_buffer(&mut self) -> Result<usize, End> {
        // As long as everything passes, nothing is copied.
        let mut walked = 0;
        let mut copying = !self.out.is_empty();
        let mut state = self.shared.lock();
        let mut answered = false;
        loop {
            let rest = self.buffer.get(walked..).unwrap_or_default();
            let step = if state.queue.reads() && self.walk.is_between_messages() {
                let whole = self.walk.whole(rest).map_err(broken)?;
                whole.map_or(Step::Incomplete, |(tag, bytes)| Step::Message { tag, bytes })
            } else {
                self.walk.step(rest).map_err(broken)?
            };
            let (answer, bytes) = match step {
                Step::Incomplete => break,
                Step::Stream { bytes, .. } => (state.queue.on_stream().map_err(broken)?, bytes),
                Step::Message { tag, bytes } => {
                    answered = true;
                    let message = rest.get(..bytes).unwrap_or_default();
                    (on_message(&mut state, tag, message)?, bytes)
                }
            };
            match answer {
                Answer::Pass if copying => {
                    self.out.extend_from_slice(self.buffer.get(walked..walked + bytes).unwrap_or_default());
                }
                Answer::Pass => {}
                Answer::Read | Answer::Replace(_) => {
                    if !copying {
                        copying = true;
                        self.out.extend_from_slice(self.buffer.get(..walked).unwrap_or_default());
                    }
                    if let Answer::Replace(error) = answer {
                        self.out.extend_from_slice(&error);
                    }
                }
            }
            walked += bytes;
        }
        drop(state);
        if answered {
            self.shared.progress.notify_waiters();
        }
        if copying {
            self.buffer.advance(walked);
            return Ok(0);
        }
        Ok(walked)
    }

    async fn pass_on(&mut self, passed: usize, client: &mut WriteHalf) -> Result<(), End> {
        let gone = |_| End::silent(EndReason::ClientGone);
        if passed > 0 {
            self.bytes += passed as u64;
            client.write_all(self.buffer.get(..passed).unwrap_or_default()).await.map_err(gone)?;
            self.buffer.advance(passed);
        }
        if !self.out.is_empty() {
            self.bytes += self.out.len() as u64;
            client.write_all_buf(&mut self.out).await.map_err(gone)?;
        }
        client.flush().await.map_err(gone)
    }
}

/// What becomes of one whole message.
fn on_message(state: &mut State, tag: u8, message: &[u8]) -> Result<Answer, End> {
    let body = message.get(5..).unwrap_or_default();
    if tag == b'D' && state.queue.reads() {
        return own_row(state, body);
    }
    let ready = ready_status(tag, body)?;
    let (answer, settled) = state.queue.on_message(tag, ready).map_err(broken)?;
    if tag == b'E' {
        on_error(state, &answer, tag, body)?;
    }
    state.settle(settled);
    Ok(answer)
}

fn ready_status(tag: u8, body: &[u8]) -> Result<Option<TransactionStatus>, End> {
    if tag != b'Z' {
        return Ok(None);
    }
    let Message::ReadyForQuery(status) = Message::read(tag, body).map_err(broken)? else { return Ok(None) };
    Ok(Some(status))
}

fn on_error(state: &mut State, answer: &Answer, tag: u8, body: &[u8]) -> Result<(), End> {
    let Message::ErrorResponse(fields) = Message::read(tag, body).map_err(broken)? else { return Ok(()) };
    state.failed = true;
    state.copy_in = false;
    if matches!(fields.sqlstate(), Some("42P01" | "42703" | "42883" | "42704" | "3F000")) {
        state.catalog_is_wrong = true;
    }
    if let (Answer::Read, Some(read)) = (answer, &mut state.read) {
        read.error = Some(fields.into());
    }
    Ok(())
}

fn own_row(state: &mut State, body: &[u8]) -> Result<Answer, End> {
    state.queue.on_stream().map_err(broken)?;
    let Message::DataRow(values) = Message::read(b'D', body).map_err(broken)? else {
        return Ok(Answer::Read);
    };
    let Some(read) = &mut state.read else { return Ok(Answer::Read) };
    read.bytes += body.len();
    if read.bytes > OWN_ANSWER {
        return Err(broken("the catalog is larger than it may be"));
    }
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).map_err(broken);
    let row = values.iter().map(|value| value.map(text).transpose()).collect::<Result<_, _>>()?;
    read.rows.push(row);
    Ok(Answer::Read)
}
