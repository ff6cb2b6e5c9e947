//! Resources to documents. The only place that sees `api` and `policy` together; operator, standalone sidecar
//! and plugin share it. No I/O.
//!
//! [`document`] selects what concerns one pod and compiles it. What cannot be read narrows and never widens:
//! an unreadable policy denies everything on its Connections.

mod document;
mod environment;
pub mod files;
mod pod;
mod rules;
mod select;
pub mod validate;

pub use document::{ConnectionInput, Inputs, PolicyInput, digest, document};
pub use environment::environment;
pub use pod::{Pod, requested};
