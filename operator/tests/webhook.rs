//! The webhooks over TLS, against an API server that answers from a script.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "inject/around.rs"]
mod around;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chaperone_operator::{
    certs::{Certs, Place},
    metrics::Metrics,
    webhook::{Webhooks, serve},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Client;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use around::{folder, read, settings};

const NAME: &str = "chaperone-webhook.chaperone-system.svc";

/// What the API server holds and is asked.
#[derive(Default)]
struct Cluster {
    secret: Option<Value>,
    connections: Vec<Value>,
    readable_secrets: Vec<String>,
    /// Told when the namespace `slow` is asked for, which is never answered.
    asked: Arc<Notify>,
}

type Shared = Arc<Mutex<Cluster>>;

fn api_server(cluster: &Shared) -> Client {
    let router = Router::new()
        .route("/api/v1/namespaces/{name}", get(namespace))
        .route("/api/v1/namespaces/{ns}/secrets", post(create_secret))
        .route("/api/v1/namespaces/{ns}/secrets/{name}", get(secret))
        .route("/apis/chaperone.dev/v1alpha1/namespaces/{ns}/connections", get(stored_connections))
        .route("/apis/chaperone.dev/v1alpha1/namespaces/{ns}/connections/{name}", get(stored_connection))
        .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(access_review))
        .with_state(Arc::clone(cluster));
    Client::new(router, "default")
}

async fn namespace(State(cluster): State<Shared>, Path(name): Path<String>) -> Response {
    let label = match name.as_str() {
        "agents" => "enabled",
        "strict" => "required",
        "slow" => {
            let asked = Arc::clone(&cluster.lock().unwrap().asked);
            asked.notify_one();
            std::future::pending().await
        }
        _ => return missing(),
    };
    Json(json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": name, "labels": {"chaperone.dev/injection": label}}}))
    .into_response()
}

async fn create_secret(State(cluster): State<Shared>, Json(secret): Json<Value>) -> Response {
    cluster.lock().unwrap().secret = Some(secret.clone());
    Json(secret).into_response()
}

async fn secret(State(cluster): State<Shared>) -> Response {
    cluster.lock().unwrap().secret.clone().map_or_else(missing, |secret| Json(secret).into_response())
}

async fn stored_connection(
    State(cluster): State<Shared>,
    Path((ns, name)): Path<(String, String)>,
) -> Response {
    let cluster = cluster.lock().unwrap();
    let mut all = cluster.connections.iter();
    let found = all.find(|found| {
        found["metadata"]["namespace"] == ns.as_str() && found["metadata"]["name"] == name.as_str()
    });
    found.cloned().map_or_else(missing, |found| Json(found).into_response())
}

async fn stored_connections(State(cluster): State<Shared>, Path(ns): Path<String>) -> Response {
    let all = cluster.lock().unwrap().connections.clone();
    let here: Vec<_> =
        all.into_iter().filter(|found| found["metadata"]["namespace"] == ns.as_str()).collect();
    Json(json!({"apiVersion": "chaperone.dev/v1alpha1", "kind": "ConnectionList", "metadata": {}, "items": here}))
        .into_response()
}

async fn access_review(State(cluster): State<Shared>, Json(mut review): Json<Value>) -> Response {
    let spec = &review["spec"];
    assert_eq!(spec["resourceAttributes"]["verb"], "get");
    assert_eq!(spec["resourceAttributes"]["resource"], "secrets");
    let asked = format!(
        "{} {}/{}",
        spec["user"].as_str().unwrap(),
        spec["resourceAttributes"]["namespace"].as_str().unwrap(),
        spec["resourceAttributes"]["name"].as_str().unwrap()
    );
    let allowed = cluster.lock().unwrap().readable_secrets.contains(&asked);
    review["status"] = json!({"allowed": allowed});
    Json(review).into_response()
}

fn missing() -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404});
    (StatusCode::NOT_FOUND, Json(status)).into_response()
}

struct Served {
    addr: SocketAddr,
    roots: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn served(cluster: Cluster) -> Served {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let client = api_server(&Arc::new(Mutex::new(cluster)));
    let place = Place {
        namespace: "chaperone-system".to_owned(),
        secret: "chaperone-certs".to_owned(),
        names: vec![NAME.to_owned()],
    };
    let (certs, _keeper) = Certs::open(&client, place).await.unwrap();
    let tls = certs
        .server_config(&[&rustls::version::TLS13, &rustls::version::TLS12], &["h2", "http/1.1"])
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let roots = certs.bundle().to_string();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(
        listener,
        tls,
        Webhooks::new(client, settings(), certs, Metrics::new()),
        stop.clone(),
    ));
    Served { addr, roots, stop, task }
}

impl Served {
    async fn post(&self, path: &str, body: Vec<u8>) -> (StatusCode, String) {
        let stream = self.connect(b"h2").await;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post(format!("https://{NAME}{path}"))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// What `/healthz` answers over HTTP/1.1, which API servers speak to webhooks; with its headers.
    async fn health(&self) -> String {
        let mut stream = self.connect(b"http/1.1").await;
        stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: {NAME}\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8(answer[..length].to_vec()).unwrap()
    }

    async fn connect(&self, protocol: &[u8]) -> TlsStream<tokio::net::TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.roots.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = tokio::net::TcpStream::connect(self.addr).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// The `response` of a review.
    async fn ask(&self, path: &str, request: Value) -> Value {
        let review =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        let (status, body) = self.post(path, serde_json::to_vec(&review).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["response"]["uid"], "7");
        answer["response"].clone()
    }
}

fn review(operation: &str, namespace: &str, object: &Value) -> Value {
    json!({
        "uid": "7", "operation": operation, "namespace": namespace, "userInfo": {"username": "ann", "groups": ["dev"]},
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": object, "oldObject": null, "dryRun": false, "options": null,
    })
}

fn plain() -> Value {
    read(&folder().join("plain/pod.yaml"))
}

fn apply(pod: &Value, answer: &Value) -> Value {
    assert_eq!(answer["allowed"], true, "{answer}");
    assert_eq!(answer["patchType"], "JSONPatch");
    let patch = STANDARD.decode(answer["patch"].as_str().unwrap()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

#[tokio::test]
async fn a_pod_is_injected_and_then_admitted() {
    let served = served(Cluster::default()).await;
    let pod = apply(&plain(), &served.ask("/inject", review("CREATE", "agents", &plain())).await);
    let sidecar = &pod["spec"]["initContainers"][1];
    assert_eq!(sidecar["name"], "chaperone-sidecar");
    let root = sidecar["env"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["name"] == "CHAPERONE_OPERATOR_ROOT")
        .unwrap();
    assert_eq!(root["value"], served.roots);
    let uid = sidecar["securityContext"]["runAsUser"].as_i64().unwrap();
    assert!((20_000..65_000).contains(&uid));
    assert_eq!(served.ask("/validate-pods", review("CREATE", "agents", &pod)).await["allowed"], true);
    let refused = served.ask("/validate-pods", review("CREATE", "agents", &plain())).await;
    assert_eq!(refused["allowed"], false);
    assert_eq!(refused["status"]["code"], 403);
}

#[tokio::test]
async fn each_pod_gets_a_uid_of_its_own() {
    let served = served(Cluster::default()).await;
    let mut uids = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let pod = apply(&plain(), &served.ask("/inject", review("CREATE", "agents", &plain())).await);
        uids.insert(pod["spec"]["initContainers"][1]["securityContext"]["runAsUser"].as_i64().unwrap());
    }
    assert!(uids.len() > 6, "{uids:?}");
}

#[tokio::test]
async fn what_cannot_be_found_out_is_refused() {
    let served = served(Cluster::default()).await;
    for path in ["/inject", "/validate-pods"] {
        let answer = served.ask(path, review("CREATE", "nowhere", &plain())).await;
        assert_eq!(answer["allowed"], false);
        assert_eq!(answer["status"]["code"], 503);
        assert_eq!(
            answer["status"]["message"],
            "chaperone: the namespace `nowhere` cannot be found out; try again"
        );
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_a_refusal_in_time() {
    let served = served(Cluster::default()).await;
    let asked = std::time::Instant::now();
    let answer = served.ask("/inject", review("CREATE", "slow", &plain())).await;
    assert_eq!(answer["allowed"], false);
    assert!(asked.elapsed() < Duration::from_secs(5), "before the API server gives up on us");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let served = served(Cluster::default()).await;
    let wrong = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).to_string(),
        json!({"apiVersion": "admission.k8s.io/v2", "kind": "AdmissionReview", "request": review("CREATE", "agents", &plain())}).to_string(),
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": review("INVENT", "agents", &plain())}).to_string(),
    ];
    for path in ["/inject", "/validate-pods", "/validate-connections", "/validate-policies"] {
        for body in &wrong {
            let (status, answer) = served.post(path, body.clone().into_bytes()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {body} {answer}");
        }
        for object in [Value::Null, json!("text"), json!({"spec": []}), json!({"spec": {"containers": 3}})] {
            let answer = served.ask(path, review("CREATE", "agents", &object)).await;
            assert_eq!(answer["allowed"], false, "{path} {object}");
        }
        let (status, _) = served.post(path, vec![b' '; 9 * 1024 * 1024]).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}

#[tokio::test]
async fn what_is_under_way_is_finished_when_the_operator_stops() {
    let asked = Arc::new(Notify::new());
    let cluster = Cluster { asked: Arc::clone(&asked), ..Cluster::default() };
    let Served { addr, roots, stop, task } = served(cluster).await;
    let served = Served { addr, roots, stop: stop.clone(), task: tokio::spawn(async {}) };
    let answer = tokio::spawn(async move { served.ask("/inject", review("CREATE", "slow", &plain())).await });
    asked.notified().await;
    stop.cancel();
    assert_eq!(answer.await.unwrap()["allowed"], false, "answered, not cut off");
    task.await.unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_operator_that_ends_answers_on_and_sends_api_servers_elsewhere() {
    let served = served(Cluster::default()).await;
    assert!(!served.health().await.contains("connection: close"));
    served.stop.cancel();
    let farewell = served.health().await;
    assert!(farewell.starts_with("HTTP/1.1 200"), "{farewell}");
    assert!(farewell.contains("connection: close"), "{farewell}");
}

fn connection(key: (&str, &str), host: &str, allowed: &[&str]) -> Value {
    json!({
        "apiVersion": "chaperone.dev/v1alpha1", "kind": "Connection",
        "metadata": {"namespace": key.0, "name": key.1},
        "spec": {
            "protocol": "Postgres", "upstream": {"host": host, "port": 5433}, "postgres": {"database": "orders"},
            "credential": {"secretRef": {"name": "orders-ro"}}, "allowedNamespaces": {"names": allowed},
        },
    })
}

fn wanting(connections: &str) -> Value {
    let mut pod = plain();
    pod["metadata"]["annotations"] = json!({"chaperone.dev/connections": connections});
    pod
}

fn two_connections() -> Cluster {
    let own = connection(("agents", "orders-db"), "orders.prod.svc.cluster.local", &[]);
    let shared = connection(("data", "stock.db"), "stock.prod.svc.cluster.local", &["agents"]);
    let closed = connection(("data", "closed"), "closed.prod.svc.cluster.local", &["others"]);
    let mut broken = connection(("agents", "broken"), "broken.prod.svc.cluster.local", &[]);
    broken["spec"]["upstraem"] = json!({});
    Cluster { connections: vec![own, shared, closed, broken], ..Cluster::default() }
}

#[tokio::test]
async fn named_connections_become_the_agents_environment() {
    let served = served(two_connections()).await;
    let pod = wanting("orders-db, data/stock.db");
    let pod = apply(&pod, &served.ask("/inject", review("CREATE", "agents", &pod)).await);
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let value = |name: &str| {
        env.iter().find(|entry| entry["name"] == name).map_or("", |entry| entry["value"].as_str().unwrap())
    };
    assert_eq!(value("PGHOST"), "orders.prod.svc.cluster.local");
    assert_eq!(value("PGPORT"), "5433");
    assert_eq!(value("PGUSER"), "planner");
    assert_eq!(value("PGDATABASE"), "orders");
    assert_eq!(value("PGSSLMODE"), "disable");
    assert_eq!(value("CHAPERONE_ORDERS_DB_HOST"), "orders.prod.svc.cluster.local");
    assert_eq!(value("CHAPERONE_DATA_STOCK_DB_PORT"), "5433");
    assert_eq!(served.ask("/validate-pods", review("CREATE", "agents", &pod)).await["allowed"], true);
}

#[tokio::test]
async fn a_pod_that_names_what_it_cannot_have_is_refused() {
    let served = served(two_connections()).await;
    for (connections, reason) in [
        (
            "orders",
            "the annotation `chaperone.dev/connections` names `agents/orders`, and there is no such Connection",
        ),
        (
            "data/closed",
            "the Connection `data/closed` is not for pods of the namespace `agents`; have its owner add `agents`",
        ),
        ("broken", "the Connection `agents/broken` cannot be read: spec.upstraem: unknown field `upstraem`"),
        ("..", "names `agents/..`, which nothing in Kubernetes can be called"),
        ("../orders-db", "names `../orders-db`, which nothing in Kubernetes can be called"),
        ("orders-db?x", "which nothing in Kubernetes can be called"),
        ("orders-db,", "metadata.annotations[chaperone.dev/connections]: `` must be written as"),
        ("orders-db, agents/orders-db", "`agents/orders-db` is named twice"),
    ] {
        let answer = served.ask("/inject", review("CREATE", "agents", &wanting(connections))).await;
        assert_eq!(answer["allowed"], false, "{connections}");
        let message = answer["status"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{connections}: {message}");
    }
}

#[tokio::test]
async fn a_pod_that_declines_needs_no_connection() {
    let served = served(Cluster::default()).await;
    let mut pod = wanting("orders-db");
    pod["metadata"]["annotations"]["chaperone.dev/inject"] = json!("false");
    assert_eq!(served.ask("/inject", review("CREATE", "agents", &pod)).await["allowed"], true);
}

fn changed(old: &Value, path: &str, value: Value) -> Value {
    let mut new = old.clone();
    *new.pointer_mut(path).unwrap() = value;
    new
}

#[tokio::test]
async fn the_author_of_a_connection_must_be_able_to_read_its_secrets() {
    let old = connection(("agents", "orders-db"), "orders.prod.svc.cluster.local", &[]);
    let with_bundle = changed(
        &old,
        "/spec/upstream",
        json!({"host": "h.example", "port": 1, "tls": {"caBundle": {"secretRef": {"name": "ca", "key": "ca.crt"}}}}),
    );
    let update = |new: &Value| {
        let mut review = review("UPDATE", "agents", new);
        review["oldObject"] = old.clone();
        review
    };
    let elsewhere = changed(&old, "/spec/upstream/host", json!("evil.example.com"));
    let other_secret = changed(&old, "/spec/credential/secretRef/name", json!("admin"));
    let other_port = changed(&old, "/spec/postgres/database", json!("stock"));
    for (readable, request, reason) in [
        (vec![], review("CREATE", "agents", &old), Some("`ann` may not read the secret `agents/orders-ro`")),
        (
            vec!["bob agents/orders-ro", "ann other/orders-ro"],
            review("CREATE", "agents", &old),
            Some("`ann` may not read"),
        ),
        (vec!["ann agents/orders-ro"], review("CREATE", "agents", &old), None),
        (vec![], update(&elsewhere), Some("`ann` may not read the secret `agents/orders-ro`")),
        (
            vec!["ann agents/orders-ro"],
            update(&other_secret),
            Some("`ann` may not read the secret `agents/admin`"),
        ),
        (
            vec!["ann agents/orders-ro"],
            update(&with_bundle),
            Some("`ann` may not read the secret `agents/ca`"),
        ),
        (vec!["ann agents/orders-ro", "ann agents/ca"], update(&with_bundle), None),
        (vec![], update(&other_port), None),
        (vec![], update(&old), None),
    ] {
        let readable_secrets = readable.into_iter().map(str::to_owned).collect();
        let served = served(Cluster { readable_secrets, ..Cluster::default() }).await;
        let answer = served.ask("/validate-connections", request.clone()).await;
        let message = answer["status"]["message"].as_str();
        match reason {
            None => assert_eq!(answer["allowed"], true, "{request} {answer}"),
            Some(reason) => {
                assert!(message.is_some_and(|message| message.contains(reason)), "{request} {answer}")
            }
        }
    }
}

#[tokio::test]
async fn a_connection_leads_away_from_the_pod_and_says_so_when_nobody_looks() {
    let served =
        served(Cluster { readable_secrets: vec!["ann agents/orders-ro".to_owned()], ..Cluster::default() })
            .await;
    let ask = async |new: &Value| served.ask("/validate-connections", review("CREATE", "agents", new)).await;
    for host in [
        "localhost",
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "198.18.0.7",
        "db.localhost",
    ] {
        let answer = ask(&connection(("agents", "near"), host, &[])).await;
        let message = answer["status"]["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("spec.upstream.host: leads to the pod itself or its node"),
            "{host}: {answer}"
        );
    }
    let mut taken = connection(("agents", "orders-db"), "orders.prod.svc.cluster.local", &[]);
    taken["spec"]["agent"] = json!({"port": 15_006});
    let message = ask(&taken).await["status"]["message"].clone();
    assert_eq!(message, "chaperone: spec.agent.port: 15006 is the sidecar's own; choose another");
    let mut opaque = connection(("agents", "api"), "kubernetes.default.svc.cluster.local", &[]);
    opaque["spec"]["protocol"] = json!("Opaque");
    opaque["spec"]["credential"] = json!({"none": {}});
    opaque["spec"].as_object_mut().unwrap().remove("postgres");
    let answer = ask(&opaque).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    assert!(answer["warnings"][0].as_str().unwrap().contains("without being looked at"), "{answer}");
}

#[tokio::test]
async fn a_policy_that_opens_what_nobody_looks_at_comes_with_a_warning() {
    let served = served(Cluster::default()).await;
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "subjects": [{"serviceAccounts": ["planner"]}], "connections": {"names": ["api"]},
        "rules": [{"name": "pass", "verdict": "Allow", "opaque": {}}, {"name": "no", "verdict": "Deny", "opaque": {}}],
    }});
    let answer = served.ask("/validate-policies", review("CREATE", "agents", &policy)).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].as_str().unwrap().starts_with("rule `pass`"), "{answer}");
}

#[tokio::test]
async fn a_pod_does_not_take_the_credential_of_a_connection_itself() {
    let served = served(two_connections()).await;
    let created = async |pod: &Value| {
        let injected = apply(pod, &served.ask("/inject", review("CREATE", "agents", pod)).await);
        served.ask("/validate-pods", review("CREATE", "agents", &injected)).await
    };
    let with = |path: &str, value: Value| {
        let mut pod = plain();
        pod["spec"]["containers"][0][path] = value;
        pod
    };
    let key = |name: &str| json!([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}}}]);
    let mut mounted = plain();
    mounted["spec"]["volumes"] =
        json!([{"name": "v", "projected": {"sources": [{"secret": {"name": "orders-ro"}}]}}]);
    for (pod, place) in [
        (with("env", key("orders-ro")), "container `agent`"),
        (with("envFrom", json!([{"secretRef": {"name": "orders-ro"}}])), "container `agent`"),
        (mounted, "volume `v`"),
    ] {
        let answer = created(&pod).await;
        let message = answer["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(&format!("the {place} takes the Secret `orders-ro`")), "{answer}");
    }
    assert_eq!(created(&with("env", key("another"))).await["allowed"], true);
}

#[tokio::test]
async fn what_ends_a_pod_or_gives_it_to_a_node_is_none_of_our_business() {
    let served = served(Cluster::default()).await;
    for (operation, subresource) in [("CREATE", "binding"), ("CREATE", "eviction"), ("DELETE", "")] {
        let mut review = review(operation, "nowhere", &json!({"kind": "Binding"}));
        review["subResource"] = json!(subresource);
        assert_eq!(served.ask("/validate-pods", review).await["allowed"], true, "{operation} {subresource}");
    }
}
