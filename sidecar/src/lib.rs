//! The sidecar: fence, DNS, proxy, recorder

pub mod args;
pub mod capture;
pub mod dns;
pub mod exit;
pub mod logging;
pub mod fence;
pub mod policy;
pub mod recorder;
pub mod spool;
