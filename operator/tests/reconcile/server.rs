//! An API server that holds what a test gives it, tells watchers, and remembers what it is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use futures_util::stream;
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::broadcast, time::timeout};

/// How long anything may take; no test comes near it.
const SOON: Duration = Duration::from_secs(50);

/// The resources that are listed and watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Connection,
    AccessPolicy,
    Pod,
    Secret,
}

#[derive(Clone, Debug)]
struct Change {
    kind: Kind,
    event: Value,
}

#[derive(Debug, Default)]
struct Held {
    objects: BTreeMap<(Kind, String), Value>,
    forbidden: BTreeSet<String>,
    version: u64,
    calls: Vec<String>,
    events: Vec<Value>,
}

/// The API server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server {
    held: Arc<Mutex<Held>>,
    changes: broadcast::Sender<Change>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self { held: Arc::default(), changes: broadcast::channel(1024).0 }
    }

    pub(crate) fn client(&self) -> Client {
        let ours = "/apis/chaperone.dev/v1alpha1";
        let list = |kind: Kind| {
            get(move |State(server): State<Self>, RawQuery(query): RawQuery| async move {
                server.list(kind, "", &query.unwrap_or_default())
            })
        };
        let status = |kind: Kind| {
            patch(
                move |State(server): State<Self>, Path(key): Path<(String, String)>, body: Bytes| async move {
                    server.patched(kind, &key, &body)
                },
            )
        };
        let router = Router::new()
            .route(&format!("{ours}/connections"), list(Kind::Connection))
            .route(&format!("{ours}/accesspolicies"), list(Kind::AccessPolicy))
            .route("/api/v1/pods", list(Kind::Pod))
            .route("/api/v1/namespaces/{ns}/secrets", get(secrets))
            .route(&format!("{ours}/namespaces/{{ns}}/connections/{{name}}/status"), status(Kind::Connection))
            .route(
                &format!("{ours}/namespaces/{{ns}}/accesspolicies/{{name}}/status"),
                status(Kind::AccessPolicy),
            )
            .route("/apis/events.k8s.io/v1/namespaces/{ns}/events", post(told))
            .with_state(self.clone());
        Client::new(router, "default")
    }

    /// Creates an object or changes it. A changed spec is another generation.
    pub(crate) fn put(&self, kind: Kind, mut object: Value) {
        let key = key(&object);
        let mut held = self.held.lock().unwrap();
        held.version += 1;
        let old = held.objects.get(&(kind, key.clone())).cloned();
        let generation =
            old.as_ref().and_then(|old| old["metadata"]["generation"].as_i64()).unwrap_or_default();
        let same = old.as_ref().is_some_and(|old| old["spec"] == object["spec"]);
        object["metadata"]["generation"] = json!(if same { generation } else { generation + 1 });
        object["metadata"]["resourceVersion"] = json!(held.version.to_string());
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        let uid = object["metadata"]["uid"].as_str().map_or_else(|| format!("uid-{key}"), str::to_owned);
        object["metadata"]["uid"] = json!(uid);
        if let Some(status) =
            old.as_ref().and_then(|old| old.get("status")).filter(|_| object.get("status").is_none())
        {
            object["status"] = status.clone();
        }
        held.objects.insert((kind, key), object.clone());
        drop(held);
        let event = json!({"type": if old.is_some() { "MODIFIED" } else { "ADDED" }, "object": object});
        drop(self.changes.send(Change { kind, event }));
    }

    pub(crate) fn delete(&self, kind: Kind, key: &str) {
        let removed = self.held.lock().unwrap().objects.remove(&(kind, key.to_owned())).unwrap();
        drop(self.changes.send(Change { kind, event: json!({"type": "DELETED", "object": removed}) }));
    }

    /// Whether the operator may read a Secret.
    pub(crate) fn forbid(&self, secret: &str, forbidden: bool) {
        let mut held = self.held.lock().unwrap();
        if forbidden {
            held.forbidden.insert(secret.to_owned());
        } else {
            held.forbidden.remove(secret);
        }
    }

    /// What was asked so far, in order: `LIST Pod`, `STATUS Connection shop/orders-db`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.held.lock().unwrap().calls.clone()
    }

    /// The reasons of the Events so far.
    pub(crate) fn events(&self) -> Vec<String> {
        let held = self.held.lock().unwrap();
        held.events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn status(&self, kind: Kind, key: &str) -> Value {
        let held = self.held.lock().unwrap();
        held.objects.get(&(kind, key.to_owned())).map(|object| object["status"].clone()).unwrap_or_default()
    }

    /// One condition as `True SecretNotFound`, with its message.
    pub(crate) fn condition(&self, kind: Kind, key: &str, name: &str) -> (String, String) {
        let status = self.status(kind, key);
        let mut all = status["conditions"].as_array().into_iter().flatten();
        let found = all.find(|condition| condition["type"] == name).cloned().unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (format!("{} {}", text("status"), text("reason")), text("message"))
    }

    /// Waits until a condition says so.
    pub(crate) async fn until(&self, kind: Kind, key: &str, name: &str, says: &str) -> String {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            loop {
                let (said, message) = self.condition(kind, key, name);
                if said == says {
                    return message;
                }
                changes.recv().await.unwrap();
            }
        };
        match timeout(SOON, waiting).await {
            Ok(message) => message,
            Err(_) => panic!("{key}: {name} is not `{says}` but {:?}", self.condition(kind, key, name)),
        }
    }

    /// Waits until an Event has come.
    pub(crate) async fn until_told(&self, reason: &str) {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            while !self.events().iter().any(|told| told == reason) {
                changes.recv().await.unwrap();
            }
        };
        timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("no {reason} among {:?}", self.events()));
    }

    fn list(&self, kind: Kind, only: &str, query: &str) -> Response {
        let is_wanted = move |object: &Value| only.is_empty() || key(object) == only;
        if query.contains("watch=true") {
            return self.watch(kind, only.to_owned());
        }
        let mut held = self.held.lock().unwrap();
        held.calls.push(format!("LIST {kind:?}{}{only}", if only.is_empty() { "" } else { " " }));
        let objects = held.objects.iter().filter(|((of, _), object)| *of == kind && is_wanted(object));
        let items: Vec<Value> = objects.map(|(_, object)| object.clone()).collect();
        let version = held.version.to_string();
        Json(json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}, "items": items}))
            .into_response()
    }

    fn watch(&self, kind: Kind, only: String) -> Response {
        let state = (self.changes.subscribe(), only);
        let events = stream::unfold(state, move |(mut changes, only)| async move {
            loop {
                let change = changes.recv().await.ok()?;
                let wanted = only.is_empty() || key(&change.event["object"]) == only;
                if change.kind == kind && wanted {
                    let line = Bytes::from(format!("{}\n", change.event));
                    return Some((Ok::<_, Infallible>(line), (changes, only)));
                }
            }
        });
        Body::from_stream(events).into_response()
    }

    fn patched(&self, kind: Kind, (namespace, name): &(String, String), body: &[u8]) -> Response {
        let applied: Value = serde_json::from_slice(body).unwrap();
        let key = format!("{namespace}/{name}");
        let mut held = self.held.lock().unwrap();
        held.calls.push(format!("STATUS {kind:?} {key}"));
        held.version += 1;
        let version = held.version.to_string();
        let Some(object) = held.objects.get_mut(&(kind, key)) else { return failure(StatusCode::NOT_FOUND) };
        object["status"] = applied["status"].clone();
        object["metadata"]["resourceVersion"] = json!(version);
        let object = object.clone();
        drop(held);
        drop(self.changes.send(Change { kind, event: json!({"type": "MODIFIED", "object": object}) }));
        Json(object).into_response()
    }
}

async fn secrets(
    State(server): State<Server>,
    Path(ns): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let query = query.unwrap_or_default();
    let name = query.split("metadata.name%3D").nth(1).expect("one Secret by its name, never all");
    let key = format!("{ns}/{}", name.split('&').next().unwrap());
    if server.held.lock().unwrap().forbidden.contains(&key) {
        server.held.lock().unwrap().calls.push(format!("FORBIDDEN Secret {key}"));
        return failure(StatusCode::FORBIDDEN);
    }
    server.list(Kind::Secret, &key, &query)
}

async fn told(State(server): State<Server>, Json(event): Json<Value>) -> Response {
    server.held.lock().unwrap().events.push(event.clone());
    // Wakes who waits for it.
    drop(
        server.changes.send(Change { kind: Kind::Secret, event: json!({"type": "BOOKMARK", "object": {}}) }),
    );
    Json(event).into_response()
}

fn key(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", text("namespace"), text("name"))
}

fn failure(code: StatusCode) -> Response {
    let reason = if code == StatusCode::FORBIDDEN { "Forbidden" } else { "NotFound" };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": reason, "code": code.as_u16()});
    (code, Json(status)).into_response()
}
