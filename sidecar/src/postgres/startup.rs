//! What a client says before its session: TLS, its wishes, or a cancel request.
//!
//! ```text
//!            +-- TLS ClientHello (direct) --+
//!            |                              v
//! accepted --+-- SSLRequest -> `S` -------> TLS --+-- StartupMessage -> Opening::Session
//!            +-- GSSENCRequest -> `N` --+         |
//!            +<-------------------------+         +-- CancelRequest  -> Opening::Cancel
//!            +------------------------------------+
//! ```

mod certificate;
mod error;
mod options;
pub mod settings;
mod wanted;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::postgres::{
    TransactionStatus,
    startup::{Packet, Start, TLS_HANDSHAKE, Version},
    write,
};
use zeroize::Zeroizing;

use crate::{
    postgres::{CancelGate, LoggedIn},
    stream::{Rewound, Stream},
};

pub use certificate::{Certificate, CertificateError};
pub use error::StartupError;
pub use wanted::Wanted;

/// How many packets a client may send before its session: both requests for encryption, and the start.
pub(crate) const PACKETS: usize = 4;

/// A client before its session.
#[derive(Debug)]
pub struct Client {
    /// Towards it.
    pub stream: Stream,
    /// What it sent and nobody has read.
    pub buffer: BytesMut,
}

/// What a client came for.
#[derive(Debug)]
pub enum Opening {
    /// A session.
    Session(Opened),
    /// To cancel what another connection runs.
    Cancel {
        /// The process that it names.
        pid: u32,
        /// The secret that it shows.
        secret: Zeroizing<Vec<u8>>,
    },
}

/// The start of a session, as the client sent it.
#[derive(Debug)]
pub struct Opened {
    /// The version that it wishes.
    pub version: Version,
    /// Names and values.
    pub parameters: Vec<(String, String)>,
}

impl Opened {
    fn new(start: &Start<'_>) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { version: start.version, parameters: start.parameters.iter().map(owned).collect() }
    }

    /// The value of a parameter. The last one counts, as in the server.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A client that cannot have what it came for. It is still there to be told, unless TLS failed.
#[derive(Debug)]
pub struct Failed {
    /// The client.
    pub client: Option<Client>,
    /// Why.
    pub error: StartupError,
}

/// Hears what a client came for, setting up TLS where it asks for it.
///
/// # Errors
/// When it sends what is none of the packets that may come here.
pub async fn receive(stream: Stream, certificate: &Certificate) -> Result<(Client, Opening), Failed> {
    let mut client = Client { stream, buffer: BytesMut::new() };
    for _ in 0..PACKETS {
        let step = client.hear().await;
        match step {
            Ok(Heard::Opening(opening)) => return Ok((client, opening)),
            Ok(Heard::NoGss) => {}
            Ok(Heard::Tls) => client = client.secured(certificate).await?,
            Err(error) => return Err(Failed { client: Some(client), error }),
        }
    }
    Err(Failed { client: Some(client), error: StartupError::Order })
}

/// What one packet led to.
enum Heard {
    Opening(Opening),
    /// GSSAPI encryption was asked for and refused.
    NoGss,
    /// TLS was asked for, or has begun.
    Tls,
}

impl Client {
    async fn hear(&mut self) -> Result<Heard, StartupError> {
        let Some(body) = self.packet().await? else { return Ok(Heard::Tls) };
        let heard = match Packet::decode(&body)? {
            Packet::SslRequest | Packet::GssEncRequest if self.stream.is_encrypted() => {
                return Err(StartupError::Order);
            }
            // Bytes that follow in the clear could be taken for what came through TLS.
            Packet::SslRequest | Packet::GssEncRequest if !self.buffer.is_empty() => {
                return Err(StartupError::Unencrypted);
            }
            Packet::SslRequest => {
                self.answer(b"S").await?;
                Heard::Tls
            }
            Packet::GssEncRequest => {
                self.answer(b"N").await?;
                Heard::NoGss
            }
            Packet::CancelRequest(cancel) => {
                let secret = Zeroizing::new(cancel.key.to_vec());
                Heard::Opening(Opening::Cancel { pid: cancel.pid, secret })
            }
            Packet::Start(start) => Heard::Opening(Opening::Session(Opened::new(&start))),
        };
        Ok(heard)
    }

    /// The next packet; none when a TLS handshake begins instead.
    async fn packet(&mut self) -> Result<Option<Bytes>, StartupError> {
        loop {
            if self.buffer.first() == Some(&TLS_HANDSHAKE) && !self.stream.is_encrypted() {
                return Ok(None);
            }
            if let Some(body) = Packet::split(&mut self.buffer)? {
                return Ok(Some(body));
            }
            self.buffer.reserve(1024);
            let read = self.stream.read_buf(&mut self.buffer).await.map_err(|_| StartupError::Gone)?;
            if read == 0 {
                return Err(StartupError::Gone);
            }
        }
    }

    async fn answer(&mut self, bytes: &[u8]) -> Result<(), StartupError> {
        self.stream.write_all(bytes).await.map_err(|_| StartupError::Gone)?;
        self.stream.flush().await.map_err(|_| StartupError::Gone)
    }

    /// The same client, through TLS. Direct TLS must say that it is for PostgreSQL.
    async fn secured(self, certificate: &Certificate) -> Result<Self, Failed> {
        let direct = !self.buffer.is_empty();
        let rewound = Rewound::new(self.buffer.freeze(), self.stream);
        let failed = |error| Failed { client: None, error };
        let tls = certificate.acceptor().accept(rewound).await.map_err(|_| failed(StartupError::Tls))?;
        if direct && tls.get_ref().1.alpn_protocol() != Some(certificate::ALPN) {
            return Err(failed(StartupError::Alpn));
        }
        Ok(Self { stream: Stream::FromClient(Box::new(tls)), buffer: BytesMut::new() })
    }

    /// Says that the session has begun: the upstream's settings, and a cancel key of our own.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn welcome(
        &mut self,
        wanted: &Wanted,
        upstream: &LoggedIn,
        cancel: &CancelGate,
    ) -> Result<(), StartupError> {
        let mut to = BytesMut::with_capacity(1024);
        if wanted.negotiate || !wanted.unknown_options.is_empty() {
            let unknown: Vec<&str> = wanted.unknown_options.iter().map(String::as_str).collect();
            write::negotiate(&mut to, wanted.version, &unknown)?;
        }
        write::authentication_ok(&mut to);
        for (name, value) in &upstream.parameters {
            write::parameter_status(&mut to, name, value)?;
        }
        write::backend_key_data(&mut to, cancel.pid(), cancel.secret())?;
        write::ready_for_query(&mut to, TransactionStatus::Idle);
        self.answer(&to).await
    }
}
