//! Raw addresses of Services: what goes to a Service's cluster IP belongs to the Connection whose host is that
//! Service's name. Clients inside a cluster find the API server and many Services so.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use policy::Document;
use tokio::time::{Instant, timeout};

use crate::{capture::Arrival, upstream::absolute};

/// A Service keeps its address as long as it lives.
const KEPT: Duration = Duration::from_secs(30);
/// How long a name may take to resolve.
const PATIENCE: Duration = Duration::from_secs(2);
/// Names that are remembered; beyond it, the map starts anew.
const REMEMBERED: usize = 1024;

/// Looks a name up; nothing when it cannot be found out in time.
type Resolve = dyn Fn(String, u16) -> BoxFuture<'static, Option<Vec<IpAddr>>> + Send + Sync;

fn look_up(host: String, port: u16) -> BoxFuture<'static, Option<Vec<IpAddr>>> {
    Box::pin(async move {
        let found = timeout(PATIENCE, tokio::net::lookup_host((absolute(&host), port))).await;
        found.ok().and_then(Result::ok).map(|found| found.map(|address| address.ip()).collect())
    })
}

/// The addresses of Services that Connections name.
#[derive(Debug, Default)]
pub(super) struct Services {
    known: Mutex<HashMap<String, (Vec<IpAddr>, Instant)>>,
}

impl Services {
    /// The arrival as if it had gone to the Connection's virtual address, where its raw address is a Service's
    /// that a Connection names; else as it is.
    pub(super) async fn at_virtual_address(&self, document: &Document, arrival: &Arrival) -> Arrival {
        self.by(document, arrival, &look_up).await
    }

    async fn by(&self, document: &Document, arrival: &Arrival, resolve: &Resolve) -> Arrival {
        let Arrival::Captured { destination } = arrival else { return arrival.clone() };
        let wanted = destination.ip().to_canonical();
        let there = document.connections.iter().filter(|c| c.upstream.port == destination.port());
        let named = there.filter_map(|c| Some((IpAddr::V4(c.address?), c.upstream.host.as_str())));
        for (address, host) in named.filter(|(_, host)| is_service(host)) {
            let found = self.addresses(host, destination.port(), resolve).await;
            if found.iter().any(|found| found.to_canonical() == wanted) {
                return Arrival::Captured { destination: SocketAddr::new(address, destination.port()) };
            }
        }
        arrival.clone()
    }

    async fn addresses(&self, host: &str, port: u16, resolve: &Resolve) -> Vec<IpAddr> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned();
        if let Some((addresses, at)) = known
            && at.elapsed() < KEPT
        {
            return addresses;
        }
        let addresses = resolve(host.to_owned(), port).await.unwrap_or_default();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(host.to_owned(), (addresses.clone(), Instant::now()));
        addresses
    }
}

/// Whether a host is a Service's name, such as `orders.prod.svc.cluster.local`.
fn is_service(host: &str) -> bool {
    host.split('.').nth(2).is_some_and(|part| part.eq_ignore_ascii_case("svc"))
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use policy::{ConnectionDocument, DnsMode, TlsDocument, TlsMode, Upstream, UpstreamProtocol};

    use super::*;

    const VIRTUAL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 12);

    fn document(host: &str) -> Document {
        let tls = TlsDocument { mode: TlsMode::Disable, ca_bundle: None };
        let connection = ConnectionDocument {
            name: "shop/api".to_owned(),
            protocol: UpstreamProtocol::Opaque,
            upstream: Upstream { host: host.to_owned(), port: 443, tls },
            address: Some(VIRTUAL),
            agent_port: None,
            postgres: None,
            problem: None,
            policies: Vec::new(),
        };
        Document {
            format: policy::FORMAT,
            features: Vec::new(),
            stale_after_seconds: 60,
            dns: DnsMode::Cluster,
            connections: vec![connection],
        }
    }

    fn going(destination: &str) -> Arrival {
        Arrival::Captured { destination: destination.parse().expect("an address") }
    }

    #[tokio::test(start_paused = true)]
    async fn a_services_address_leads_to_the_connection_with_its_name() {
        let (services, asked) = (Services::default(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        let resolve = move |host: String, _: u16| -> BoxFuture<'static, Option<Vec<IpAddr>>> {
            assert_eq!(host, "kubernetes.default.svc");
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Some(vec![IpAddr::from([10, 96, 0, 1])]) })
        };
        let document = document("kubernetes.default.svc");
        let there = going("198.18.0.12:443");
        for _ in 0..3 {
            assert_eq!(services.by(&document, &going("10.96.0.1:443"), &resolve).await, there);
        }
        for other in ["10.96.0.2:443", "10.96.0.1:8443"] {
            assert_eq!(services.by(&document, &going(other), &resolve).await, going(other));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "it is remembered");
        tokio::time::advance(KEPT).await;
        services.by(&document, &going("10.96.0.1:443"), &resolve).await;
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn names_of_others_are_never_asked_for() {
        let services = Services::default();
        let resolve = |host: String, _: u16| -> BoxFuture<'static, Option<Vec<IpAddr>>> {
            panic!("{host} was asked for")
        };
        let outside = going("203.0.113.7:443");
        assert_eq!(services.by(&document("api.example.com"), &outside, &resolve).await, outside);
        let explicit = Arrival::Explicit { connection: "shop/api".to_owned() };
        assert_eq!(services.by(&document("a.b.svc"), &explicit, &resolve).await, explicit);
    }
}
