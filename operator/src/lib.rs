//! The operator: controllers, webhooks, control channel, collector
