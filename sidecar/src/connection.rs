//! The life of one connection of an agent, from the accepted socket to the record of how it went.

mod find;
mod record;
mod service;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::policy::Document;
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;
use wire::postgres::write;

use crate::{
    capture::{Accepted, Arrival, Hand},
    credentials::Credentials,
    error::{BeginError, Error, NoSession},
    opaque,
    policy::Documents,
    postgres::{
        Another, Catalogs, Session,
        cancel::Cancels,
        login::{self, Defaults, Wish},
        relay,
        startup::{self, Certificate, Client, Opened, Opening, StartupError, Wanted},
    },
    recorder::Recorder,
    stream::Stream,
    upstream,
    workers::Workers,
};
use record::Open;
use service::Services;

/// How long a client may take until its session begins, without the login upstream.
const STARTUP: Duration = Duration::from_secs(30);
/// The same for a client that will get none in any case.
const STRAY: Duration = Duration::from_secs(2);
/// How long a client may take to hear why it gets no session.
const FAREWELL: Duration = Duration::from_secs(2);
/// How many connections are served at once. With 25 KB each they fit into 250 MiB.
const SESSIONS: usize = 10_000;

/// What every connection needs of the process.
#[derive(Clone, Debug)]
pub struct Handles {
    /// The document in force.
    pub documents: Documents,
    /// The leases.
    pub credentials: Credentials,
    /// Where records go.
    pub recorder: Recorder,
    /// Cancelled when the process ends.
    pub shutdown: CancellationToken,
}

/// Takes connections over and serves them on the worker threads.
#[derive(Clone, Debug)]
pub struct Connections {
    shared: Arc<Shared>,
    workers: Workers,
}

#[derive(Debug)]
struct Shared {
    handles: Handles,
    certificate: Certificate,
    cancels: Cancels,
    defaults: Defaults,
    catalogs: Catalogs,
    services: Services,
    slots: Arc<Semaphore>,
}

impl Connections {
    /// Starts that many worker threads.
    ///
    /// # Errors
    /// When a thread cannot be started, or the certificate for clients cannot be made.
    pub fn start(handles: Handles, workers: usize) -> Result<Self, BeginError> {
        let shared = Shared {
            handles,
            certificate: Certificate::make()?,
            cancels: Cancels::new(),
            defaults: Defaults::new(),
            catalogs: Catalogs::new(),
            services: Services::default(),
            slots: Arc::new(Semaphore::new(SESSIONS)),
        };
        Ok(Self { shared: Arc::new(shared), workers: Workers::start(workers)? })
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.workers.running()
    }

    /// Returns once every connection has ended, or after `within`; says whether all had. The shutdown token
    /// of the handles tells them to.
    pub async fn drained(&self, within: Duration) -> bool {
        timeout(within, self.workers.idle()).await.is_ok()
    }
}

impl Hand for Connections {
    fn take(&self, accepted: Accepted) {
        let shared = Arc::clone(&self.shared);
        let span = info_span!("conn", client = %accepted.client);
        let Accepted { stream, client, arrival } = accepted;
        let served = self.workers.hand(move || {
            async move {
                match Stream::tcp(stream) {
                    Ok(stream) => serve(&shared, stream, client, &arrival).await,
                    Err(error) => error!(error = %error, "a connection cannot be served"),
                }
            }
            .instrument(span)
        });
        if served.is_err() {
            error!("too many connections wait for the workers; one is closed");
        }
    }
}

/// One connection, top to bottom.
async fn serve(shared: &Shared, stream: Stream, from: SocketAddr, arrival: &Arrival) {
    let current = shared.handles.documents.current();
    let arrival = &match &current {
        Some(current) if !find::is_known(&current.document, arrival) => {
            Box::pin(shared.services.at_virtual_address(&current.document, arrival)).await
        }
        Some(_) | None => arrival.clone(),
    };
    if let Some(current) = current.filter(|current| find::is_opaque(&current.document, arrival)) {
        let passed = pass(shared, stream, (from, arrival), &current.document);
        return match Box::pin(passed).await {
            Ok(()) => {}
            Err(error) => refuse(shared, None, arrival, &error).await,
        };
    }
    let Ok(_slot) = shared.slots.try_acquire() else {
        let client = Client { stream, buffer: BytesMut::new() };
        return refuse(shared, Some(client), arrival, &NoSession::TooMany.into()).await;
    };
    // Who came to no Connection may say that it is a psql, which is then told; of what else it sends nothing counts.
    let stray = stray(shared, arrival);
    let patience = if stray { STRAY } else { STARTUP };
    let (mut client, opening) = match begin(shared, stream, patience).await {
        Ok(begun) => begun,
        Err(startup::Failed { client, error }) => {
            let error = if stray { NoSession::NoConnection.into() } else { error.into() };
            return refuse(shared, client, arrival, &error).await;
        }
    };
    let opened = match opening {
        Opening::Session(opened) => opened,
        Opening::Cancel { pid, secret } => return cancel(shared, client, arrival, (pid, &secret)).await,
    };
    match Box::pin(admit(shared, &mut client, &opened, from, arrival)).await {
        Ok((admitted, record)) => {
            info!(connection = %admitted.connection, session = %admitted.id, "session begins");
            let outcome = Box::pin(relay::run(admitted.session(client, shared))).await;
            info!(reason = outcome.reason.text(), "session ended");
            record.end(outcome);
        }
        Err(error) => refuse(shared, Some(client), arrival, &error).await,
    }
}

/// Whether a client came to what is no Connection of the document in force.
fn stray(shared: &Shared, arrival: &Arrival) -> bool {
    let current = shared.handles.documents.current();
    current.is_some_and(|current| !find::is_known(&current.document, arrival))
}

async fn begin(
    shared: &Shared,
    stream: Stream,
    patience: Duration,
) -> Result<(Client, Opening), startup::Failed> {
    let received = timeout(patience, Box::pin(startup::receive(stream, &shared.certificate)));
    let failed = |_| startup::Failed { client: None, error: StartupError::Timeout };
    received.await.map_err(failed)?
}

/// A session's parts, once everything is there that it takes.
struct Admitted {
    id: Uuid,
    connection: String,
    wanted: Wanted,
    upstream: login::LoggedIn,
    another: Another,
    guard: crate::policy::SessionGuard,
    cancel: crate::postgres::CancelGate,
}

/// From what the client wants to a session that is ready: Connection, credential, record, upstream.
async fn admit(
    shared: &Shared,
    client: &mut Client,
    opened: &Opened,
    from: SocketAddr,
    arrival: &Arrival,
) -> Result<(Admitted, Open), Error> {
    let Handles { documents, credentials, recorder, shutdown } = &shared.handles;
    if shutdown.is_cancelled() {
        return Err(NoSession::ShuttingDown.into());
    }
    let guard = documents.session();
    let current = documents.current().ok_or(NoSession::NoDocument)?;
    let connection = find::connection(&current.document, arrival, opened.parameter("database"))?;
    let wanted = Wanted::new(opened, connection)?;
    let lease = credentials.lease(&connection.name).await;
    let lease = lease.map_err(|reason| NoSession::NoLease { connection: connection.name.clone(), reason })?;
    let id = Uuid::now_v7();
    let start = record::Start { wanted: &wanted, from, generation: current.generation };
    let record = Open::begin(recorder, id, connection, start).await?;
    let wish = Arc::new(Wish {
        connection: connection.name.clone(),
        upstream: connection.upstream.clone(),
        lease,
        database: wanted.database.clone(),
        settings: wanted.settings.clone(),
        defaults: shared.defaults.clone(),
    });
    let upstream = match login::login(&wish).await {
        Ok(upstream) => upstream,
        Err(source) => {
            record.failed(&source);
            return Err(Error::Upstream { connection: connection.name.clone(), source });
        }
    };
    let cancel = shared.cancels.open(wanted.version, id, &connection.upstream, upstream.key.clone());
    client.welcome(&wanted, &upstream, &cancel).await?;
    let connection = connection.name.clone();
    let another = Another::new(wish);
    Ok((Admitted { id, connection, wanted, upstream, another, guard, cancel }, record))
}

impl Admitted {
    fn session(self, client: Client, shared: &Shared) -> Session {
        let Self { id, connection, wanted, upstream, another, guard, cancel } = self;
        let Handles { documents, credentials: _, recorder, shutdown } = shared.handles.clone();
        Session {
            id,
            client: client.stream,
            client_buffer: client.buffer,
            upstream,
            connection,
            database: wanted.database,
            claimed_user: wanted.user,
            documents,
            guard,
            recorder,
            cancel,
            catalogs: shared.catalogs.clone(),
            another,
            shutdown,
        }
    }
}

/// One connection to what nobody looks at. Its client speaks nothing that an error could be told in: when it
/// gets no session, it is closed.
async fn pass(
    shared: &Shared,
    client: Stream,
    (from, arrival): (SocketAddr, &Arrival),
    document: &Document,
) -> Result<(), Error> {
    let Handles { documents, credentials: _, recorder, shutdown } = &shared.handles;
    let _slot = shared.slots.try_acquire().map_err(|_| NoSession::TooMany)?;
    if shutdown.is_cancelled() {
        return Err(NoSession::ShuttingDown.into());
    }
    let connection = find::connection(document, arrival, None)?;
    let name = || connection.name.clone();
    let gate = opaque::admit(documents.clone(), documents.session(), connection)
        .map_err(|reason| NoSession::Refused { connection: name(), reason })?;
    let id = Uuid::now_v7();
    let record = Open::begin_opaque(recorder, id, connection, (from, &gate)).await?;
    let upstream = match upstream::connect(&connection.upstream).await {
        Ok(upstream) => Stream::Plain(upstream),
        Err(error) => {
            let source = login::LoginError::Reach(error);
            record.failed(&source);
            return Err(Error::Upstream { connection: name(), source });
        }
    };
    warn!(connection = %connection.name, session = %id, "an opaque session begins: its bytes are not looked at");
    let session = opaque::Session { client, upstream, gate, shutdown: shutdown.clone() };
    let outcome = opaque::run(session).await;
    info!(reason = outcome.reason, "session ended");
    record.passed(outcome);
    Ok(())
}

/// Tells the client why there is no session, and records it.
async fn refuse(shared: &Shared, client: Option<Client>, arrival: &Arrival, error: &Error) {
    if error.is_ours() {
        error!(error = %error, "a connection cannot be served");
    } else {
        debug!(error = %error, "no session");
    }
    record::refused(&shared.handles.recorder, arrival, error);
    if let (Some(mut client), Some(told)) = (client, error.told()) {
        let mut to = BytesMut::new();
        write::error(&mut to, &told.text());
        // It is told if it still listens; the connection ends in any case.
        drop(timeout(FAREWELL, farewell(&mut client.stream, &to)).await);
    }
}

/// Sends the last bytes and reads what the client still sends: closing with unread bytes would reset the
/// connection, and the client might never see why.
async fn farewell(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    let mut left = 64 * 1024_usize;
    while left > 0 {
        match stream.read(&mut [0; 1024]).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

/// A cancel request: never answered, as in the server. Its client waits for the end of the connection, which
/// through TLS must be said: an end without a word could be an attacker's.
async fn cancel(shared: &Shared, mut client: Client, arrival: &Arrival, (pid, secret): (u32, &[u8])) {
    let delivery = Box::pin(shared.cancels.deliver(pid, secret)).await;
    record::cancel(&shared.handles.recorder, arrival, delivery);
    // Whoever is gone needs no end.
    drop(timeout(FAREWELL, farewell(&mut client.stream, &[])).await);
}

#[cfg(test)]
mod tests;
