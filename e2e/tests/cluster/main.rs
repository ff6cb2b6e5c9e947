//! What users see of an installation that stands, each test in a namespace of its own, many at once.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "a test that finds another object than it expects may panic"
)]

mod admission;
mod allow_and_refuse;
mod credentials;
mod examples;
mod fence;
mod gitops;
mod inject;
mod jobs;
mod other_webhooks;
mod policy_change;
mod readiness;
mod records;
mod refused_pods;
mod rotation;
mod sidecar_crash;
mod webhook_certificates;
