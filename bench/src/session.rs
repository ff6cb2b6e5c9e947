//! Sessions that are held open, as a driver's pool holds them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Result, ensure};
use bytes::BytesMut;
use wire::postgres::{Piece, TransactionStatus, backend::Message};
use wire::postgres::{ServerSplitter, startup::Version, write};

use crate::world::{DATABASE, ROLE};

/// A session that is logged in without a password, as in an agent's pod.
#[derive(Debug)]
pub(crate) struct Session {
    stream: TcpStream,
}

impl Session {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let mut session = Self { stream: TcpStream::connect(address)? };
        let mut hello = BytesMut::new();
        write::startup(&mut hello, Version::V3_0, &[("user", ROLE), ("database", DATABASE)])?;
        session.stream.write_all(&hello)?;
        session.ready()?;
        Ok(session)
    }

    /// Runs a statement and drops its rows.
    pub(crate) fn run(&mut self, text: &str) -> Result<()> {
        let mut query = BytesMut::new();
        write::query(&mut query, text)?;
        self.stream.write_all(&query)?;
        self.ready()
    }

    fn ready(&mut self) -> Result<()> {
        let mut splitter = ServerSplitter::default();
        let mut buffer = [0; 4096];
        loop {
            while let Some(piece) = splitter.next()? {
                let Piece::Frame(frame) = piece else { continue };
                let message = Message::decode(&frame)?;
                ensure!(!matches!(message, Message::ErrorResponse(_)), "refused: {message:?}");
                if message == Message::ReadyForQuery(TransactionStatus::Idle) {
                    return Ok(());
                }
            }
            let read = self.stream.read(&mut buffer)?;
            ensure!(read > 0, "the connection ended");
            splitter.push(buffer.get(..read).unwrap_or_default());
        }
    }
}
