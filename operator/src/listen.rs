//! HTTPS for the API server and for sidecars: bounded in connections, sizes and time.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// What a listener admits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait.
    pub connections: usize,
}

/// Questions under way on one of them.
const STREAMS: u32 = 128;
const HANDSHAKE: Duration = Duration::from_secs(5);
const HEADERS: Duration = Duration::from_secs(10);
/// Longer than any webhook's `timeoutSeconds` here.
const DRAIN: Duration = Duration::from_secs(6);
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves until `stop`; then lets requests that are under way finish.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    stop: CancellationToken,
    limits: Limits,
) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let drain = GracefulShutdown::new();
    while let Some((stream, slot)) = next(&listener, &slots, &stop).await {
        let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), drain.watcher());
        tokio::spawn(async move {
            connection(stream, acceptor, router, watcher).await;
            drop(slot);
        });
    }
    drop(listener);
    if timeout(DRAIN, drain.shutdown()).await.is_err() {
        warn!("connections still open after the drain");
    }
}

async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let slot = Arc::clone(slots).acquire_owned().await.ok()?;
            Some((listener.accept().await, slot))
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = accepted => accepted?,
        };
        match accepted {
            (Ok((stream, _peer)), slot) => return Some((stream, slot)),
            (Err(error), _slot) => {
                warn!(%error, "connection not accepted");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router, watcher: Watcher) {
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return ended(&error),
        Err(elapsed) => return ended(&elapsed),
    };
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(HEADERS))
        .max_concurrent_streams(STREAMS);
    let served = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(served.into_owned()).await {
        ended(&*error);
    }
}

fn ended(error: &(dyn std::error::Error + 'static)) {
    debug!(error, "connection ended");
}
