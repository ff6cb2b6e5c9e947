//! The operator: controllers, webhooks, control channel, collector

pub mod collector;
pub mod records_api;
