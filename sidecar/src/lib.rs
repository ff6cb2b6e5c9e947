//! The sidecar: fence, DNS, proxy, recorder

pub mod admin;
pub mod args;
pub mod capture;
pub mod cleared;
pub mod connection;
pub mod control;
pub mod credentials;
pub mod dns;
pub mod error;
pub mod exit;
pub mod fence;
pub mod logging;
mod opaque;
pub mod policy;
pub mod postgres;
pub mod recorder;
pub mod runtime;
pub mod spool;
pub mod standalone;
pub mod stream;
pub mod upstream;
pub mod workers;
