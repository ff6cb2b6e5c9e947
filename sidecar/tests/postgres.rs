//! A real sidecar, standalone, before a real PostgreSQL.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "postgres/attacks.rs"]
mod attacks;
#[path = "postgres/cases.rs"]
mod cases;
#[path = "postgres/login.rs"]
mod login;
#[path = "postgres/raw.rs"]
mod raw;
#[path = "postgres/server.rs"]
mod server;
#[path = "postgres/startup.rs"]
mod startup;
#[path = "postgres/support.rs"]
mod support;
#[path = "postgres/tls.rs"]
mod tls;
