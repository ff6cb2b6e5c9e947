//! What is answered to a query: a pure function of the query and the document.

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, RData, Record, RecordType, rdata::A},
};
use policy::{DnsMode, Document};

/// Seconds that an answer may be kept; short, since Connections come and go.
const TIME_TO_LIVE: u32 = 5;

/// What becomes of a query.
#[derive(Debug)]
pub(super) enum Decision {
    /// This is the answer.
    Answer(Message),
    /// The cluster's nameserver knows.
    Forward,
    /// The name does not exist for this pod.
    Refuse {
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
}

/// An answer without records.
pub(super) fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut message = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_queries(query.queries.iter().cloned());
    message
}

pub(super) fn decide(query: &Message, document: Option<&Document>, cluster_domain: &str) -> Decision {
    let answerable = query.metadata.message_type == MessageType::Query;
    let [question] = query.queries.as_slice() else {
        return Decision::Answer(reply(query, ResponseCode::FormErr));
    };
    if !answerable || query.metadata.op_code != OpCode::Query || question.query_class() != DNSClass::IN {
        return Decision::Answer(reply(query, ResponseCode::NotImp));
    }
    let name = question.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let Some(document) = document else {
        return Decision::Refuse { name, reason: "no document is in force" };
    };
    if let Some(answer) = connection_host(query, question, document, &name) {
        return Decision::Answer(answer);
    }
    match document.dns {
        DnsMode::All => Decision::Forward,
        DnsMode::Cluster if within(&name, cluster_domain) => Decision::Forward,
        DnsMode::Cluster => {
            Decision::Refuse { name, reason: "neither a Connection's host nor a name of the cluster" }
        }
        DnsMode::ConnectionsOnly => Decision::Refuse { name, reason: "not a Connection's host" },
    }
}

/// The virtual address for a Connection's host. Other types exist and are empty, AAAA among them, so that
/// clients go on with the address that they have.
fn connection_host(query: &Message, question: &Query, document: &Document, name: &str) -> Option<Message> {
    let host = |text: &str| text.trim_end_matches('.').eq_ignore_ascii_case(name);
    let mut addresses = document.connections.iter().filter(|c| host(&c.upstream.host)).map(|c| c.address);
    let address = addresses.next()?;
    let mut answer = reply(query, ResponseCode::NoError);
    answer.metadata.authoritative = true;
    if let (RecordType::A, Some(address)) = (question.query_type(), address) {
        let record = Record::from_rdata(question.name().clone(), TIME_TO_LIVE, RData::A(A(address)));
        answer.add_answer(record);
    }
    Some(answer)
}

fn within(name: &str, domain: &str) -> bool {
    !domain.is_empty() && name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
