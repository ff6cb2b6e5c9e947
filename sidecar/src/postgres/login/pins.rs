//! What the fresh session says about itself, checked against what the rest relies on.

use wire::{
    Frame,
    postgres::{TransactionStatus, backend::Message, write},
};

use super::{
    LoginError, ServerVersion,
    conversation::{Conversation, unexpected},
};

/// Qualified everywhere, without operators: nothing on the server can change what it means.
const QUESTION: &str = "SELECT pg_catalog.pg_backend_pid(), \
     pg_catalog.current_setting('server_version_num'), \
     pg_catalog.current_setting('search_path'), \
     pg_catalog.current_setting('client_encoding'), \
     pg_catalog.current_setting('standard_conforming_strings'), \
     pg_catalog.current_setting('default_transaction_isolation'), \
     CURRENT_USER";

/// What the session says.
#[derive(Debug)]
pub(super) struct Pins {
    pub(super) pid: u32,
    pub(super) version: ServerVersion,
    pub(super) search_path: String,
    pub(super) isolation: String,
    pub(super) user: String,
}

/// Asks, and refuses a session whose texts would mean something else than we think.
#[expect(clippy::wildcard_enum_match_arm, reason = "every other message is not due here")]
pub(super) async fn ask(upstream: &mut Conversation) -> Result<Pins, LoginError> {
    upstream.send(|to| write::query(to, QUESTION)).await?;
    let mut pins = None;
    loop {
        let frame = upstream.next().await?;
        match Message::decode(&frame)? {
            Message::RowDescription(_) | Message::CommandComplete(_) | Message::ParameterStatus(..) => {}
            Message::DataRow(_) if pins.is_none() => pins = Some(read(&frame)?),
            Message::ReadyForQuery(TransactionStatus::Idle) => break,
            _ => return Err(unexpected(&frame)),
        }
    }
    pins.ok_or(LoginError::Protocol("it does not say what it is"))
}

fn read(frame: &Frame) -> Result<Pins, LoginError> {
    let unreadable = || LoginError::Protocol("it does not say what it is");
    let Message::DataRow(row) = Message::decode(frame)? else { return Err(unreadable()) };
    let texts: Option<Vec<&str>> = row.iter().map(|value| std::str::from_utf8(value?).ok()).collect();
    let texts = texts.ok_or_else(unreadable)?;
    let [pid, version, search_path, encoding, strings, isolation, user] = texts.as_slice() else {
        return Err(unreadable());
    };
    if *encoding != "UTF8" {
        return Err(LoginError::Unpinned("client_encoding"));
    }
    if *strings != "on" {
        return Err(LoginError::Unpinned("standard_conforming_strings"));
    }
    Ok(Pins {
        pid: pid.parse().map_err(|_| unreadable())?,
        version: ServerVersion::of(version.parse().map_err(|_| unreadable())?)?,
        search_path: (*search_path).to_owned(),
        isolation: (*isolation).to_owned(),
        user: (*user).to_owned(),
    })
}
