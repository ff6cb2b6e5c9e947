//! A session from its first statement to its end: two directions on one thread, with the gate between.
//!
//! ```text
//!  client --frames--> gate --Cleared, Own--> upstream
//!  client <--------- answers <---------------- upstream
//!                (ours are kept back, errors of refused messages replaced)
//! ```
//! [`queue`] knows which answer belongs to which message; both directions share it.

mod client;
pub(super) mod queue;
mod quiet;
mod scratch;
mod server;
mod state;
mod writer;

use std::{pin::pin, time::Duration};

use tokio::{io::AsyncWriteExt, time::timeout};

pub(super) use server::reads_as_we_do;
pub(super) use state::{Read, Shared, State};
use wire::postgres::write::Severity;
pub(super) use writer::UpstreamWriter;

use super::{EndReason, Outcome, Session, gate::Gate, own::Own, refusal::Refusal};
use client::ClientSide;
use quiet::Quiet;
use server::ServerSide;

/// How long the last words may take, in either direction.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why the relay ends, and what the client is still told.
#[derive(Debug)]
pub(super) struct End {
    pub(super) reason: EndReason,
    pub(super) told: Option<Refusal>,
}

impl End {
    /// Without a word.
    pub(super) const fn silent(reason: EndReason) -> Self {
        Self { reason, told: None }
    }

    /// With a FATAL error.
    pub(super) fn telling(reason: EndReason, sqlstate: &str, message: impl Into<String>) -> Self {
        Self { reason, told: Some(Refusal::new(sqlstate, message)) }
    }

    /// A setting was changed that says how texts are read. What comes after would not mean what we take it for.
    pub(super) fn misread(setting: &str) -> Self {
        let message = format!("terminating connection: `{setting}` was changed by what a statement ran");
        Self::telling(EndReason::Misread, "57P01", message)
    }

    /// The client sent what cannot be understood.
    pub(super) fn violation(what: impl std::fmt::Display) -> Self {
        Self::telling(EndReason::ProtocolViolation, "08P01", format!("invalid message: {what}"))
    }
}

/// Relays a session until it ends.
pub async fn run(session: Session) -> Outcome {
    let Session { client, client_buffer, upstream, guard, shutdown, documents, .. } = session;
    let shared = Shared::default();
    let (client_reader, mut client_writer) = client.split();
    let (server_reader, server_writer) = upstream.stream.split();
    let answers = session.cancel.answers();
    let gate = Gate::new(
        &shared,
        UpstreamWriter::new(server_writer),
        super::gate::About {
            session: session.id,
            connection: session.connection,
            database: session.database,
            role: upstream.user,
            version: upstream.version,
            guard,
            recorder: session.recorder,
            cancel: session.cancel,
            another: session.another,
            catalogs: session.catalogs,
        },
    );
    let Ok(mut gate) = gate else { return Outcome::before_anything(EndReason::Internal) };
    let mut client_side = ClientSide::new(client_reader, client_buffer, &documents, shutdown);
    let mut server_side = ServerSide::new(server_reader, upstream.buffer, &shared, answers);
    let end = {
        let (from_client, from_server) =
            (pin!(client_side.run(&mut gate)), pin!(server_side.run(&mut client_writer)));
        let (mut from_client, mut from_server) = (Quiet::new(from_client), Quiet::new(from_server));
        tokio::select! {
            biased;
            end = &mut from_server => end,
            end = &mut from_client => end,
        }
    };
    let told = async {
        if let Some(told) = &end.told {
            client_writer.write_all(&told.encode(Severity::Fatal)).await?;
        }
        client_writer.shutdown().await
    };
    // Whoever is gone is not told.
    drop(timeout(FAREWELL, told).await);
    let writer = gate.writer();
    writer.own(&Own::terminate());
    drop(timeout(FAREWELL, writer.flush()).await);
    gate.leave();
    let counted = gate.counted();
    Outcome {
        reason: end.reason,
        statements: counted.statements,
        refused: counted.refused,
        bytes_in: client_side.bytes(),
        bytes_out: server_side.bytes(),
    }
}
