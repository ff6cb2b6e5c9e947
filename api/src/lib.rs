//! The custom resources as Rust types, with their schema and CEL rules. No I/O.
//!
//! Types decode strictly: an unknown field is an error that names its place. Watches use [`Lenient`], which
//! keeps one bad object from breaking the stream.

pub mod condition;
mod decode;
mod schema;
pub mod v1alpha1;

pub use decode::{FieldError, Lenient, Spec, decode_spec};
pub use schema::custom_resource_definitions;
pub use v1alpha1::{
    AccessPolicy, AccessPolicySpec, AccessPolicyStatus, Connection, ConnectionSpec, ConnectionStatus,
};

/// The API group of every kind.
pub const GROUP: &str = "chaperone.dev";
