//! Resources to documents: what operator, standalone sidecar and CLI share
