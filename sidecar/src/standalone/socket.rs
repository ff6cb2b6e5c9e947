//! The control socket of a standalone sidecar: HTTP over a Unix socket, for this user alone.

use std::{convert::Infallible, fs, io, os::unix::fs::PermissionsExt, path::PathBuf};

use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};

use crate::policy::Documents;

/// Asks for the resources to be read again; the answer comes when live sessions use them, or says why not.
pub type Reload = oneshot::Sender<Result<String, String>>;

/// Serves the socket until it fails.
///
/// # Errors
/// When the socket cannot be made.
pub async fn serve(path: PathBuf, documents: Documents, reloads: mpsc::Sender<Reload>) -> io::Result<()> {
    let path = path.as_path();
    // A socket that an ended process left behind.
    if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (documents, reloads) = (documents.clone(), reloads.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (documents, reloads) = (documents.clone(), reloads.clone());
                async move { Ok::<_, Infallible>(answer(request, &documents, &reloads).await) }
            });
            // A client that goes away needs no answer.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    documents: &Documents,
    reloads: &mpsc::Sender<Reload>,
) -> Response<Full<bytes::Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::POST, "/reload") => match reload(reloads).await {
            Ok(generation) => (StatusCode::OK, json!({ "generation": generation })),
            Err(problem) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "problem": problem })),
        },
        (&Method::GET, "/status") => {
            let generation = documents.current().map(|current| current.generation.to_string());
            let status = json!({
                "version": env!("CARGO_PKG_VERSION"),
                "generation": generation,
                "sessions": documents.sessions(),
            });
            (StatusCode::OK, status)
        }
        (&Method::GET, "/document") => {
            let document = documents.current().map(|current| json!(*current.document));
            (StatusCode::OK, json!({ "document": document }))
        }
        _ => (StatusCode::NOT_FOUND, json!({ "problem": "use POST /reload, GET /status or GET /document" })),
    };
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    response
}

async fn reload(reloads: &mpsc::Sender<Reload>) -> Result<String, String> {
    let (done, waiting) = oneshot::channel();
    let ended = |_| "the sidecar is ending".to_owned();
    reloads.send(done).await.map_err(|_| ended(()))?;
    waiting.await.map_err(|_| ended(()))?
}
