//! From the server: what answers the client is passed on as it comes, rows without being assembled; what answers
//! us is kept; the error of a refused message is replaced.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::futures::Notified,
};
use wire::postgres::{ServerWalk, Step, TransactionStatus, backend::Message};

use super::{
    End,
    queue::Answer,
    quiet::Quiet,
    scratch,
    state::{Shared, State},
};
use crate::{
    postgres::{EndReason, cancel::Answers},
    stream::{ReadHalf, WriteHalf},
};

/// The most that our own reads may answer, in bytes.
const OWN_ANSWER: usize = 32 * 1024 * 1024;
/// Room for more than this is given back once it is empty, in bytes.
const KEPT: usize = 4 * 1024;

/// The server's direction.
#[derive(Debug)]
pub(super) struct ServerSide<'a> {
    reader: ReadHalf,
    walker: Walker<'a>,
    injected: Quiet<Pin<Box<Notified<'a>>>>,
    /// The beginning of a message whose end has not come.
    held: BytesMut,
    /// What could not be written at once, or is not simply what came.
    out: BytesMut,
    bytes: u64,
}

/// Looks at what the server sends.
#[derive(Debug)]
struct Walker<'a> {
    walk: ServerWalk,
    shared: &'a Shared,
    answers: Answers,
}

/// How far the walk came.
struct Walked {
    /// That many bytes are done with.
    bytes: usize,
    /// Whether they go to the client just as they are.
    passes: bool,
}

fn broken(what: impl std::fmt::Display) -> End {
    tracing::warn!(error = %what, "the upstream broke the protocol");
    End::telling(EndReason::UpstreamViolation, "08P01", "the upstream sent what cannot be understood")
}

impl<'a> ServerSide<'a> {
    pub(super) fn new(reader: ReadHalf, held: BytesMut, shared: &'a Shared, answers: Answers) -> Self {
        let walker = Walker { walk: ServerWalk::default(), shared, answers };
        let injected = Quiet::new(Box::pin(shared.injected.notified()));
        Self { reader, walker, injected, held, out: BytesMut::new(), bytes: 0 }
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
        // What came with the login's answer.
        let came = std::mem::take(&mut self.held);
        poll_fn(|context| Poll::Ready(self.take(&came, client, context))).await?;
        loop {
            while !self.out.is_empty() {
                client.write_buf(&mut self.out).await.map_err(gone)?;
            }
            if self.out.capacity() > KEPT {
                self.out = BytesMut::new();
            }
            client.flush().await.map_err(gone)?;
            if !poll_fn(|context| self.poll_server(client, context)).await? {
                return Ok(End::telling(
                    EndReason::UpstreamGone,
                    "08006",
                    "the upstream closed the connection",
                ));
            }
        }
    }

    /// Waits for the server and passes on what came; false at the end.
    fn poll_server(&mut self, client: &mut WriteHalf, context: &mut Context<'_>) -> Poll<Result<bool, End>> {
        if Pin::new(&mut self.injected).poll(context).is_ready() {
            self.injected.set(Box::pin(self.walker.shared.injected.notified()));
            let inject = std::mem::take(&mut self.walker.shared.lock().inject);
            self.bytes += inject.len() as u64;
            self.out.extend_from_slice(&inject);
            return Poll::Ready(Ok(true));
        }
        let Self { reader, walker, held, out, bytes, .. } = self;
        let read = scratch::poll_read(reader, context, |came, context| {
            let mut passing = Passing { walker, held, out, bytes };
            passing.take(came, client, context).map(|()| !came.is_empty())
        });
        Poll::Ready(ready!(read).unwrap_or(Ok(false)))
    }

    fn take(&mut self, came: &[u8], client: &mut WriteHalf, context: &mut Context<'_>) -> Result<(), End> {
        let Self { walker, held, out, bytes, .. } = self;
        Passing { walker, held, out, bytes }.take(came, client, context)
    }
}

fn gone(_: std::io::Error) -> End {
    End::silent(EndReason::ClientGone)
}

/// What it takes to pass on what came.
struct Passing<'s, 'a> {
    walker: &'s mut Walker<'a>,
    held: &'s mut BytesMut,
    out: &'s mut BytesMut,
    bytes: &'s mut u64,
}

impl Passing<'_, '_> {
    /// Passes on what came, straight from where it was read to if nothing is in the way.
    fn take(&mut self, came: &[u8], client: &mut WriteHalf, context: &mut Context<'_>) -> Result<(), End> {
        let before = self.out.len();
        if self.held.is_empty() {
            let walked = self.walker.walk(came, self.out)?;
            let (done, rest) = came.split_at_checked(walked.bytes).unwrap_or((came, &[]));
            let straight = if walked.passes { done } else { &[] };
            *self.bytes += (straight.len() + self.out.len() - before) as u64;
            self.held.extend_from_slice(rest);
            return self.write(straight, client, context);
        }
        self.held.extend_from_slice(came);
        let walked = self.walker.walk(self.held, self.out)?;
        let done = self.held.split_to(walked.bytes.min(self.held.len()));
        if self.held.is_empty() {
            *self.held = BytesMut::new();
        }
        let straight = if walked.passes { &done[..] } else { &[] };
        *self.bytes += (straight.len() + self.out.len() - before) as u64;
        self.write(straight, client, context)
    }

    /// Writes at once as much as the client takes. The rest waits.
    fn write(&mut self, bytes: &[u8], client: &mut WriteHalf, context: &mut Context<'_>) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = match Pin::new(client).poll_write(context, bytes) {
            Poll::Ready(Ok(0)) => return Err(End::silent(EndReason::ClientGone)),
            Poll::Ready(written) => written.map_err(gone)?,
            Poll::Pending => 0,
        };
        self.out.extend_from_slice(bytes.get(written..).unwrap_or_default());
        Ok(())
    }
}

impl Walker<'_> {
    /// Walks over bytes of the server. As long as everything passes, nothing is copied; from the first message
    /// on that does not, what goes to the client is written to `out`.
    fn walk(&mut self, bytes: &[u8], out: &mut BytesMut) -> Result<Walked, End> {
        let mut walked = 0;
        let mut passes = out.is_empty();
        let mut state = self.shared.lock();
        let mut answered = false;
        loop {
            let rest = bytes.get(walked..).unwrap_or_default();
            let step = if state.queue.reads() && self.walk.is_between_messages() {
                let whole = self.walk.whole(rest).map_err(broken)?;
                whole.map_or(Step::Incomplete, |(tag, bytes)| Step::Message { tag, bytes })
            } else {
                self.walk.step(rest).map_err(broken)?
            };
            let (answer, length) = match step {
                Step::Incomplete => break,
                Step::Stream { bytes, .. } => (state.queue.on_stream().map_err(broken)?, bytes),
                Step::Message { tag, bytes } => {
                    answered = true;
                    let message = rest.get(..bytes).unwrap_or_default();
                    (on_message(&mut state, tag, message)?, bytes)
                }
            };
            if passes && answer != Answer::Pass {
                passes = false;
                out.extend_from_slice(bytes.get(..walked).unwrap_or_default());
            }
            match answer {
                Answer::Pass if passes => {}
                Answer::Pass => out.extend_from_slice(rest.get(..length).unwrap_or_default()),
                Answer::Read => {}
                Answer::Replace(error) => out.extend_from_slice(&error),
            }
            walked += length;
        }
        if answered && !state.queue.client_waits() {
            self.answers.all();
        }
        drop(state);
        if answered {
            self.shared.progress.notify_waiters();
        }
        Ok(Walked { bytes: walked, passes })
    }
}

/// What becomes of one whole message.
fn on_message(state: &mut State, tag: u8, message: &[u8]) -> Result<Answer, End> {
    let body = message.get(5..).unwrap_or_default();
    if tag == b'D' && state.queue.reads() {
        return own_row(state, body);
    }
    if tag == b'S' {
        on_parameter(tag, body)?;
    }
    let ready = ready_status(tag, body)?;
    let (answer, settled) = state.queue.on_message(tag, ready).map_err(broken)?;
    if tag == b'E' {
        on_error(state, &answer, tag, body)?;
    }
    state.settle(settled);
    Ok(answer)
}

/// Statements that change how texts are read are refused; code that the server runs may do it all the same.
fn on_parameter(tag: u8, body: &[u8]) -> Result<(), End> {
    let Message::ParameterStatus(name, value) = Message::read(tag, body).map_err(broken)? else {
        return Ok(());
    };
    if reads_as_we_do(name, value) { Ok(()) } else { Err(End::misread(name)) }
}

/// Whether a setting leaves the meaning of texts as it was at the login.
pub(in crate::postgres) fn reads_as_we_do(setting: &str, value: &str) -> bool {
    match setting {
        "client_encoding" => value == "UTF8",
        "standard_conforming_strings" => value == "on",
        _ => true,
    }
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
