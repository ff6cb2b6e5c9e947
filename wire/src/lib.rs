//! Bytes to protocol messages and back; bounded readers
