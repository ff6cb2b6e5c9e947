//! The messages between operator and sidecar
