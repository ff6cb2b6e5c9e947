//! Against an API server that holds one configuration of each kind and tells of changes.

use std::sync::Mutex;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, patch},
};
use futures_util::stream;
use tokio::{sync::broadcast, time::timeout};

use super::*;

/// How long a change may take to arrive.
const SOON: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct Cluster {
    configuration: Arc<Mutex<Value>>,
    changes: broadcast::Sender<()>,
}

impl Cluster {
    fn new() -> (Self, Client) {
        let webhook = |name: &str| json!({"name": name, "clientConfig": {}, "admissionReviewVersions": ["v1"], "sideEffects": "None"});
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "chaperone", "resourceVersion": "1"},
            "webhooks": [webhook("one.chaperone.dev"), webhook("two.chaperone.dev")],
        });
        let cluster =
            Self { configuration: Arc::new(Mutex::new(configuration)), changes: broadcast::channel(16).0 };
        let root = "/apis/admissionregistration.k8s.io/v1";
        let router = Router::new()
            .route(&format!("{root}/mutatingwebhookconfigurations"), get(mutating))
            .route(&format!("{root}/mutatingwebhookconfigurations/{{name}}"), patch(apply_bundle))
            .route(&format!("{root}/validatingwebhookconfigurations"), get(validating))
            .with_state(cluster.clone());
        (cluster, Client::new(router, "default"))
    }

    fn bundles(&self) -> Vec<Value> {
        let configuration = self.configuration.lock().unwrap();
        let webhooks = configuration["webhooks"].as_array().unwrap();
        webhooks.iter().map(|webhook| webhook["clientConfig"]["caBundle"].clone()).collect()
    }

    async fn until_bundles_are(&self, roots: &str) {
        let wanted = json!(ByteString(roots.as_bytes().to_vec()));
        let mut changes = self.changes.subscribe();
        let all = async {
            while self.bundles().iter().any(|bundle| *bundle != wanted) {
                changes.recv().await.unwrap();
            }
        };
        timeout(SOON, all).await.expect("applied in time");
    }
}

async fn mutating(State(cluster): State<Cluster>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    assert!(query.contains("fieldSelector=metadata.name%3Dchaperone"), "only the one named: {query}");
    let now = cluster.configuration.lock().unwrap().clone();
    if !query.contains("watch=true") {
        let list = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfigurationList",
            "metadata": {"resourceVersion": "1"}, "items": [now]});
        return Json(list).into_response();
    }
    let events = stream::unfold(cluster.changes.subscribe(), move |mut changes| {
        let configuration = Arc::clone(&cluster.configuration);
        async move {
            changes.recv().await.ok()?;
            let event = json!({"type": "MODIFIED", "object": *configuration.lock().unwrap()});
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(format!("{event}\n"))), changes))
        }
    });
    Body::from_stream(events).into_response()
}

async fn validating(RawQuery(query): RawQuery) -> Response {
    if query.unwrap_or_default().contains("watch=true") {
        return Body::from_stream(stream::pending::<Result<Bytes, std::convert::Infallible>>())
            .into_response();
    }
    Json(
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfigurationList",
        "metadata": {"resourceVersion": "1"}, "items": []}),
    )
    .into_response()
}

async fn apply_bundle(
    State(cluster): State<Cluster>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(name, "chaperone");
    assert_eq!(headers["content-type"], "application/apply-patch+yaml");
    assert!(query.unwrap().contains("fieldManager=chaperone-certs"));
    let applied: Value = serde_json::from_slice(&body).unwrap();
    let mut configuration = cluster.configuration.lock().unwrap();
    let webhooks = configuration["webhooks"].as_array_mut().unwrap();
    for (webhook, applied) in webhooks.iter_mut().zip(applied["webhooks"].as_array().unwrap()) {
        assert_eq!(webhook["name"], applied["name"]);
        webhook["clientConfig"]["caBundle"] = applied["clientConfig"]["caBundle"].clone();
    }
    let answer = configuration.clone();
    drop(configuration);
    cluster.changes.send(()).ok();
    Json(answer).into_response()
}

#[tokio::test]
async fn the_bundle_is_applied_and_applied_again_when_wiped_or_rotated() {
    let (cluster, client) = Cluster::new();
    let (roots, watched) = watch::channel(Arc::from("first root"));
    let names = Configurations { mutating: "chaperone".to_owned(), validating: "chaperone".to_owned() };
    let (count, mut in_place) = watch::channel(0);
    let keeper = tokio::spawn(keep(client, names, watched, count));
    cluster.until_bundles_are("first root").await;
    // The validating one is not there.
    let both = in_place.wait_for(|count| *count == CONFIGURATIONS);
    timeout(SOON, both).await.expect("both counted").unwrap();

    cluster.configuration.lock().unwrap()["webhooks"][1]["clientConfig"] = json!({});
    cluster.changes.send(()).unwrap();
    cluster.until_bundles_are("first root").await;

    roots.send_replace(Arc::from("first root, second root"));
    cluster.until_bundles_are("first root, second root").await;
    keeper.abort();
}
