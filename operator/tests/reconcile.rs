//! The controllers against an API server that answers from a script: what is read before what is written, and
//! what the status says.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "reconcile/server.rs"]
mod server;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use chaperone_operator::{
    controller::{self, Operator, Parts},
    distribute::{Distributor, Right, Subscription, Target},
    leases::{Lease, Leases},
    metrics::Metrics,
};
use policy::{DnsMode, Document};
use serde_json::{Value, json};
use server::{Kind, Server};
use tokio::{sync::oneshot, task::JoinHandle, time::advance};
use tokio_util::sync::CancellationToken;

struct World {
    distributor: Distributor,
    leases: Leases,
    ended: CancellationToken,
    controllers: JoinHandle<()>,
}

impl World {
    /// The controllers over what the server holds, once they have read it.
    async fn over(server: &Server) -> Self {
        Self::led_by(server, 1).await
    }

    async fn led_by(server: &Server, epoch: u64) -> Self {
        let stale_after = Duration::from_secs(3600);
        let (distributor, leases) = (Distributor::new(epoch, stale_after), Leases::new());
        let parts = Parts {
            client: server.client(),
            distributor: distributor.clone(),
            leases: leases.clone(),
            dns: DnsMode::Cluster,
            stale_after,
            operator: Operator {
                namespace: "chaperone-system".to_owned(),
                instance: "operator-0".to_owned(),
            },
            metrics: Metrics::new(),
        };
        let (ended, (primed, known)) = (CancellationToken::new(), oneshot::channel());
        let controllers = tokio::spawn(controller::run(parts, ended.clone(), primed));
        known.await.unwrap();
        Self { distributor, leases, ended, controllers }
    }

    async fn end(self) {
        self.ended.cancel();
        self.controllers.await.unwrap();
    }

    /// The document that a pod is to have.
    fn document(&self, uid: &str) -> Document {
        match self.distributor.watch(uid).current() {
            Target::Assigned(_, assigned) => Document::decode(&assigned.class.document).unwrap(),
            other @ (Target::Unknown | Target::Gone) => panic!("{uid} has no document but {other:?}"),
        }
    }
}

/// A sidecar that acknowledges what it is given.
fn acknowledge(stream: &mut Subscription) {
    match stream.current() {
        Target::Assigned(_, assigned) => stream.acknowledge(assigned.generation, ""),
        other @ (Target::Unknown | Target::Gone) => panic!("nothing to acknowledge: {other:?}"),
    }
}

fn connection(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "chaperone.dev/v1alpha1", "kind": "Connection",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "protocol": "Postgres", "upstream": {"host": host, "port": 5432}, "postgres": {"database": "orders"},
            "credential": {"secretRef": {"name": "orders-ro"}},
        },
    })
}

fn opaque(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "chaperone.dev/v1alpha1", "kind": "Connection",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"protocol": "Opaque", "upstream": {"host": host, "port": 443}, "credential": {"none": {}}},
    })
}

fn rule(verdict: &str) -> Value {
    let name = verdict.to_lowercase();
    json!({"name": name, "verdict": verdict, "sql": {"verbs": ["Read"], "relations": ["public.orders"]}})
}

fn policy(name: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "chaperone.dev/v1alpha1", "kind": "AccessPolicy",
        "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "subjects": [{"serviceAccounts": ["planner"]}], "connections": {"names": ["orders-db"]}, "rules": rules,
        },
    })
}

fn secret(password: &str) -> Value {
    let data = |text: &str| STANDARD.encode(text);
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": "orders-ro"},
        "data": {"username": data("reader"), "password": data(password)},
    })
}

fn pod(uid: &str, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": uid, "uid": uid, "labels": {"chaperone.dev/injected": "true"},
            "annotations": {"chaperone.dev/admitted-labels": "{}"}},
        "spec": {"serviceAccountName": "planner", "containers": []},
        "status": {"phase": "Running", "podIP": "10.0.0.7",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

const ORDERS: &str = "shop/orders-db";

/// A Connection with its Secret and a policy.
fn orders() -> Server {
    let server = Server::new();
    server.put(Kind::Secret, secret("one"));
    server.put(Kind::Connection, connection("orders-db", "orders.prod.svc"));
    server.put(Kind::AccessPolicy, policy("read", &[rule("Allow")]));
    server
}

#[tokio::test(start_paused = true)]
async fn everything_is_read_before_anything_is_written() {
    let server = orders();
    server.put(Kind::Pod, pod("a", true));
    let world = World::over(&server).await;
    assert!(
        world.document("a").connection(ORDERS).is_some(),
        "a pod has its document once sidecars may come"
    );
    server.until(Kind::Connection, ORDERS, "ResolvedRefs", "True Resolved").await;
    let calls = server.calls();
    let first_write = calls.iter().position(|call| call.starts_with("STATUS")).unwrap();
    let (read, _) = calls.split_at(first_write);
    for kind in ["LIST Connection", "LIST AccessPolicy", "LIST Pod"] {
        assert!(read.iter().any(|call| call == kind), "{kind} is not among {read:?}");
    }
    assert!(
        calls.iter().all(|call| !call.starts_with("LIST Secret") || call == "LIST Secret shop/orders-ro")
    );
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_secret_is_said_and_its_coming_is_noticed() {
    let server = orders();
    server.delete(Kind::Secret, "shop/orders-ro");
    let world = World::over(&server).await;
    let message = server.until(Kind::Connection, ORDERS, "Ready", "False SecretNotFound").await;
    assert_eq!(message, "there is no Secret `orders-ro` in namespace `shop`");
    server.until_told("SecretNotFound").await;
    server.put(Kind::Secret, json!({"metadata": {"namespace": "shop", "name": "orders-ro"}, "data": {}}));
    server.until(Kind::Connection, ORDERS, "ResolvedRefs", "False SecretKeyMissing").await;
    server.put(Kind::Secret, secret("one"));
    server.until(Kind::Connection, ORDERS, "ResolvedRefs", "True Resolved").await;
    assert!(
        matches!(&*world.leases.follow(ORDERS).borrow(), Lease::Credential { username, .. } if username == "reader")
    );
    let mut lease = world.leases.follow(ORDERS);
    server.put(Kind::Secret, secret("two"));
    lease.changed().await.unwrap();
    assert!(
        matches!(&*lease.borrow(), Lease::Credential { password, .. } if **password == b"two"),
        "it is rotated"
    );
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_secret_is_said_with_the_role_and_read_once_it_is_granted() {
    let server = orders();
    server.forbid("shop/orders-ro", true);
    let world = World::over(&server).await;
    let message = server.until(Kind::Connection, ORDERS, "ResolvedRefs", "False SecretForbidden").await;
    for part in [
        "kubectl chaperone grant orders-ro -n shop",
        "resourceNames",
        "`chaperone-operator`",
        "`chaperone-system`",
    ] {
        assert!(message.contains(part), "{message}");
    }
    server.until_told("SecretForbidden").await;
    server.forbid("shop/orders-ro", false);
    server.until(Kind::Connection, ORDERS, "ResolvedRefs", "True Resolved").await;
    server.until_told("Resolved").await;
    assert_eq!(server.events().iter().filter(|reason| *reason == "SecretForbidden").count(), 1, "told once");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn connections_with_one_key_are_both_conflicted_until_one_goes() {
    let server = orders();
    server.put(Kind::Connection, connection("copy", "Orders.prod.svc"));
    server.put(Kind::Pod, pod("a", true));
    let mut naming = pod("b", true);
    naming["metadata"]["annotations"]["chaperone.dev/connections"] = json!("orders-db");
    server.put(Kind::Pod, naming);
    let world = World::over(&server).await;
    for (key, other) in [(ORDERS, "shop/copy"), ("shop/copy", ORDERS)] {
        let message = server.until(Kind::Connection, key, "Ready", "False Conflicted").await;
        assert!(message.contains(other) && message.contains("chaperone.dev/connections"), "{message}");
        assert!(world.document("a").connection(key).unwrap().problem.is_some());
    }
    assert_eq!(world.document("b").connection(ORDERS).unwrap().problem, None, "it names one");
    server.until_told("Conflicted").await;
    server.delete(Kind::Connection, "shop/copy");
    server.until(Kind::Connection, ORDERS, "Accepted", "True Valid").await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_unreadable_policy_allows_counts_for_nothing_and_what_it_may_deny_is_denied() {
    let server = orders();
    server.put(Kind::Pod, pod("a", true));
    let mut misspelt = rule("Allow");
    misspelt["sql"]["relatoins"] = json!(["public.customers"]);
    server.put(Kind::AccessPolicy, policy("misspelt", &[misspelt.clone()]));
    let world = World::over(&server).await;
    let message = server.until(Kind::AccessPolicy, "shop/misspelt", "Ready", "False UnknownField").await;
    assert!(message.starts_with("spec.rules[0].sql.relatoins: unknown field `relatoins`"), "{message}");
    server.until_told("UnknownField").await;
    let connection = world.document("a").connection(ORDERS).unwrap().clone();
    assert!(connection.is_open(), "another policy allows");
    let allowing: Vec<_> = connection.policies.iter().filter(|policy| !policy.rules.is_empty()).collect();
    assert_eq!(allowing.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["shop/read"]);
    assert!(connection.policies.iter().all(|policy| policy.broken.is_none()));

    let mut stream = world.distributor.watch("a");
    acknowledge(&mut stream);
    server.put(Kind::AccessPolicy, policy("misspelt", &[misspelt, rule("Deny")]));
    stream.changed().await;
    let connection = world.document("a").connection(ORDERS).unwrap().clone();
    assert!(connection.policies.iter().any(|policy| policy.broken.is_some()), "its Deny is unreadable");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn programmed_comes_after_the_last_acknowledgement_and_stays() {
    let server = orders();
    ["a", "b"].into_iter().for_each(|uid| server.put(Kind::Pod, pod(uid, true)));
    let world = World::over(&server).await;
    let (mut first, mut second) = (world.distributor.watch("a"), world.distributor.watch("b"));
    let read = "shop/read";
    server.until(Kind::AccessPolicy, read, "Programmed", "False PodsPending").await;
    acknowledge(&mut first);
    server.until(Kind::AccessPolicy, read, "Programmed", "False PodsPending").await;
    acknowledge(&mut second);
    server.until(Kind::AccessPolicy, read, "Programmed", "True Programmed").await;
    server.until(Kind::AccessPolicy, read, "Ready", "True Ready").await;
    server.until_told("Programmed").await;

    server.put(Kind::AccessPolicy, policy("read", &[rule("Allow"), rule("Deny")]));
    first.changed().await;
    server.until(Kind::AccessPolicy, read, "Programmed", "False PodsPending").await;
    acknowledge(&mut first);
    server.delete(Kind::Pod, "shop/b");
    server.until(Kind::AccessPolicy, read, "Programmed", "True Programmed").await;
    second.gone().await;

    // A pod that comes later does not reset it.
    server.put(Kind::Pod, pod("c", true));
    let mut third = world.distributor.watch("c");
    third.changed().await;
    assert_eq!(server.condition(Kind::AccessPolicy, read, "Programmed").0, "True Programmed");
    acknowledge(&mut third);
    drop(third);
    advance(Duration::from_secs(61)).await;
    server.until(Kind::AccessPolicy, read, "Programmed", "False PodsStale").await;
    assert_eq!(server.status(Kind::AccessPolicy, read)["podsStale"], 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_unsays_nothing_that_it_has_not_read() {
    let server = orders();
    server.put(Kind::Pod, pod("a", true));
    let world = World::over(&server).await;
    let mut stream = world.distributor.watch("a");
    acknowledge(&mut stream);
    server.until(Kind::Connection, ORDERS, "Ready", "True Ready").await;
    let address = server.status(Kind::Connection, ORDERS)["address"].clone();
    drop(stream);
    world.end().await;
    let (before, events) = (server.calls().len(), server.events());
    let world = World::led_by(&server, 2).await;
    let mut stream = world.distributor.watch("a");
    acknowledge(&mut stream);
    let mut lease = world.leases.follow(ORDERS);
    lease.wait_for(|lease| matches!(lease, Lease::Credential { .. })).await.unwrap();
    advance(Duration::from_secs(20)).await;
    tokio::task::yield_now().await;
    assert_eq!(server.condition(Kind::Connection, ORDERS, "Ready").0, "True Ready");
    assert_eq!(server.status(Kind::Connection, ORDERS)["address"], address);
    let calls = server.calls();
    let written = calls[before..].iter().filter(|call| call.starts_with("STATUS Connection"));
    assert_eq!(written.count(), 0, "{:?}", &calls[before..]);
    assert_eq!(server.events(), events, "nothing is told again");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_no_credential_where_nothing_is_allowed() {
    let server = orders();
    server.put(Kind::AccessPolicy, policy("read", &[rule("Deny")]));
    server.put(Kind::Pod, pod("a", true));
    let world = World::over(&server).await;
    assert_eq!(world.distributor.right("a", ORDERS), Right::Withheld);
    assert_eq!(world.distributor.right("a", "shop/other"), Right::None);
    assert_eq!(world.distributor.right("stranger", ORDERS), Right::None);
    let mut stream = world.distributor.watch("a");
    acknowledge(&mut stream);
    server.put(Kind::AccessPolicy, policy("read", &[rule("Allow")]));
    stream.changed().await;
    assert_eq!(world.distributor.right("a", ORDERS), Right::Given);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_opaque_needs_no_secret_and_is_shown_loudly() {
    let server = Server::new();
    server.put(Kind::Connection, opaque("api", "kubernetes.default.svc"));
    let mut opens =
        policy("opens", &[json!({"name": "api", "verdict": "Allow", "opaque": {}}), rule("Allow")]);
    opens["spec"]["connections"] = json!({"names": ["api"]});
    server.put(Kind::AccessPolicy, opens);
    server.put(Kind::Pod, pod("a", false));
    let world = World::over(&server).await;
    let message = server.until(Kind::Connection, "shop/api", "Ready", "True Uninspected").await;
    assert!(message.contains("without being looked at"), "{message}");
    server.until_told("Uninspected").await;
    let connection = world.document("a").connection("shop/api").unwrap().clone();
    assert_eq!(connection.policies[0].rules.len(), 1, "a rule about statements says nothing here");
    assert_eq!(world.distributor.right("a", "shop/api"), Right::Withheld, "there is nothing to give");
    world.end().await;
}
