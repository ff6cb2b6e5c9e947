//! The custom resources as Rust types, their schema and CEL rules
