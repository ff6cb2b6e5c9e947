//! The admission webhooks: what the API server asks, and where it is answered.
//!
//! Each question is read once, answered by a pure function over values that were fetched live, and
//! refused if anything about it cannot be read or found out.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, StatusCode, header::CONNECTION},
    middleware::map_response_with_state,
    response::{IntoResponse, Json, Response},
    routing::{get, post},
};
use kube::Client;
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    certs::Certs,
    listen::{self, Limits},
    metrics::Metrics,
};
use answer::No;
use review::{Answer, Request};
use settings::Settings;

pub mod admit;
mod answer;
mod connections;
mod fetch;
pub mod inject;
pub mod review;
pub mod settings;
pub mod wanted;

/// The API server sends an object and its predecessor; each is 3 MiB at most.
const BODY_LIMIT: usize = 8 * 1024 * 1024;
/// Less than the `timeoutSeconds` of the webhook configurations, so that the author sees our reason.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// API servers keep a handful of connections each. A review under way takes no longer than `timeoutSeconds`.
const API_SERVERS: Limits = Limits { connections: 256, of_one_peer: None, drain: Duration::from_secs(6) };

/// How long reviews are answered after the end was asked for: until then kube-proxies may send new connections
/// here, and API servers use those that they have. A connection that is closed under a review fails it.
const FAREWELL: Duration = Duration::from_secs(4);

/// What the webhooks answer from.
#[derive(Debug, Clone)]
pub struct Webhooks {
    settings: Arc<Settings>,
    certs: Certs,
    fetch: fetch::Fetch,
    metrics: Metrics,
}

impl Webhooks {
    /// `certs` are those that the operator is known by.
    pub fn new(client: Client, settings: Settings, certs: Certs, metrics: Metrics) -> Self {
        Self { settings: Arc::new(settings), certs, fetch: fetch::Fetch::new(client), metrics }
    }
}

/// Serves the webhooks until `stop`. From then on every answer closes its connection; after [`FAREWELL`] the
/// listener is closed too, and what is under way is finished.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    webhooks: Webhooks,
    stop: CancellationToken,
) {
    let router = router(webhooks).layer(map_response_with_state(stop.clone(), say_farewell));
    let gone = CancellationToken::new();
    let farewell = async {
        stop.cancelled().await;
        sleep(FAREWELL).await;
        gone.cancel();
    };
    tokio::join!(listen::serve(listener, tls, router, gone.clone(), API_SERVERS), farewell);
}

/// Tells API servers to take another replica next time.
async fn say_farewell(State(stop): State<CancellationToken>, mut response: Response) -> Response {
    if stop.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The webhooks' paths.
pub fn router(webhooks: Webhooks) -> Router {
    Router::new()
        .route("/inject", post(inject_pod))
        .route("/validate-pods", post(validate_pod))
        .route("/validate-connections", post(validate_connection))
        .route("/validate-policies", post(validate_policy))
        .route("/healthz", get(|| async { "ok" }))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(webhooks)
}

async fn inject_pod(State(webhooks): State<Webhooks>, body: Bytes) -> Response {
    respond("inject", &webhooks, &body, async |request| webhooks.inject(request).await).await
}

async fn validate_pod(State(webhooks): State<Webhooks>, body: Bytes) -> Response {
    respond("validate-pods", &webhooks, &body, async |request| webhooks.validate_pod(request).await).await
}

async fn validate_connection(State(webhooks): State<Webhooks>, body: Bytes) -> Response {
    let answer = async |request: &Request| webhooks.validate_connection(request).await;
    respond("validate-connections", &webhooks, &body, answer).await
}

async fn validate_policy(State(webhooks): State<Webhooks>, body: Bytes) -> Response {
    respond("validate-policies", &webhooks, &body, async |request| answer::validate_policy(request)).await
}

async fn respond(
    webhook: &'static str,
    webhooks: &Webhooks,
    body: &[u8],
    answer: impl AsyncFnOnce(&Request) -> Result<Answer, No>,
) -> Response {
    let began = Instant::now();
    let request = match Request::read(body) {
        Ok(request) => request,
        Err(error) => {
            failed(webhook, &error);
            webhooks.metrics.reviewed(webhook, "unreadable", began.elapsed());
            return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
        }
    };
    let answer = match timeout(TIME_LIMIT, answer(&request)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(No::Refused(refusal))) => {
            info!(webhook, ns = request.namespace, reason = %refusal, "refused");
            Answer::Refused(refusal)
        }
        Ok(Err(No::Unknown(error))) => {
            failed(webhook, &error);
            Answer::Unknown(error.to_string())
        }
        Err(elapsed) => {
            failed(webhook, &elapsed);
            Answer::Unknown("the API server is too slow".to_owned())
        }
    };
    webhooks.metrics.reviewed(webhook, answer.verdict(), began.elapsed());
    Json(answer.review(&request.uid)).into_response()
}

fn failed(webhook: &'static str, error: &(dyn std::error::Error + 'static)) {
    warn!(webhook, error, "review not answered");
}
