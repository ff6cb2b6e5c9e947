//! The sidecar: fence, DNS, proxy, recorder
