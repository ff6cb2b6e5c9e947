//! Reaching the cluster, and the operator's replicas in it.

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{ListParams, Portforwarder},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::args::ClusterArguments;

/// The loopback port of the operator's record API.
const RECORDS_PORT: u16 = 8081;
/// The operator's pods.
pub(crate) const OPERATOR_LABELS: &str =
    "app.kubernetes.io/name=chaperone,app.kubernetes.io/component=operator";

/// A client and the namespace that is meant.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) operator_namespace: String,
}

/// The namespace that is meant. Asks no server.
pub(crate) async fn namespace(arguments: &ClusterArguments) -> anyhow::Result<String> {
    match &arguments.namespace {
        Some(namespace) => Ok(namespace.clone()),
        None => Ok(config(arguments).await?.default_namespace),
    }
}

async fn config(arguments: &ClusterArguments) -> anyhow::Result<Config> {
    let options = KubeConfigOptions { context: arguments.context.clone(), ..KubeConfigOptions::default() };
    match Kubeconfig::read() {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .context("the kubeconfig cannot be used"),
        // In a pod there is none.
        Err(unread) => Config::incluster()
            .map_err(|_| unread)
            .context("there is no kubeconfig to read: set KUBECONFIG, or write ~/.kube/config"),
    }
}

impl Cluster {
    pub(crate) async fn connect(arguments: &ClusterArguments) -> anyhow::Result<Self> {
        let config = config(arguments).await?;
        let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let operator_namespace = arguments.operator_namespace.clone();
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok(Self { client, namespace, operator_namespace })
    }

    /// The operator's running pods.
    pub(crate) async fn replicas(&self) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.operator_namespace);
        let found = pods.list(&ListParams::default().labels(OPERATOR_LABELS)).await;
        let found = found
            .with_context(|| format!("pods of namespace `{}` cannot be listed", self.operator_namespace))?;
        let running =
            |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        let running: Vec<Pod> = found.items.into_iter().filter(running).collect();
        if running.is_empty() {
            bail!(
                "no operator runs in namespace `{}`; use --operator-namespace, or install the chart",
                self.operator_namespace
            );
        }
        Ok(running)
    }

    /// A connection to a port of one of the operator's pods. It ends with what is returned beside it.
    pub(crate) async fn forward(
        &self,
        pod: &str,
        port: u16,
    ) -> anyhow::Result<(impl AsyncRead + AsyncWrite + Unpin + use<>, Portforwarder)> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.operator_namespace);
        let mut forward = pods
            .portforward(pod, &[port])
            .await
            .with_context(|| format!("port-forward to `{pod}`: you need `create` on pods/portforward"))?;
        let stream = forward.take_stream(port).context("the port-forward has no stream")?;
        Ok((stream, forward))
    }

    /// `GET path` of one replica's record API, by port-forward.
    pub(crate) async fn read(&self, replica: &str, path: &str) -> anyhow::Result<Vec<u8>> {
        let (stream, _forward) = self.forward(replica, RECORDS_PORT).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request =
            http::Request::get(path).header("host", "localhost").body(Empty::<bytes::Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        driver.abort();
        if !status.is_success() {
            bail!("`{replica}` answers {status} to {path}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(body.to_vec())
    }
}
