//! Health and metrics.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge, registry::Registry};
use tokio::net::TcpListener;

/// What is counted.
#[derive(Clone, Debug)]
pub struct Admin {
    registry: Arc<Registry>,
    /// 1 while this replica leads.
    pub leads: Gauge,
    /// 1 once webhooks are served.
    pub serves: Gauge,
}

impl Default for Admin {
    fn default() -> Self {
        Self::new()
    }
}

impl Admin {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        let (leads, serves) = (Gauge::default(), Gauge::default());
        let mut registry = Registry::with_prefix("chaperone_operator");
        registry.register("leads", "Whether this replica leads", leads.clone());
        registry.register("serves", "Whether this replica serves webhooks", serves.clone());
        Self { registry: Arc::new(registry), leads, serves }
    }

    /// Serves `/healthz`, `/readyz` and `/metrics` until the listener fails.
    ///
    /// # Errors
    /// When the port is taken, or accepting fails.
    pub async fn serve(self, address: SocketAddr) -> io::Result<()> {
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(TcpListener::bind(address).await?, router).await
    }
}

async fn ready(State(admin): State<Admin>) -> impl IntoResponse {
    if admin.serves.get() == 1 {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "webhooks are not served yet\n")
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &admin.registry) {
        Ok(()) => (StatusCode::OK, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n".to_owned()),
    }
}
