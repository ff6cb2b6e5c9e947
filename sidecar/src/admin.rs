//! Health and metrics: two small HTTP servers, no statement data on either.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{
    encoding::text::encode,
    metrics::gauge::ConstGauge,
    registry::{Registry, Unit},
};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::{policy::Documents, recorder::Recorder};

/// Requests under way at once, and how long reading one may take.
const CONCURRENT: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// What health and metrics are made of.
#[derive(Clone, Debug)]
pub struct Admin {
    documents: Documents,
    recorder: Recorder,
}

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// `/healthz` and `/readyz`.
    Health,
    /// `/metrics`.
    Metrics,
}

type Answer = Response<Full<bytes::Bytes>>;

impl Admin {
    /// Tells about these.
    #[must_use]
    pub const fn new(documents: Documents, recorder: Recorder) -> Self {
        Self { documents, recorder }
    }

    /// Serves one face on `address` until the listener fails.
    ///
    /// # Errors
    /// When the port is taken, or accepting fails.
    pub async fn serve(self, address: SocketAddr, face: Face) -> io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        let slots = Arc::new(Semaphore::new(CONCURRENT));
        loop {
            let (stream, _) = listener.accept().await?;
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
            let admin = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let answer = admin.answer(face, &request);
                    async { Ok::<_, Infallible>(answer) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
                // A client that goes away needs no answer.
                drop(server.serve_connection(TokioIo::new(stream), service).await);
                drop(slot);
            });
        }
    }

    fn answer(&self, face: Face, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned());
        }
        match (face, request.uri().path()) {
            (Face::Health, "/healthz") => text(StatusCode::OK, "ok\n".to_owned()),
            (Face::Health, "/readyz") if self.documents.is_loaded() => {
                text(StatusCode::OK, "ready\n".to_owned())
            }
            (Face::Health, "/readyz") => {
                text(StatusCode::SERVICE_UNAVAILABLE, "waiting for the first document\n".to_owned())
            }
            (Face::Metrics, "/metrics") => self.metrics(),
            _ => text(StatusCode::NOT_FOUND, "there is nothing here\n".to_owned()),
        }
    }

    fn metrics(&self) -> Answer {
        let number = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let mut registry = Registry::with_prefix("chaperone_sidecar");
        let sessions = self.documents.sessions() as u64;
        registry.register("sessions", "Sessions that live", number(sessions));
        registry.register_with_unit(
            "spool",
            "Records that wait for the store",
            Unit::Bytes,
            number(self.recorder.waiting_bytes()),
        );
        let generation = self.documents.current().map(|current| current.generation).unwrap_or_default();
        registry.register("document_epoch", "Epoch of the document in force", number(generation.epoch));
        registry.register(
            "document_sequence",
            "Sequence of the document in force",
            number(generation.sequence),
        );
        let mut body = String::new();
        match encode(&mut body, &registry) {
            Ok(()) => text(StatusCode::OK, body),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n".to_owned()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
