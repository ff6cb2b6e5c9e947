//! Health and metrics.

use std::{io, net::SocketAddr};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Serves `/healthz`, `/readyz` and `/metrics` until the listener fails.
///
/// # Errors
/// When the port is taken, or accepting fails.
pub async fn serve(metrics: Metrics, address: SocketAddr) -> io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(text))
        .with_state(metrics);
    axum::serve(TcpListener::bind(address).await?, router).await
}

async fn ready(State(metrics): State<Metrics>) -> impl IntoResponse {
    if metrics.serves.get() == 1 {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "webhooks are not served\n")
    }
}

async fn text(State(metrics): State<Metrics>) -> impl IntoResponse {
    match metrics.text() {
        Ok(text) => (StatusCode::OK, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n".to_owned()),
    }
}
