//! The fence's table, as values.

use super::{
    Fence,
    expression::{
        Rule, accept, icmp_type, mark, marked, redirect, reply, to_loopback_interface, to_loopback_v4,
        to_loopback_v6, to_port, transport, user, without_syn,
    },
};

/// Protocol numbers of IANA.
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Router and neighbour solicitation and advertisement, and multicast listener reports: the kernel's own
/// messages, without which IPv6 does not work at all. An agent cannot send them without NET_RAW.
const NEIGHBOUR_DISCOVERY: [u8; 5] = [133, 135, 136, 131, 143];
const DNS: u16 = 53;
/// Marks the sidecar's own connections: their last segments leave after the socket, and so its user, is gone.
const MARK: u32 = 0x4348_4150;

/// One table with its chains.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) chains: [Chain; 2],
}

/// One base chain on packets that leave the pod's own processes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// `nat` or `filter`.
    pub(super) kind: &'static str,
    pub(super) priority: i32,
    /// What happens at the end of the chain.
    pub(super) accepts: bool,
    pub(super) rules: Vec<Rule>,
}

/// The whole fence.
pub(super) fn table(fence: &Fence) -> Table {
    Table { name: "chaperone", chains: [capture(fence), only_way_out(fence)] }
}

/// Where new connections go.
fn capture(fence: &Fence) -> Chain {
    let dns = |protocol| [transport(protocol), to_port(DNS), redirect(fence.dns_port)].concat();
    let rules = vec![
        [user(fence.sidecar_uid), accept()].concat(),
        [to_loopback_interface(), accept()].concat(),
        [to_loopback_v4(), accept()].concat(),
        [to_loopback_v6(), accept()].concat(),
        dns(UDP),
        dns(TCP),
        [transport(TCP), redirect(fence.capture_port)].concat(),
    ];
    Chain { name: "capture", kind: "nat", priority: -100, accepts: true, rules }
}

/// What may leave at all, after the redirection.
fn only_way_out(fence: &Fence) -> Chain {
    let mut rules = vec![
        [user(fence.sidecar_uid), transport(TCP), mark(MARK), accept()].concat(),
        [user(fence.sidecar_uid), accept()].concat(),
        [to_loopback_interface(), accept()].concat(),
        [to_loopback_v4(), accept()].concat(),
        [to_loopback_v6(), accept()].concat(),
        [marked(MARK), transport(TCP), without_syn(), accept()].concat(),
        [reply(), accept()].concat(),
    ];
    rules.extend(NEIGHBOUR_DISCOVERY.map(|kind| [transport(ICMPV6), icmp_type(kind), accept()].concat()));
    Chain { name: "only-way-out", kind: "filter", priority: 0, accepts: false, rules }
}
