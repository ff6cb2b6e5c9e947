//! HTTPS for the API server and for sidecars: bounded in connections, sizes and time.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming};
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
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;
use tracing::{debug, warn};

/// What a listener admits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait.
    pub connections: usize,
    /// Connections of one address at once; more are closed.
    pub of_one_peer: Option<usize>,
    /// How long requests that are under way may take at the end.
    pub drain: Duration,
}

/// The address that a request comes from, among its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Questions under way on one of them.
const STREAMS: u32 = 128;
const HANDSHAKE: Duration = Duration::from_secs(5);
const HEADERS: Duration = Duration::from_secs(10);
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Serves until `stop`; then lets requests that are under way finish. No connection outlives this.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    stop: CancellationToken,
    limits: Limits,
) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (drain, peers, mut open) = (GracefulShutdown::new(), Peers::default(), JoinSet::new());
    while let Some((stream, peer, slot)) = next(&listener, &slots, &stop).await {
        while open.try_join_next().is_some() {}
        let Some(place) = peers.place(peer, limits.of_one_peer) else {
            debug!(peer = %peer, "an address has too many connections");
            continue;
        };
        let (acceptor, router, watcher) = (acceptor.clone(), router.clone(), drain.watcher());
        open.spawn(async move {
            connection(stream, acceptor, (router, peer), watcher).await;
            drop((slot, place));
        });
    }
    drop(listener);
    if timeout(limits.drain, drain.shutdown()).await.is_err() {
        warn!("connections are cut off");
    }
}

/// How many connections each address has.
#[derive(Clone, Debug, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Peers {
    fn place(&self, peer: IpAddr, limit: Option<usize>) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), peer })
    }
}

/// One connection of an address.
#[derive(Debug)]
struct Place {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

async fn next(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
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
            (Ok((stream, peer)), slot) => return Some((stream, peer.ip().to_canonical(), slot)),
            (Err(error), _slot) => {
                warn!(%error, "connection not accepted");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    (router, peer): (Router, IpAddr),
    watcher: Watcher,
) {
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return ended(&error),
        Err(elapsed) => return ended(&elapsed),
    };
    let service = MapRequest::new(router, move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(HEADERS))
        .max_concurrent_streams(STREAMS);
    let served = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(served.into_owned()).await {
        ended(&*error);
    }
}

fn ended(error: &(dyn std::error::Error + 'static)) {
    debug!(error, "connection ended");
}
