//! The operator: controllers, webhooks, control channel, collector.
//!
//! ```text
//!  every replica:  webhook (inject, validate)   records_api   admin   certs
//!  the leader:     controller -> distribute -> channel        collector
//! ```

pub mod addresses;
pub mod admin;
pub mod args;
pub mod certs;
pub mod channel;
pub mod collector;
pub mod controller;
pub mod distribute;
pub mod leader;
pub mod leases;
pub mod listen;
pub mod metrics;
pub mod records_api;
pub mod references;
pub mod runtime;
pub mod webhook;
