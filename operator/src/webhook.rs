//! The admission webhooks: what the API server asks, and where it is answered.
//!
//! Each question is read once, answered by a pure function over values that were fetched live, and
//! refused if anything about it cannot be read or found out.

use std::{future::Future, sync::Arc, time::Duration};

use crate::listen::{self, Limits};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Json, Response},
    routing::{get, post},
};
use kube::Client;
use rustls::ServerConfig;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

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

/// API servers keep a handful of connections each.
const API_SERVERS: Limits = Limits { connections: 256 };

/// What the webhooks answer from.
#[derive(Debug, Clone)]
pub struct Webhooks {
    settings: Arc<Settings>,
    roots: watch::Receiver<Arc<str>>,
    fetch: fetch::Fetch,
}

impl Webhooks {
    /// `roots` are those of [`crate::certs::Certs`].
    pub fn new(client: Client, settings: Settings, roots: watch::Receiver<Arc<str>>) -> Self {
        Self { settings: Arc::new(settings), roots, fetch: fetch::Fetch::new(client) }
    }
}

/// Serves the webhooks until `stop`, then finishes what is under way.
pub fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    webhooks: Webhooks,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    listen::serve(listener, tls, router(webhooks), stop, API_SERVERS)
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
    respond("inject", &body, async |request| webhooks.inject(request).await).await
}

async fn validate_pod(State(webhooks): State<Webhooks>, body: Bytes) -> Response {
    respond("validate-pods", &body, async |request| webhooks.validate_pod(request).await).await
}

async fn validate_connection(State(webhooks): State<Webhooks>, body: Bytes) -> Response {
    respond("validate-connections", &body, async |request| webhooks.validate_connection(request).await).await
}

async fn validate_policy(body: Bytes) -> Response {
    respond("validate-policies", &body, async |request| answer::validate_policy(request)).await
}

async fn respond(
    webhook: &'static str,
    body: &[u8],
    answer: impl AsyncFnOnce(&Request) -> Result<Answer, No>,
) -> Response {
    let request = match Request::read(body) {
        Ok(request) => request,
        Err(error) => {
            failed(webhook, &error);
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
    Json(answer.review(&request.uid)).into_response()
}

fn failed(webhook: &'static str, error: &(dyn std::error::Error + 'static)) {
    warn!(webhook, error, "review not answered");
}
