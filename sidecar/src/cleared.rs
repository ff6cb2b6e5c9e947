//! What may go upstream: a client's frame with the proof that it was decided on.
//!
//! The upstream writer takes a client's bytes in no other form, and a [`Permit`] is spent here. So forwarding
//! without a decision does not compile.

use bytes::Bytes;
use policy::Permit;
use wire::Frame;

/// A client's frame that may go upstream, with its original bytes.
#[derive(Debug)]
pub struct Cleared<T> {
    frame: T,
}

impl Cleared<Frame> {
    /// Spends a permit on a frame.
    #[must_use]
    pub fn new(permit: Permit, frame: Frame) -> Self {
        drop(permit);
        Self { frame }
    }

    /// The original bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.frame.raw()
    }
}

impl Cleared<Bytes> {
    /// Spends a permit on some bytes of a client that nobody looks at.
    #[must_use]
    pub fn passing(permit: Permit, bytes: Bytes) -> Self {
        drop(permit);
        Self { frame: bytes }
    }

    /// The bytes.
    #[must_use]
    pub fn chunk(&self) -> &[u8] {
        &self.frame
    }
}
