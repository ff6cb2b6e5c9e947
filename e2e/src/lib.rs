//! What the tests against a real cluster stand on: a namespace per test, fixtures in it, and probes into it.
//!
//! ```text
//!  with_namespace ──> Space ──apply──> Postgres, Agent
//!                       │                 │ exec: psql as it is       │ port-forward: a driver
//!                       └ on failure: pods, events, logs; then it is deleted
//! ```
//! The tests see Chaperone as its users do: through the API server, through pods, through the records. They need
//! a KUBECONFIG, an installed chart and the images of `e2e/cluster/images.sh`.

pub mod agent;
mod dump;
pub mod exec;
pub mod fixture;
pub mod host;
pub mod kubectl;
pub mod operator;
pub mod outside;
pub mod records;
pub mod session;
mod space;
pub mod wait;
pub mod webhook;

pub use space::{Space, with_labels, with_namespace, with_own_namespace};
