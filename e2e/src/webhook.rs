//! Another admission webhook, served by the test itself.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::Space;

/// Names the address of this machine as the API server sees it, where the route to it does not tell.
const ADDRESS: &str = "CHAPERONE_E2E_ADDRESS";

/// What the webhook makes of a pod.
type Edit = fn(&mut Value);

/// A webhook for the pods of one namespace, for as long as this lives.
#[derive(Debug)]
pub struct Webhook {
    _server: JoinSet<()>,
}

impl Webhook {
    /// Registers one that runs after ours, and again when others changed the pod.
    ///
    /// # Errors
    /// When it cannot be served or registered.
    pub async fn start(space: &Space, edit: Edit) -> Result<Self> {
        let address = address()?;
        let certified = rcgen::generate_simple_self_signed(vec![address.to_string()])?;
        let certificate = certified.cert.der().clone();
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
        let key = key.map_err(anyhow::Error::msg)?;
        let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0))).await?;
        let url = format!("https://{}/", SocketAddr::new(address, listener.local_addr()?.port()));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), edit));
        space.apply_cluster(configuration(&space.name, &url, &certified.cert.pem())).await?;
        Ok(Self { _server: server })
    }
}

fn configuration(namespace: &str, url: &str, certificate: &str) -> Value {
    let bundle = k8s_openapi::ByteString(certificate.as_bytes().to_vec());
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        // They are called in the order of their names.
        "metadata": {"name": format!("zz-{namespace}")},
        "webhooks": [{
            "name": "another.example.com",
            "clientConfig": {"url": url, "caBundle": bundle},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            "reinvocationPolicy": "IfNeeded", "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }],
    })
}

/// This machine's address on the way to the API server.
fn address() -> Result<IpAddr> {
    if let Ok(address) = std::env::var(ADDRESS) {
        return address.parse().with_context(|| format!("{ADDRESS} is `{address}`, not an address"));
    }
    let kubeconfig = kube::config::Kubeconfig::read()?;
    let server = kubeconfig.clusters.into_iter().find_map(|cluster| cluster.cluster?.server);
    let server: http::Uri = server.context("the kubeconfig names no server")?.parse()?;
    let host = server.host().context("the kubeconfig's server has no host")?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect((host, server.port_u16().unwrap_or(443)))?;
    Ok(socket.local_addr()?.ip())
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, edit: Edit) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, acceptor.clone(), edit));
    }
}

/// What fails here, the API server reports as the reason why it refuses the pod.
async fn converse(stream: TcpStream, acceptor: TlsAcceptor, edit: Edit) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(request, edit).await));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, edit: Edit) -> Response<Full<bytes::Bytes>> {
    match review(request, edit).await {
        Ok(body) => Response::new(Full::new(body.into())),
        Err(error) => {
            let mut response = Response::new(Full::new(format!("{error:#}").into()));
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

async fn review(request: Request<Incoming>, edit: Edit) -> Result<Vec<u8>> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: AdmissionReview<kube::api::DynamicObject> = serde_json::from_slice(&body)?;
    let request: AdmissionRequest<_> = review.try_into()?;
    let response = AdmissionResponse::from(&request);
    let before = serde_json::to_value(request.object.context("no object")?)?;
    let mut after = before.clone();
    edit(&mut after);
    let response = response.with_patch(json_patch::diff(&before, &after))?;
    Ok(serde_json::to_vec(&response.into_review())?)
}
