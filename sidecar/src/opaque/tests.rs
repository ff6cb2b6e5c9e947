use std::sync::Arc;

use policy::{
    Baseline, DnsMode, Document, Generation, Matches, PolicyDocument, Recording, Rule, RuleVerdict, SqlRule,
    TlsDocument, TlsMode, UpstreamProtocol,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
};

use super::*;
use crate::policy::{Current, PodIdentity};

const FEW_BYTES: usize = 1024;

fn rule(verdict: RuleVerdict, matches: Matches) -> Rule {
    Rule { name: format!("{verdict:?}").to_lowercase(), verdict, matches, message: None }
}

fn connection(rules: Vec<Rule>) -> ConnectionDocument {
    let policy = PolicyDocument {
        name: "shop/p".to_owned(),
        generation: 1,
        baseline: Baseline::Standard,
        recording: Recording::default(),
        rules,
        broken: None,
    };
    ConnectionDocument {
        name: "shop/api".to_owned(),
        protocol: UpstreamProtocol::Opaque,
        upstream: policy::Upstream {
            host: "api.example".to_owned(),
            port: 443,
            tls: TlsDocument { mode: TlsMode::Disable, ca_bundle: None },
        },
        address: None,
        agent_port: None,
        postgres: None,
        problem: None,
        policies: vec![policy],
    }
}

fn allowed() -> ConnectionDocument {
    connection(vec![rule(RuleVerdict::Allow, Matches::Opaque)])
}

struct World {
    documents: Documents,
    sequence: u64,
    stop: CancellationToken,
}

impl World {
    fn new(connection: ConnectionDocument) -> Self {
        let mut world = Self { documents: Documents::new(), sequence: 0, stop: CancellationToken::new() };
        world.publish(vec![connection]);
        world
    }

    fn publish(&mut self, connections: Vec<ConnectionDocument>) -> Generation {
        self.sequence += 1;
        let generation = Generation { epoch: 1, sequence: self.sequence };
        let document = Document {
            format: policy::FORMAT,
            features: vec!["opaque".to_owned()],
            stale_after_seconds: 3600,
            dns: DnsMode::Cluster,
            connections,
        };
        let current = Current { generation, document: Arc::new(document), pod: PodIdentity::default() };
        self.documents.publish(current).unwrap();
        generation
    }

    fn admit(&self) -> Result<Gate, String> {
        let current = self.documents.current().unwrap();
        let connection = &current.document.connections[0];
        admit(self.documents.clone(), self.documents.session(), connection)
    }

    /// The client's end, the upstream's end, and the session.
    fn session(&self, gate: Gate) -> (DuplexStream, DuplexStream, JoinHandle<Outcome>) {
        let (client, near) = duplex(FEW_BYTES);
        let (far, upstream) = duplex(FEW_BYTES);
        let (client_side, upstream_side) = (Stream::Memory(near), Stream::Memory(far));
        let shutdown = self.stop.clone();
        let session = Session { client: client_side, upstream: upstream_side, gate, shutdown };
        (client, upstream, tokio::spawn(run(session)))
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_at_once_and_are_counted() {
    let world = World::new(allowed());
    let (client, upstream, session) = world.session(world.admit().unwrap());
    // More than any buffer on the way holds, in both directions before either side reads.
    let many: Vec<u8> = (0..=255_u8).cycle().take(300 * FEW_BYTES).collect();
    let talk = async |mut stream: DuplexStream, text: Vec<u8>| {
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let write = async {
            writer.write_all(&text).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let (_, read) = tokio::join!(write, reader.read_to_end(&mut heard));
        read.unwrap();
        heard
    };
    let answer: Vec<u8> = many.iter().rev().copied().collect();
    let (heard, asked) = tokio::join!(talk(client, many.clone()), talk(upstream, answer.clone()));
    assert!(heard == answer && asked == many);
    let count = u64::try_from(many.len()).unwrap();
    let outcome = session.await.unwrap();
    assert_eq!(
        outcome,
        Outcome { reason: "ended by both sides".to_owned(), bytes_in: count, bytes_out: count }
    );
}

#[tokio::test]
async fn a_rule_about_statements_does_not_open_it_and_a_deny_closes_it() {
    let sql = Matches::Sql(SqlRule::default());
    for rules in [
        vec![],
        vec![rule(RuleVerdict::Allow, sql)],
        vec![rule(RuleVerdict::Allow, Matches::Opaque), rule(RuleVerdict::Deny, Matches::Opaque)],
    ] {
        let world = World::new(connection(rules.clone()));
        assert!(world.admit().is_err(), "{rules:?}");
    }
    assert_eq!(World::new(allowed()).admit().unwrap().rules(), ["shop/p:allow"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_ends_when_the_policy_no_longer_allows_it() {
    let mut world = World::new(allowed());
    for (now, reason) in [
        (vec![connection(vec![])], "no rule allows this pod anything on this Connection"),
        (vec![], "the Connection is gone"),
        (
            vec![{
                let mut moved = allowed();
                moved.upstream.port = 444;
                moved
            }],
            "the Connection leads elsewhere now",
        ),
    ] {
        world.publish(vec![allowed()]);
        let (mut client, _upstream, session) = world.session(world.admit().unwrap());
        let generation = world.publish(now);
        let outcome = session.await.unwrap();
        assert_eq!(outcome.reason, reason);
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0, "it is closed");
        world.documents.live(generation).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_still_allows_is_live_without_a_byte() {
    let mut world = World::new(allowed());
    let (_client, _upstream, session) = world.session(world.admit().unwrap());
    let generation = world.publish(vec![allowed()]);
    world.documents.live(generation).await;
    assert!(!session.is_finished());
    world.stop.cancel();
    assert_eq!(session.await.unwrap().reason, "the sidecar ended");
}
