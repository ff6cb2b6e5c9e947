//! A real sidecar, standalone, before a real PostgreSQL.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "postgres/cases.rs"]
mod cases;
#[path = "postgres/support.rs"]
mod support;
