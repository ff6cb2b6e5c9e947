//! An API server that answers from a table.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};

/// What is there: answers by `path`, or `path?labelSelector`.
#[derive(Clone, Default)]
pub(crate) struct World {
    answers: BTreeMap<String, (u16, Value)>,
    /// What was written, as `METHOD path`, with its body.
    pub(crate) written: Arc<Mutex<Vec<(String, Value)>>>,
}

/// The server while it runs, with a kubeconfig for it.
pub(crate) struct ApiServer {
    _runtime: Runtime,
    kubeconfig: tempfile::NamedTempFile,
}

impl World {
    /// There is this.
    pub(crate) fn set(&mut self, path: &str, answer: Value) {
        self.answers.insert(path.to_owned(), (200, answer));
    }

    /// A list of these.
    pub(crate) fn list(&mut self, path: &str, items: Value) {
        self.set(path, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}));
    }

    /// It answers with this status instead.
    pub(crate) fn refuse(&mut self, path: &str, code: u16, message: &str) {
        let reason = if code == 403 { "Forbidden" } else { "Unknown" };
        self.answers.insert(path.to_owned(), (code, status(code, reason, message)));
    }

    /// It is not there.
    pub(crate) fn remove(&mut self, path: &str) {
        assert!(self.answers.remove(path).is_some(), "{path} is not there");
    }

    /// Changes what is there.
    pub(crate) fn change(&mut self, path: &str, pointer: &str, value: Value) {
        let (_, answer) = self.answers.get_mut(path).unwrap();
        *answer.pointer_mut(pointer).unwrap_or_else(|| panic!("{path} has no {pointer}")) = value;
    }

    pub(crate) fn serve(&self) -> ApiServer {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(self.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(kubeconfig.path(), text.to_string()).unwrap();
        ApiServer { _runtime: runtime, kubeconfig }
    }
}

impl ApiServer {
    pub(crate) fn kubeconfig(&self) -> &str {
        self.kubeconfig.path().to_str().unwrap()
    }
}

async fn answer(State(world): State<World>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    if parts.method != Method::GET {
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        world.written.lock().unwrap().push((format!("{} {path}", parts.method), body.clone()));
        let known = world.answers.get(&format!("{} {path}", parts.method));
        return known.map_or_else(|| Json(body).into_response(), reply);
    }
    let query = parts.uri.query().unwrap_or_default();
    let selector = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector="));
    let selector = selector.map(|text| text.replace("%2F", "/").replace("%3D", "=").replace("%2C", ","));
    let with = selector.map(|selector| format!("{path}?{selector}"));
    let known = with.and_then(|key| world.answers.get(&key)).or_else(|| world.answers.get(&path));
    known.map_or_else(|| reply(&(404, status(404, "NotFound", &format!("{path} not found")))), reply)
}

fn reply((code, answer): &(u16, Value)) -> Response {
    (StatusCode::from_u16(*code).unwrap(), Json(answer)).into_response()
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "message": message, "code": code})
}
