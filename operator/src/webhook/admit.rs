//! Admission: pure, from an object as it would be stored to a verdict.
//!
//! Pods are checked after every mutation, by whomever; Connections and AccessPolicies as their author
//! wrote them.

pub(crate) mod ours;
pub mod pod;
pub mod resources;
pub(crate) mod secrets;
