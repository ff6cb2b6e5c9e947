//! The sidecar: fence, DNS, proxy, recorder

pub mod policy;
pub mod recorder;
pub mod spool;
