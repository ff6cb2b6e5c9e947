//! The few nftables expressions that the fence is made of.

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, Expressions, Immediate, Meta, MetaKey, Operator, Payload, Register, Verdict,
    VerdictAttribute,
};

/// `NFT_CT_DIRECTION` and `NFT_CT_MARK` of `linux/netfilter/nf_tables.h`.
const CT_DIRECTION: u32 = 1;
const CT_MARK: u32 = 3;
/// `NFTA_CT_*` and `NFTA_REDIR_*` of the same header.
const ATTRIBUTE_CT_DESTINATION: u16 = 1;
const ATTRIBUTE_CT_KEY: u16 = 2;
const ATTRIBUTE_CT_SOURCE: u16 = 4;
const ATTRIBUTE_REDIRECT_PORT: u16 = 1;
/// `NFT_PAYLOAD_NETWORK_HEADER` and `NFT_PAYLOAD_TRANSPORT_HEADER`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// `NF_ACCEPT`.
const ACCEPT: u32 = 1;
/// Loopback's interface index, the same in every network namespace.
const LOOPBACK: u32 = 1;

/// The expressions of one rule, read from left to right.
pub(super) type Rule = Vec<Expressions>;

fn equals(data: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(Operator::Equal),
        Cmp::Data(DataAttribute::Value(data)),
    ])
}

fn meta(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)])
}

fn payload(base: u32, offset: u32, length: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

fn conntrack(key: u32, register: u16) -> Expressions {
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let attributes = vec![number(ATTRIBUTE_CT_KEY, key), number(register, Register::Reg1.into())];
    Expressions::Other { expression_type: "ct".to_owned(), attributes }
}

fn load(data: Vec<u8>) -> Expressions {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Reg1),
        Immediate::Data(DataAttribute::Value(data)),
    ])
}

/// The socket belongs to this user.
pub(super) fn user(uid: u32) -> Rule {
    vec![meta(MetaKey::SocketUserId), equals(uid.to_ne_bytes().to_vec())]
}

/// The packet was routed to the loopback interface.
pub(super) fn to_loopback_interface() -> Rule {
    vec![meta(MetaKey::Oif), equals(LOOPBACK.to_ne_bytes().to_vec())]
}

/// The destination is in 127.0.0.0/8. After a redirect the packet still counts as routed to the old
/// interface, so the address has to be looked at as well.
pub(super) fn to_loopback_v4() -> Rule {
    let family = u8::try_from(rustix::net::AddressFamily::INET.as_raw()).unwrap_or_default();
    vec![meta(MetaKey::Nfproto), equals(vec![family]), payload(NETWORK_HEADER, 16, 1), equals(vec![127])]
}

/// The destination is `::1`.
pub(super) fn to_loopback_v6() -> Rule {
    let family = u8::try_from(rustix::net::AddressFamily::INET6.as_raw()).unwrap_or_default();
    let address = std::net::Ipv6Addr::LOCALHOST.octets().to_vec();
    vec![meta(MetaKey::Nfproto), equals(vec![family]), payload(NETWORK_HEADER, 24, 16), equals(address)]
}

/// The transport protocol is this one.
pub(super) fn transport(protocol: u8) -> Rule {
    vec![meta(MetaKey::L4Proto), equals(vec![protocol])]
}

/// The destination port is this one.
pub(super) fn to_port(port: u16) -> Rule {
    vec![payload(TRANSPORT_HEADER, 2, 2), equals(port.to_be_bytes().to_vec())]
}

/// The ICMP type is this one.
pub(super) fn icmp_type(kind: u8) -> Rule {
    vec![payload(TRANSPORT_HEADER, 0, 1), equals(vec![kind])]
}

/// The TCP segment does not begin a connection.
pub(super) fn without_syn() -> Rule {
    const SYN: u8 = 0x02;
    let mask = Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(1),
        Bitwise::Mask(DataAttribute::Value(vec![SYN])),
        Bitwise::Xor(DataAttribute::Value(vec![0])),
    ]);
    vec![payload(TRANSPORT_HEADER, 13, 1), mask, equals(vec![0])]
}

/// The packet answers a connection that came from the other side.
pub(super) fn reply() -> Rule {
    vec![conntrack(CT_DIRECTION, ATTRIBUTE_CT_DESTINATION), equals(vec![1])]
}

/// The connection carries this mark.
pub(super) fn marked(mark: u32) -> Rule {
    vec![conntrack(CT_MARK, ATTRIBUTE_CT_DESTINATION), equals(mark.to_ne_bytes().to_vec())]
}

/// Marks the connection.
pub(super) fn mark(mark: u32) -> Rule {
    vec![load(mark.to_ne_bytes().to_vec()), conntrack(CT_MARK, ATTRIBUTE_CT_SOURCE)]
}

/// Sends the connection to this port on loopback.
pub(super) fn redirect(port: u16) -> Rule {
    let register = u32::from(Register::Reg1).to_be_bytes().to_vec();
    let redirect = Expressions::Other {
        expression_type: "redir".to_owned(),
        attributes: vec![DefaultNla::new(ATTRIBUTE_REDIRECT_PORT, register)],
    };
    vec![load(port.to_be_bytes().to_vec()), redirect]
}

/// Ends the chain: the packet goes on.
pub(super) fn accept() -> Rule {
    vec![Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![VerdictAttribute::Code(Verdict::Other(ACCEPT))])),
    ])]
}
