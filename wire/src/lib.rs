//! Bytes to protocol messages and back.
//!
//! Nothing here reads from a network, decides or logs. Every length and count that a peer sends is checked
//! against the bytes that are there before it is used; what is unknown, too long, too short or followed by
//! bytes that belong to nothing is an error, never repaired and never skipped. Decoded messages borrow from
//! the original bytes, which is what is forwarded.

mod error;
mod frame;
pub mod postgres;
mod reader;

pub use error::{DecodeError, EncodeError};
pub use frame::Frame;
pub use reader::Reader;
