//! The sidecar: fence, DNS, proxy, recorder

pub mod args;
pub mod exit;
pub mod logging;
pub mod fence;
pub mod policy;
pub mod recorder;
pub mod spool;
