//! The upstream session: reached, logged in with the lease, pinned, and checked.
//!
//! Everything that a text's meaning depends on has a known value that nothing but the client's own SET can
//! change: `search_path`, `client_encoding` and `standard_conforming_strings` are given in the startup
//! packet, so `RESET ALL` and `DISCARD ALL` return to them and a reload of the server's files does not move
//! them. The role's own default of `search_path` is asked once and kept for a minute.

mod ask;
mod authenticate;
mod conversation;
mod defaults;
mod error;
mod pins;

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use policy::Upstream;
use tokio::time::timeout;
use wire::{
    Frame,
    postgres::{TransactionStatus, backend::Message, startup::Version, write},
};
use zeroize::Zeroizing;

use crate::{
    credentials::Lease,
    postgres::cancel::UpstreamKey,
    stream::Stream,
    upstream::{self, Reached},
};
use conversation::Conversation;

pub(super) use ask::ask;
pub use defaults::Defaults;
pub use error::LoginError;

/// How long a login may take in all.
const LOGIN: Duration = Duration::from_secs(20);
/// How many settings a server may report at login; PostgreSQL 18 reports 16.
const REPORTED: usize = 256;

/// Everything that logging in again takes.
#[derive(Debug)]
pub struct Wish {
    /// The Connection's `namespace/name`.
    pub connection: String,
    /// Where the upstream is.
    pub upstream: Upstream,
    /// The credential.
    pub lease: Arc<Lease>,
    /// The database.
    pub database: String,
    /// The client's own startup settings, checked.
    pub settings: Vec<(String, String)>,
    /// What is known of roles' defaults.
    pub defaults: Defaults,
}

/// Opens further upstream sessions with the same lease, database and pins.
#[derive(Clone, Debug)]
pub struct Another {
    wish: Arc<Wish>,
}

impl Another {
    /// Remembers how.
    #[must_use]
    pub const fn new(wish: Arc<Wish>) -> Self {
        Self { wish }
    }

    /// Opens one.
    ///
    /// # Errors
    /// As [`login`].
    pub async fn open(&self) -> Result<LoggedIn, LoginError> {
        login(&self.wish).await
    }
}

/// A server version that is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// 13 to 18.
    pub major: u16,
    /// As `server_version_num` says.
    pub number: u32,
}

impl ServerVersion {
    /// Built-ins are known for these.
    pub const SUPPORTED: std::ops::RangeInclusive<u16> = 13..=18;

    fn of(number: u32) -> Result<Self, LoginError> {
        let major = u16::try_from(number / 10_000).unwrap_or(u16::MAX);
        if Self::SUPPORTED.contains(&major) {
            return Ok(Self { major, number });
        }
        Err(LoginError::Version(number))
    }
}

/// An upstream session that is idle and pinned.
#[derive(Debug)]
pub struct LoggedIn {
    /// Towards the upstream.
    pub stream: Stream,
    /// What it sent after its ReadyForQuery: normally nothing.
    pub buffer: BytesMut,
    /// Its process.
    pub pid: u32,
    /// The role that statements run as.
    pub user: String,
    /// The database.
    pub database: String,
    /// Its version.
    pub version: ServerVersion,
    /// Its `search_path`, to which RESET returns.
    pub search_path: String,
    /// Its `default_transaction_isolation`.
    pub isolation: String,
    /// Every setting that it reported, in order.
    pub parameters: Vec<(String, String)>,
    pub(crate) key: UpstreamKey,
}

/// Logs in as the wish says.
///
/// # Errors
/// When the upstream cannot be reached, does not prove itself, refuses, or is not what the rest relies on.
pub async fn login(wish: &Wish) -> Result<LoggedIn, LoginError> {
    timeout(LOGIN, Box::pin(pinned(wish))).await.map_err(|_| LoginError::Timeout)?
}

async fn pinned(wish: &Wish) -> Result<LoggedIn, LoginError> {
    let chosen = wish.settings.iter().rev().find(|(name, _)| name == "search_path");
    let search_path = match chosen {
        Some((_, chosen)) => chosen.clone(),
        None => default_search_path(wish).await?,
    };
    let session = once(wish, Some(&search_path)).await?;
    if chosen.is_none() && session.search_path != search_path {
        return Err(LoginError::Unpinned("search_path"));
    }
    Ok(session)
}

/// The role's default: known, or asked for with a session of its own.
async fn default_search_path(wish: &Wish) -> Result<String, LoginError> {
    if let Some(known) = wish.defaults.search_path(wish) {
        return Ok(known);
    }
    let session = once(wish, None).await?;
    wish.defaults.remember(wish, &session.search_path);
    let search_path = session.search_path.clone();
    session.leave().await;
    Ok(search_path)
}

async fn once(wish: &Wish, search_path: Option<&str>) -> Result<LoggedIn, LoginError> {
    let reached = upstream::reach(&wish.upstream).await?;
    converse(reached, wish, search_path).await
}

/// The login itself, over a connection that is there.
async fn converse(reached: Reached, wish: &Wish, search_path: Option<&str>) -> Result<LoggedIn, LoginError> {
    let Reached { stream, security } = reached;
    let mut upstream = Conversation::new(stream);
    upstream.send(|to| start(to, wish, search_path)).await?;
    authenticate::authenticate(&mut upstream, &wish.lease, &security).await?;
    let (parameters, key) = settle(&mut upstream).await?;
    let pins = pins::ask(&mut upstream).await?;
    if pins.pid != key.pid {
        return Err(LoginError::Pooler);
    }
    let (stream, buffer) = upstream.into_parts();
    Ok(LoggedIn {
        stream,
        buffer,
        pid: key.pid,
        user: pins.user,
        database: wish.database.clone(),
        version: pins.version,
        search_path: pins.search_path,
        isolation: pins.isolation,
        parameters,
        key,
    })
}

/// The startup packet. Our pins come last: of equal names the last one counts.
fn start(to: &mut BytesMut, wish: &Wish, search_path: Option<&str>) -> Result<(), wire::EncodeError> {
    let mut parameters = vec![("user", wish.lease.username.as_str()), ("database", wish.database.as_str())];
    let pinned =
        |name: &str| matches!(name, "search_path" | "client_encoding" | "standard_conforming_strings");
    let settings = wish.settings.iter().filter(|(name, _)| !pinned(name));
    parameters.extend(settings.map(|(name, value)| (name.as_str(), value.as_str())));
    parameters.extend([("client_encoding", "UTF8"), ("standard_conforming_strings", "on")]);
    parameters.extend(search_path.map(|path| ("search_path", path)));
    write::startup(to, Version::V3_0, &parameters)
}

/// What follows authentication, up to the first ReadyForQuery.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other message is not due here")]
async fn settle(upstream: &mut Conversation) -> Result<(Vec<(String, String)>, UpstreamKey), LoginError> {
    let mut parameters = Vec::new();
    let mut key = None;
    loop {
        let frame = upstream.next().await?;
        match Message::decode(&frame)? {
            Message::ParameterStatus(name, value) if parameters.len() < REPORTED => {
                parameters.push((name.to_owned(), value.to_owned()));
            }
            Message::BackendKeyData(data) if key.is_none() => {
                key = Some(UpstreamKey { pid: data.pid, secret: Zeroizing::new(data.key.to_vec()) });
            }
            Message::ReadyForQuery(TransactionStatus::Idle) => break,
            _ => return Err(conversation::unexpected(&frame)),
        }
    }
    let key = key.ok_or(LoginError::Protocol("it gave no cancel key"))?;
    Ok((parameters, key))
}

impl LoggedIn {
    /// Ends the session in order.
    pub async fn leave(self) {
        let mut upstream = Conversation::new(self.stream);
        let goodbye = upstream.send(|to| {
            write::terminate(to);
            Ok(())
        });
        // It ends with the connection in any case.
        drop(goodbye.await);
    }
}

/// An error that the upstream sent instead of what was due.
fn refused(frame: &Frame) -> Option<LoginError> {
    let Ok(Message::ErrorResponse(fields)) = Message::decode(frame) else { return None };
    Some(LoginError::Refused { sqlstate: fields.sqlstate().map(str::to_owned) })
}

#[cfg(test)]
mod tests;
