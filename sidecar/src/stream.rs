//! One kind of byte stream for sessions: TCP or TLS over it, and an in-process pipe for scripted peers.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::{client, server};

/// A byte stream to a client or an upstream.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS that a client began.
    FromClient(Box<server::TlsStream<Rewound>>),
    /// TLS that we began.
    ToUpstream(Box<client::TlsStream<Self>>),
    /// A pipe inside this process.
    Memory(DuplexStream),
}

impl Stream {
    /// Takes a non-blocking socket over into this runtime.
    ///
    /// # Errors
    /// When the runtime cannot take it.
    pub fn tcp(socket: std::net::TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        TcpStream::from_std(socket).map(Self::Plain)
    }

    /// Whether what goes over it is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self, Self::FromClient(_) | Self::ToUpstream(_))
    }

    /// The other end's address, if it has one.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(tcp) => tcp.peer_addr().ok(),
            Self::FromClient(tls) => tls.get_ref().0.inner.peer(),
            Self::ToUpstream(tls) => tls.get_ref().0.peer(),
            Self::Memory(_) => None,
        }
    }

    /// Both directions, for two tasks. TCP halves share nothing; the others share a lock.
    #[must_use]
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        if let Self::Plain(tcp) = self {
            let (read, write) = tcp.into_split();
            return (ReadHalf::Plain(read), WriteHalf::Plain(write));
        }
        let (read, write) = tokio::io::split(self);
        (ReadHalf::Shared(read), WriteHalf::Shared(write))
    }
}

/// The reading direction.
#[derive(Debug)]
pub enum ReadHalf {
    /// Of TCP.
    Plain(OwnedReadHalf),
    /// Of everything else.
    Shared(tokio::io::ReadHalf<Stream>),
}

/// The writing direction.
#[derive(Debug)]
pub enum WriteHalf {
    /// Of TCP.
    Plain(OwnedWriteHalf),
    /// Of everything else.
    Shared(tokio::io::WriteHalf<Stream>),
}

/// A stream with bytes put back in front of it: the start of a ClientHello, read to see what it is.
#[derive(Debug)]
pub struct Rewound {
    front: Bytes,
    inner: Stream,
}

impl Rewound {
    /// Puts `front` back.
    #[must_use]
    pub const fn new(front: Bytes, inner: Stream) -> Self {
        Self { front, inner }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.front.is_empty() {
            return Pin::new(&mut self.inner).poll_read(context, buffer);
        }
        let count = self.front.len().min(buffer.remaining());
        buffer.put_slice(self.front.get(..count).unwrap_or_default());
        self.front.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_read(context, buffer),
            Self::FromClient(inner) => Pin::new(inner).poll_read(context, buffer),
            Self::ToUpstream(inner) => Pin::new(inner).poll_read(context, buffer),
            Self::Memory(inner) => Pin::new(inner).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_write(context, bytes),
            Self::FromClient(inner) => Pin::new(inner).poll_write(context, bytes),
            Self::ToUpstream(inner) => Pin::new(inner).poll_write(context, bytes),
            Self::Memory(inner) => Pin::new(inner).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_write_vectored(context, slices),
            Self::FromClient(inner) => Pin::new(inner).poll_write_vectored(context, slices),
            Self::ToUpstream(inner) => Pin::new(inner).poll_write_vectored(context, slices),
            Self::Memory(inner) => Pin::new(inner).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(inner) => inner.is_write_vectored(),
            Self::FromClient(inner) => inner.is_write_vectored(),
            Self::ToUpstream(inner) => inner.is_write_vectored(),
            Self::Memory(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_flush(context),
            Self::FromClient(inner) => Pin::new(inner).poll_flush(context),
            Self::ToUpstream(inner) => Pin::new(inner).poll_flush(context),
            Self::Memory(inner) => Pin::new(inner).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_shutdown(context),
            Self::FromClient(inner) => Pin::new(inner).poll_shutdown(context),
            Self::ToUpstream(inner) => Pin::new(inner).poll_shutdown(context),
            Self::Memory(inner) => Pin::new(inner).poll_shutdown(context),
        }
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_read(context, buffer),
            Self::Shared(inner) => Pin::new(inner).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_write(context, bytes),
            Self::Shared(inner) => Pin::new(inner).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_write_vectored(context, slices),
            Self::Shared(inner) => Pin::new(inner).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(inner) => inner.is_write_vectored(),
            Self::Shared(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_flush(context),
            Self::Shared(inner) => Pin::new(inner).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(inner) => Pin::new(inner).poll_shutdown(context),
            Self::Shared(inner) => Pin::new(inner).poll_shutdown(context),
        }
    }
}
