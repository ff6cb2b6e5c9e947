//! Resources to documents. The only place that sees `api` and `policy` together; operator, standalone sidecar
//! and plugin share it. No I/O.
//!
//! [`Compiled`] compiles everything once; a pod belongs to a [`Class`], and a class has a document. What cannot
//! be read narrows and never widens: see [`unreadable`].

mod conflict;
mod document;
mod environment;
pub mod files;
mod governing;
mod pod;
mod rules;
mod select;
mod unreadable;
pub mod validate;

pub use document::{Class, Compiled, ConnectionInput, Inputs, PolicyInput, digest, document};
pub use environment::environment;
pub use pod::{Pod, requested};
