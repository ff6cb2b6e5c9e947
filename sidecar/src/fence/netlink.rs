//! Telling the kernel: one transaction over netlink.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterProtoFamily,
    nftables::{
        ChainAttribute, ChainMessage, Hook, InetHookNumber, NfTablesMessage, RuleAttribute, RuleMessage,
        TableAttribute, TableMessage,
    },
    none::ControlMessage,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::rules::{Chain, Table};

/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
/// `NF_DROP` and `NF_ACCEPT`.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// Why the fence could not be put up.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// No way to talk to the kernel.
    #[error("netlink cannot be used: {0}")]
    Socket(#[from] io::Error),
    /// The kernel says no.
    #[error(
        "the kernel refused the rules: {0}; the fence needs NET_ADMIN and a kernel with nftables (nf_tables, nft_redir, nft_ct)"
    )]
    Refused(io::Error),
    /// The kernel's answer cannot be read.
    #[error("the kernel's answer cannot be read: {0}")]
    Answer(String),
}

/// Replaces the table in one transaction and waits until the kernel has confirmed every part.
pub(super) fn commit(table: &Table) -> Result<(), FenceError> {
    let parts = messages(table);
    let mut batch = control(ControlMessage::BatchBegin, 0);
    let mut sequence = 1;
    for part in &parts {
        batch.extend(encode(part.clone(), sequence));
        sequence += 1;
    }
    batch.extend(control(ControlMessage::BatchEnd, sequence));
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&batch, 0)?;
    confirm(&socket, parts.len())
}

/// Reads confirmations until all have come, or one is an error.
fn confirm(socket: &Socket, mut awaited: usize) -> Result<(), FenceError> {
    while awaited > 0 {
        let (answers, _) = socket.recv_from_full()?;
        let mut rest = answers.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest)
                .map_err(|error| FenceError::Answer(error.to_string()))?;
            if let NetlinkPayload::Error(error) = &message.payload {
                if error.code.is_some() {
                    return Err(FenceError::Refused(error.to_io()));
                }
                awaited = awaited.saturating_sub(1);
            }
            let length = (message.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    Ok(())
}

/// The parts of the transaction in order. The table is made, removed and made anew: so it is removed whether
/// or not it was there.
fn messages(table: &Table) -> Vec<NfTablesMessage> {
    let named = || TableMessage { attributes: vec![TableAttribute::Name(table.name.to_owned())] };
    let mut parts = vec![
        NfTablesMessage::NewTable(named()),
        NfTablesMessage::DeleteTable(named()),
        NfTablesMessage::NewTable(named()),
    ];
    for chain in &table.chains {
        parts.push(new_chain(table, chain));
        parts.extend(chain.rules.iter().map(|rule| {
            let expressions = rule.iter().cloned().map(Into::into).collect();
            NfTablesMessage::NewRule(RuleMessage {
                attributes: vec![
                    RuleAttribute::Table(table.name.to_owned()),
                    RuleAttribute::Chain(chain.name.to_owned()),
                    RuleAttribute::Expressions(expressions),
                ],
            })
        }));
    }
    parts
}

fn new_chain(table: &Table, chain: &Chain) -> NfTablesMessage {
    NfTablesMessage::NewChain(ChainMessage {
        attributes: vec![
            ChainAttribute::Table(table.name.to_owned()),
            ChainAttribute::Name(chain.name.to_owned()),
            ChainAttribute::Type(chain.kind.to_owned()),
            ChainAttribute::Hook(vec![
                Hook::Number(InetHookNumber::LocalOut.into()),
                Hook::Priority(chain.priority.cast_unsigned()),
            ]),
            ChainAttribute::Policy(if chain.accepts { ACCEPT } else { DROP }),
        ],
    })
}

fn encode(part: NfTablesMessage, sequence: u32) -> Vec<u8> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND;
    serialize(NetlinkMessage::from(NetfilterMessage::new(header, part)), sequence, flags)
}

fn control(message: ControlMessage, sequence: u32) -> Vec<u8> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES);
    serialize(NetlinkMessage::from(NetfilterMessage::new(header, message)), sequence, NLM_F_REQUEST)
}

fn serialize(mut message: NetlinkMessage<NetfilterMessage>, sequence: u32, flags: u16) -> Vec<u8> {
    message.header.sequence_number = sequence;
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
