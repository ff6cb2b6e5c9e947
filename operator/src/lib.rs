//! The operator: controllers, webhooks, control channel, collector

pub mod certs;
pub mod collector;
pub mod records_api;
pub mod webhook;
