//! A client that says exactly what a test wants it to say.

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wire::{
    Frame,
    postgres::{ServerSplitter, backend::Message, startup::Version, write},
};

pub(crate) struct Raw {
    stream: TcpStream,
    heard: ServerSplitter,
}

impl Raw {
    pub(crate) async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("connects");
        Self { stream, heard: ServerSplitter::default() }
    }

    /// A session of this version, and what the server side said until it was ready.
    pub(crate) async fn session(port: u16, version: Version, more: &[(&str, &str)]) -> (Self, Vec<Frame>) {
        let mut raw = Self::open(port).await;
        let parameters = [&[("user", "agent"), ("database", "shop")], more].concat();
        raw.say(|to| write::startup(to, version, &parameters).expect("fits")).await;
        let heard = raw.until(b'Z').await;
        (raw, heard)
    }

    pub(crate) async fn say(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut to = BytesMut::new();
        write(&mut to);
        self.send(&to).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the sidecar listens");
    }

    /// The next message; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.heard.whole().expect("a message") {
                return Some(frame);
            }
            if self.stream.read_buf(self.heard.buffer()).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Messages up to one with this tag.
    pub(crate) async fn until(&mut self, tag: u8) -> Vec<Frame> {
        let mut heard = Vec::new();
        loop {
            let frame = self.next().await.unwrap_or_else(|| panic!("ended before `{}`", char::from(tag)));
            let last = frame.tag() == tag;
            heard.push(frame);
            if last {
                return heard;
            }
        }
    }

    /// Messages up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut heard = Vec::new();
        while let Some(frame) = self.next().await {
            heard.push(frame);
        }
        heard
    }

    /// The socket, for what needs no messages.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// The tags of some messages, as text.
pub(crate) fn tags(frames: &[Frame]) -> String {
    frames.iter().map(|frame| char::from(frame.tag())).collect()
}

/// What an ErrorResponse among them says: severity, SQLSTATE, message.
pub(crate) fn error(frames: &[Frame]) -> Option<(String, String, String)> {
    frames.iter().find_map(|frame| match Message::decode(frame) {
        Ok(Message::ErrorResponse(fields)) => {
            let text = |letter| fields.text(letter).unwrap_or_default().to_owned();
            Some((text(b'V'), text(b'C'), text(b'M')))
        }
        _ => None,
    })
}

/// The process and the secret of a BackendKeyData among them.
pub(crate) fn key(frames: &[Frame]) -> (u32, Vec<u8>) {
    let found = frames.iter().find_map(|frame| match Message::decode(frame) {
        Ok(Message::BackendKeyData(data)) => Some((data.pid, data.key.to_vec())),
        _ => None,
    });
    found.expect("a key is given")
}

/// A message with this tag and body.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("fits");
    [&[tag], &length.to_be_bytes()[..], body].concat()
}
