//! The fence: rules in the pod's network namespace that leave the sidecar as the only way out.
//!
//! ```text
//!  any UID but the sidecar's                         the sidecar's UID
//!   TCP, UDP to port 53 -> sidecar's DNS              everything -> out, its TCP connections are marked
//!   other TCP           -> sidecar's capture port
//!   loopback            -> untouched
//!   replies to inbound  -> out (probes, Services)
//!   everything else     -> dropped (UDP, ICMP, raw, SCTP)
//! ```
//! One nftables table of family `inet` holds it for IPv4 and IPv6 alike. It is put up in one transaction by
//! the first init container, so nothing of the pod runs before it, and it stays when the sidecar ends.

mod expression;
mod netlink;
mod rules;

pub use netlink::FenceError;

/// What the fence has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The one user whose traffic goes out.
    pub sidecar_uid: u32,
    /// Where captured TCP goes, on loopback.
    pub capture_port: u16,
    /// Where DNS goes, on loopback.
    pub dns_port: u16,
}

impl Fence {
    /// Puts the fence up, replacing one that is there, in one step.
    ///
    /// # Errors
    /// When the kernel refuses, for want of the capability NET_ADMIN or of nftables.
    pub fn raise(&self) -> Result<(), FenceError> {
        netlink::commit(&rules::table(self))
    }
}
