//! Which pod gets which document.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use api::{AccessPolicySpec, ConnectionSpec, FieldError, decode_spec};
use chaperone_compile::{Compiled, ConnectionInput, Inputs, Pod, PolicyInput, document};
use policy::{ConnectionDocument, DnsMode, Document};
use serde_json::{Value, json};

/// Resources as they are read: a spec, or why it cannot be.
#[derive(Default)]
struct World {
    connections: Vec<(String, Result<ConnectionSpec, FieldError>)>,
    policies: Vec<(String, Value, Result<AccessPolicySpec, FieldError>)>,
    labels: BTreeMap<String, String>,
}

impl World {
    fn connection(mut self, key: &str, spec: &Value) -> Self {
        self.connections.push((key.to_owned(), decode_spec(spec)));
        self
    }

    fn policy(mut self, key: &str, spec: &Value) -> Self {
        self.policies.push((key.to_owned(), spec.clone(), decode_spec(spec)));
        self
    }

    fn with<T>(&self, use_inputs: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let connections = self.connections.iter().map(|(key, spec)| ConnectionInput {
            key,
            spec: spec.as_ref(),
            labels: &self.labels,
            address: None,
            ca_bundle: None,
            problem: None,
        });
        let policies = self.policies.iter().map(|(key, raw, spec)| PolicyInput {
            key,
            generation: 1,
            spec: spec.as_ref(),
            raw,
        });
        let (connections, policies): (Vec<_>, Vec<_>) = (connections.collect(), policies.collect());
        use_inputs(&Inputs {
            connections: &connections,
            policies: &policies,
            dns: DnsMode::Cluster,
            stale_after_seconds: 60,
        })
    }

    fn document(&self, pod: &Pod) -> Document {
        self.with(|inputs| document(inputs, pod))
    }
}

fn postgres(host: &str) -> Value {
    json!({
        "protocol": "Postgres", "upstream": {"host": host, "port": 5432}, "postgres": {"database": "orders"},
        "credential": {"secretRef": {"name": "s"}},
    })
}

fn shared(host: &str, namespaces: &[&str]) -> Value {
    let mut spec = postgres(host);
    spec["allowedNamespaces"] = json!({"names": namespaces});
    spec
}

fn allow(subject: Value, connection: &str) -> Value {
    let sql = json!({"verbs": ["Read"], "relations": ["public.orders"]});
    json!({
        "subjects": [subject], "connections": {"names": [connection]},
        "rules": [{"name": "read", "verdict": "Allow", "sql": sql}],
    })
}

fn pod(namespace: &str, labels: &[(&str, &str)]) -> Pod {
    Pod {
        namespace: namespace.to_owned(),
        service_account: "planner".to_owned(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        connections: None,
    }
}

fn naming(namespace: &str, connections: &[&str]) -> Pod {
    let connections = connections.iter().map(|key| (*key).to_owned()).collect();
    Pod { connections: Some(connections), ..pod(namespace, &[]) }
}

fn names(document: &Document) -> Vec<&str> {
    document.connections.iter().map(|connection| connection.name.as_str()).collect()
}

fn only(document: &Document) -> &ConnectionDocument {
    match document.connections.as_slice() {
        [only] => only,
        several => panic!("{} Connections", several.len()),
    }
}

#[test]
fn pods_that_policies_cannot_tell_apart_are_one_class() {
    let narrow =
        json!({"serviceAccounts": ["planner"], "podSelector": {"matchLabels": {"agent": "planner"}}});
    let world =
        World::default().connection("shop/db", &postgres("db.x")).policy("shop/p", &allow(narrow, "db"));
    world.with(|inputs| {
        let compiled = Compiled::new(inputs);
        let class = |labels: &[(&str, &str)]| compiled.class(&pod("shop", labels));
        let matched = class(&[("agent", "planner"), ("pod-template-hash", "1")]);
        assert_eq!(matched, class(&[("agent", "planner"), ("pod-template-hash", "2"), ("job-name", "x")]));
        let other = class(&[("agent", "other")]);
        assert_ne!(matched, other);
        assert!(compiled.document(&matched).connections.iter().all(ConnectionDocument::is_open));
        assert!(!compiled.document(&other).connections.iter().any(ConnectionDocument::is_open));
    });
}

#[test]
fn a_connection_of_another_namespace_needs_the_consent_of_both_sides() {
    let subject = json!({"serviceAccounts": ["*"], "namespaces": ["agents"]});
    let open = World::default()
        .connection("data/db", &shared("db.x", &["agents"]))
        .policy("data/p", &allow(subject.clone(), "db"));
    assert_eq!(names(&open.document(&pod("agents", &[]))), Vec::<&str>::new(), "it is not named");
    let document = open.document(&naming("agents", &["data/db"]));
    assert!(only(&document).is_open());
    assert_eq!(names(&open.document(&naming("others", &["data/db"]))), Vec::<&str>::new());
    let closed =
        World::default().connection("data/db", &postgres("db.x")).policy("data/p", &allow(subject, "db"));
    assert_eq!(names(&closed.document(&naming("agents", &["data/db"]))), Vec::<&str>::new());
    // A policy elsewhere says nothing about it.
    let foreign = json!({"serviceAccounts": ["*"]});
    let stolen = World::default()
        .connection("data/db", &shared("db.x", &["agents"]))
        .policy("agents/p", &allow(foreign, "db"));
    assert!(!only(&stolen.document(&naming("agents", &["data/db"]))).is_open());
}

#[test]
fn a_document_names_the_features_that_it_needs_and_no_others() {
    let opaque = json!({
        "protocol": "Opaque", "upstream": {"host": "api.x", "port": 443}, "credential": {"none": {}},
    });
    let with = |world: World| world.document(&pod("shop", &[])).features;
    assert_eq!(with(World::default()), Vec::<String>::new());
    assert_eq!(with(World::default().connection("shop/a", &opaque)), ["opaque"]);
    assert_eq!(
        with(World::default().connection("shop/a", &opaque).connection("shop/b", &postgres("db.x"))),
        ["postgres", "opaque"]
    );
}

#[test]
fn a_rule_speaks_to_its_own_protocol_alone() {
    let opaque = json!({
        "protocol": "Opaque", "upstream": {"host": "api.x", "port": 443}, "credential": {"none": {}},
    });
    let mut everything = allow(json!({"serviceAccounts": ["*"]}), "db");
    everything["connections"] = json!({"selector": {"matchLabels": {}}});
    let mut world = World::default().connection("shop/api", &opaque).connection("shop/db", &postgres("db.x"));
    let open = |world: &World| -> Vec<bool> {
        let document = world.document(&pod("shop", &[]));
        document.connections.iter().map(ConnectionDocument::is_open).collect()
    };
    world = world.policy("shop/statements", &everything);
    assert_eq!(open(&world), [false, true]);
    everything["rules"] = json!([{"name": "pass", "verdict": "Allow", "opaque": {}}]);
    let world = World { policies: Vec::new(), ..world }.policy("shop/passes", &everything);
    assert_eq!(open(&world), [true, false]);
}

#[test]
fn what_cannot_be_read_never_widens() {
    let subject = json!({"serviceAccounts": ["*"]});
    let good = allow(subject.clone(), "db");
    let world = |bad: &Value| {
        World::default()
            .connection("shop/db", &postgres("db.x"))
            .connection("shop/other", &postgres("other.x"))
            .policy("shop/good", &good)
            .policy("shop/good-too", &allow(subject.clone(), "other"))
            .policy("shop/bad", bad)
    };
    let broken = |bad: &Value| -> Vec<bool> {
        let document = world(bad).document(&pod("shop", &[]));
        let denies = |c: &ConnectionDocument| c.policies.iter().any(|policy| policy.broken.is_some());
        document.connections.iter().map(denies).collect()
    };
    let mut bad = good.clone();
    bad["rules"][0]["wehn"] = json!("false");
    assert_eq!(broken(&bad), [false, false], "its Allow is absent, and no more");
    bad["rules"][0]["verdict"] = json!("Deny");
    assert_eq!(broken(&bad), [true, false], "its Deny may be anything");
    bad["connections"] = json!({"name": ["db"]});
    assert_eq!(broken(&bad), [true, true], "it may be about any Connection");
    let mut masked = good.clone();
    masked["masks"] = json!([]);
    assert_eq!(broken(&masked), [true, false], "what is not known may narrow");
    // What can be read but makes no sense is no better.
    let mut senseless = good.clone();
    senseless["rules"][0]["verdict"] = json!("Deny");
    senseless["rules"][0]["sql"]["verbs"] = json!(["Look"]);
    assert_eq!(broken(&senseless), [true, false]);
}

#[test]
fn conflicts_are_those_of_pods_that_name_nothing() {
    let world = World::default()
        .connection("shop/a", &postgres("db.x"))
        .connection("shop/b", &postgres("DB.x."))
        .connection("data/c", &shared("db.x", &["shop"]));
    let found = world.with(|inputs| Compiled::new(inputs).conflicts());
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["shop/a", "shop/b"]);
    let problems = |pod: &Pod| -> Vec<bool> {
        world.document(pod).connections.iter().map(|connection| connection.problem.is_some()).collect()
    };
    assert_eq!(problems(&pod("shop", &[])), [true, true]);
    assert_eq!(problems(&naming("shop", &["shop/a"])), [false]);
    assert_eq!(problems(&naming("shop", &["shop/a", "data/c"])), [true, true]);
}
