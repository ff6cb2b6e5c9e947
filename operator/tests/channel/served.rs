//! A control channel over TLS, with an API server that knows tokens, and sidecars that call it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, extract::State, routing::post};
use channel::v1::channel_client::ChannelClient;
use chaperone_operator::{
    certs::{Certs, Place},
    channel::{Service, Sources},
    collector::Collector,
    distribute::{Class, Distributor, PodFacts, PodIdentity},
    leases::Leases,
    listen::{self, Limits},
    metrics::Metrics,
};
use hyper_util::rt::TokioIo;
use kube::Client;
use object_store::memory::InMemory;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::{Request, transport::Channel};

const NAME: &str = "chaperone-channel.chaperone-system.svc";

/// A channel that is served.
pub(crate) struct Served {
    pub(crate) distributor: Distributor,
    pub(crate) leases: Leases,
    pub(crate) ended: CancellationToken,
    pub(crate) roots: String,
    /// How often the API server was asked about a token.
    pub(crate) reviews: Arc<AtomicUsize>,
    address: SocketAddr,
}

/// Tokens are `pod:NAME` for a pod of that name and UID, and nobody's otherwise.
async fn review(State(count): State<Arc<AtomicUsize>>, Json(mut review): Json<Value>) -> Json<Value> {
    assert_eq!(review["spec"]["audiences"], json!(["chaperone.dev"]), "the audience is asked for");
    count.fetch_add(1, Ordering::SeqCst);
    let token = review["spec"]["token"].as_str().unwrap().to_owned();
    review["status"] = match token.strip_prefix("pod:") {
        None => json!({"authenticated": false}),
        Some(name) => json!({
            "authenticated": true, "audiences": ["chaperone.dev"],
            "user": {"username": "system:serviceaccount:agents:planner", "extra": {
                "authentication.kubernetes.io/pod-name": [name], "authentication.kubernetes.io/pod-uid": [name],
            }},
        }),
    };
    Json(review)
}

async fn secret(Json(secret): Json<Value>) -> Json<Value> {
    Json(secret)
}

async fn missing() -> (http::StatusCode, Json<Value>) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "message": "no", "code": 404});
    (http::StatusCode::NOT_FOUND, Json(status))
}

impl Served {
    pub(crate) async fn start() -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let reviews = Arc::new(AtomicUsize::new(0));
        let secrets = "/api/v1/namespaces/chaperone-system/secrets";
        let api = Router::new()
            .route("/apis/authentication.k8s.io/v1/tokenreviews", post(review))
            .route(secrets, post(secret))
            .route(&format!("{secrets}/{{name}}"), axum::routing::get(missing))
            .with_state(Arc::clone(&reviews));
        let client = Client::new(api, "default");
        let place = Place {
            namespace: "chaperone-system".to_owned(),
            secret: "chaperone-certificates".to_owned(),
            names: vec![NAME.to_owned()],
        };
        let (certs, _keeper) = Certs::open(&client, place).await.unwrap();
        let collector = Collector::open(Arc::new(InMemory::new())).await.unwrap();
        let (distributor, leases) = (Distributor::new(7, Duration::from_secs(3600)), Leases::new());
        let sources = Sources {
            distributor: distributor.clone(),
            leases: leases.clone(),
            collector,
            roots: certs.roots(),
        };
        let ended = CancellationToken::new();
        let service = Service::new(client, sources, Metrics::new(), ended.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = certs.server_config(&[&rustls::version::TLS13], &["h2"]).unwrap();
        let limits = Limits { connections: 64, of_one_peer: Some(16), drain: Duration::from_millis(200) };
        tokio::spawn(listen::serve(listener, tls, service.into_router(), ended.clone(), limits));
        Self { distributor, leases, ended, roots: certs.bundle().to_string(), reviews, address }
    }

    /// Another connection; none when the listener does not take it.
    pub(crate) async fn connect(&self) -> Result<ChannelClient<Channel>, tonic::transport::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.roots.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (tls, address) = (TlsConnector::from(Arc::new(config)), self.address);
        let dial = tower::service_fn(move |_| {
            let tls = tls.clone();
            async move {
                let tcp = TcpStream::connect(address).await?;
                let name = ServerName::try_from(NAME).map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
            }
        });
        let channel = Channel::from_static("https://channel").connect_with_connector(dial).await?;
        Ok(ChannelClient::new(channel))
    }

    /// The pods that are there, all of one class with this document.
    pub(crate) fn publish(&self, pods: &[&str], document: &str) {
        let facts = |uid: &&str| PodFacts {
            identity: PodIdentity {
                namespace: "agents".to_owned(),
                name: (*uid).to_owned(),
                uid: (*uid).to_owned(),
                service_account: "planner".to_owned(),
            },
            ip: None,
            labels: Default::default(),
            wanted: None,
            ready: true,
        };
        let facts: Vec<PodFacts> = pods.iter().map(facts).collect();
        self.distributor.set_pods(&facts);
        let one = |name: &str| BTreeSet::from([name.to_owned()]);
        let all = BTreeSet::from(["agents/db".to_owned(), "agents/closed".to_owned()]);
        let class =
            Arc::new(Class::new(document.as_bytes().to_vec(), all, one("agents/db"), one("agents/policy")));
        let classes = pods.iter().map(|uid| ((*uid).to_owned(), Arc::clone(&class))).collect();
        self.distributor.publish(classes, &Default::default());
    }
}

/// A call with a token.
pub(crate) fn with_token<T>(token: &str, body: T) -> Request<T> {
    let mut request = Request::new(body);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
