use std::net::Ipv4Addr;

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RData, RecordType},
};
use policy::{ConnectionDocument, DnsMode, Document, TlsDocument, TlsMode, Upstream, UpstreamProtocol};

use super::{answer::*, resolver::ResolvConf};

fn document(dns: DnsMode) -> Document {
    let upstream = Upstream {
        host: "orders.prod.svc.cluster.local".to_owned(),
        port: 5432,
        tls: TlsDocument { mode: TlsMode::VerifyFull, ca_bundle: None },
    };
    let connection = ConnectionDocument {
        name: "shop/orders".to_owned(),
        protocol: UpstreamProtocol::Postgres,
        upstream,
        address: Some(Ipv4Addr::new(198, 18, 0, 12)),
        agent_port: None,
        postgres: None,
        problem: None,
        policies: Vec::new(),
    };
    Document {
        format: policy::FORMAT,
        features: Vec::new(),
        stale_after_seconds: 60,
        dns,
        connections: vec![connection],
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

fn ask(name: &str, kind: RecordType, dns: DnsMode) -> Decision {
    decide(&query(name, kind), Some(&document(dns)), "cluster.local")
}

#[test]
fn a_connection_host_has_its_virtual_address_in_any_case_of_letters() {
    let Decision::Answer(answer) = ask("Orders.prod.svc.CLUSTER.local.", RecordType::A, DnsMode::Cluster)
    else {
        panic!("not answered")
    };
    assert_eq!(answer.answers[0].data, RData::A(Ipv4Addr::new(198, 18, 0, 12).into()));
}

#[test]
fn other_types_of_a_connection_host_are_empty_and_never_forwarded() {
    for kind in [RecordType::AAAA, RecordType::SRV, RecordType::HTTPS, RecordType::TXT] {
        let Decision::Answer(answer) = ask("orders.prod.svc.cluster.local.", kind, DnsMode::All) else {
            panic!("not answered")
        };
        assert!(answer.answers.is_empty());
    }
}

#[test]
fn names_outside_are_refused_unless_the_document_says_otherwise() {
    let outcomes = [
        ("example.com.", DnsMode::Cluster, "refuse"),
        ("example.com.", DnsMode::All, "forward"),
        ("kubernetes.default.svc.cluster.local.", DnsMode::Cluster, "forward"),
        ("kubernetes.default.svc.cluster.local.", DnsMode::ConnectionsOnly, "refuse"),
        ("notcluster.local.", DnsMode::Cluster, "refuse"),
    ];
    for (name, mode, expected) in outcomes {
        let outcome = match ask(name, RecordType::A, mode) {
            Decision::Answer(_) => "answer",
            Decision::Forward => "forward",
            Decision::Refuse { .. } => "refuse",
        };
        assert_eq!(outcome, expected, "{name} with {mode:?}");
    }
}

#[test]
fn without_a_document_nothing_resolves() {
    let decision = decide(&query("orders.prod.svc.cluster.local.", RecordType::A), None, "cluster.local");
    assert!(matches!(decision, Decision::Refuse { .. }));
}

#[test]
fn resolv_conf_gives_nameserver_and_cluster_domain() {
    let text = "search ns.svc.corp.internal svc.corp.internal corp.internal\nnameserver 10.96.0.10\noptions ndots:5\n";
    let found = ResolvConf::parse(text);
    assert_eq!(found.nameserver, Some(([10, 96, 0, 10], 53).into()));
    assert_eq!(found.cluster_domain, "corp.internal");
}
