//! What is recorded of connections. A session's record is opened before the upstream is touched, and closed
//! exactly once: with its outcome, or on drop.

use std::net::SocketAddr;

use audit::{Event, OpaqueStart, Refused, RefusedKind, SessionEnd, SessionStart};
use policy::{ConnectionDocument, Durability, Generation};
use tracing::error;
use uuid::Uuid;

use crate::{
    capture::Arrival,
    error::{Error, NoSession},
    opaque::{self, Gate},
    postgres::{EndReason, Outcome, cancel::Delivery, login::LoginError, startup::Wanted},
    recorder::{Recorder, RecorderError},
};

/// The open record of a session.
#[derive(Debug)]
pub(super) struct Open {
    recorder: Recorder,
    end: Option<SessionEnd>,
}

impl Open {
    /// Records that a session begins, as durably as its Connection asks.
    pub(super) async fn begin(
        recorder: &Recorder,
        session: Uuid,
        connection: &ConnectionDocument,
        start: Start<'_>,
    ) -> Result<Self, RecorderError> {
        let Start { wanted, from, generation } = start;
        let event = Event::SessionStart(SessionStart {
            session,
            connection: connection.name.clone(),
            client: from.to_string(),
            database: wanted.database.clone(),
            claimed_user: wanted.user.clone(),
            application: wanted.application.clone(),
            generation: generation.to_string(),
        });
        Self::begin_with(recorder, session, &event, connection.recording().durability).await
    }

    /// Records that a session begins in which nothing is looked at.
    pub(super) async fn begin_opaque(
        recorder: &Recorder,
        session: Uuid,
        connection: &ConnectionDocument,
        (from, gate): (SocketAddr, &Gate),
    ) -> Result<Self, RecorderError> {
        let event = Event::OpaqueStart(OpaqueStart {
            session,
            connection: connection.name.clone(),
            client: from.to_string(),
            upstream: format!("{}:{}", connection.upstream.host, connection.upstream.port),
            rules: gate.rules(),
            generation: gate.generation().to_string(),
        });
        Self::begin_with(recorder, session, &event, connection.recording().durability).await
    }

    async fn begin_with(
        recorder: &Recorder,
        session: Uuid,
        event: &Event,
        durability: Durability,
    ) -> Result<Self, RecorderError> {
        recorder.record(event, durability)?.durable().await?;
        let end = SessionEnd {
            session,
            reason: EndReason::Internal.text().to_owned(),
            statements: 0,
            refused: 0,
            bytes_from_client: 0,
            bytes_to_client: 0,
        };
        Ok(Self { recorder: recorder.clone(), end: Some(end) })
    }

    /// The session took place.
    pub(super) fn end(mut self, outcome: Outcome) {
        let Outcome { reason, statements, refused, bytes_in, bytes_out } = outcome;
        if let Some(end) = &mut self.end {
            end.reason = reason.text().to_owned();
            end.statements = statements;
            end.refused = refused;
            end.bytes_from_client = bytes_in;
            end.bytes_to_client = bytes_out;
        }
    }

    /// A session took place in which nothing was looked at.
    pub(super) fn passed(mut self, outcome: opaque::Outcome) {
        let opaque::Outcome { reason, bytes_in, bytes_out } = outcome;
        if let Some(end) = &mut self.end {
            end.reason = reason;
            end.bytes_from_client = bytes_in;
            end.bytes_to_client = bytes_out;
        }
    }

    /// The upstream gave no session.
    pub(super) fn failed(mut self, error: &LoginError) {
        if let Some(end) = &mut self.end {
            end.reason = format!("the upstream gave no session: {error}");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            keep(&self.recorder, &Event::SessionEnd(end));
        }
    }
}

/// Who came, and by what rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    /// What the client wants.
    pub(super) wanted: &'a Wanted,
    /// Where it came from.
    pub(super) from: SocketAddr,
    /// The generation in force.
    pub(super) generation: Generation,
}

/// Records a client that got no session.
pub(super) fn refused(recorder: &Recorder, arrival: &Arrival, error: &Error) {
    let kind = match error {
        Error::Policy(NoSession::NoConnection) => RefusedKind::Connection,
        // A session that was recorded, and ended with the reason.
        Error::Upstream { .. } => return,
        Error::Policy(_) | Error::Client(_) | Error::Unrecorded(_) | Error::Internal(_) => RefusedKind::Login,
    };
    let refused = Refused { kind, destination: destination(arrival), reason: error.to_string() };
    keep(recorder, &Event::Refused(refused));
}

/// Records a cancel request.
pub(super) fn cancel(recorder: &Recorder, arrival: &Arrival, delivery: Delivery) {
    let reason = match delivery {
        Delivery::Delivered(session) => return keep(recorder, &Event::Cancel { session }),
        Delivery::UnknownKey => "no session has this key".to_owned(),
        Delivery::NothingOutstanding(session) => format!("session {session} has nothing to cancel"),
        Delivery::Failed(session) => format!("the upstream of session {session} cannot be told"),
    };
    let refused = Refused { kind: RefusedKind::Cancel, destination: destination(arrival), reason };
    keep(recorder, &Event::Refused(refused));
}

fn destination(arrival: &Arrival) -> String {
    match arrival {
        Arrival::Captured { destination } => destination.to_string(),
        Arrival::Explicit { connection } => connection.clone(),
    }
}

/// Nothing depends on these records: what they are about has ended or did not happen.
fn keep(recorder: &Recorder, event: &Event) {
    match recorder.record(event, Durability::Process) {
        Ok(_stored) => {}
        Err(error) => error!(error = %error, "the end of a session or a refusal cannot be recorded"),
    }
}
