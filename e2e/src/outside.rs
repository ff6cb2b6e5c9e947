//! A server outside, to which agents have no Connection, that counts what reaches it.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::{
    Space,
    agent::Agent,
    fixture::{merged, server_pod},
};

/// Busybox, curl and nft, as root.
pub const IMAGE: &str = "chaperone.local/nettools:1";
/// What its web server answers.
pub const ANSWER: &str = "you are outside";
const PORT: u16 = 18680;
const UDP_PORT: u16 = 18681;
const TABLE: &str = "chaperone_e2e";

/// The server.
#[derive(Debug)]
pub struct Outside {
    agent: Agent,
}

impl Outside {
    /// A pod.
    ///
    /// # Errors
    /// When it does not become Ready.
    pub async fn start(space: &Space) -> Result<Self> {
        Self::start_as(space, json!({})).await
    }

    /// In the network of a node, whose addresses it has.
    ///
    /// # Errors
    /// When it does not become Ready.
    pub async fn on_node(space: &Space, node: &str) -> Result<Self> {
        Self::start_as(space, json!({"hostNetwork": true, "nodeName": node})).await
    }

    async fn start_as(space: &Space, spec: Value) -> Result<Self> {
        let serve = format!(
            "mkdir -p /tmp/www && echo '{ANSWER}' >/tmp/www/index.html && exec httpd -f -p '[::]:{PORT}' -h /tmp/www"
        );
        let mut pod = merged(server_pod("outside", &serve), json!({"spec": spec}));
        if let Some(container) = pod.pointer_mut("/spec/containers/0") {
            *container = merged(
                container.take(),
                json!({"image": IMAGE, "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}),
            );
        }
        let outside = Self { agent: Agent::start(space, pod).await? };
        let table = format!(
            "nft add table inet {TABLE} && nft add chain inet {TABLE} arrived '{{ type filter hook input priority -300; }}'"
        );
        outside.agent.sh(&table).await?.success()?;
        Ok(outside)
    }

    /// Its address.
    ///
    /// # Errors
    /// When it has none.
    pub async fn address(&self) -> Result<String> {
        let pod = self.agent.pod().await?;
        pod.status.and_then(|status| status.pod_ip).context("the server outside has no address")
    }

    /// Its IPv6 address, where the cluster gives it one.
    ///
    /// # Errors
    /// When the pod is gone.
    pub async fn address_v6(&self) -> Result<Option<String>> {
        Ok(address_v6(&self.agent.pod().await?))
    }

    /// Counts every packet of an address from now on.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn count(&self, from: &str) -> Result<()> {
        let family = if from.contains(':') { "ip6" } else { "ip" };
        let rule = format!("nft add rule inet {TABLE} arrived {family} saddr {from} counter");
        self.agent.sh(&rule).await?.success()?;
        Ok(())
    }

    /// How many packets came from an address since it is counted.
    ///
    /// # Errors
    /// When it is not counted.
    pub async fn arrived(&self, from: &str) -> Result<u64> {
        let rules = self.agent.sh(&format!("nft list chain inet {TABLE} arrived")).await?.success()?;
        let rule = rules.lines().find(|line| line.contains(&format!("saddr {from} ")));
        let count = rule.and_then(|rule| rule.split("packets ").nth(1)?.split(' ').next());
        count.context("the address is not counted")?.parse().context("a count")
    }

    /// Takes away what it left on the node.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn stop(&self) -> Result<()> {
        self.agent.sh(&format!("nft delete table inet {TABLE}")).await?.success()?;
        Ok(())
    }
}

/// What an agent tries in order to get out, each with what it prints when it got an answer.
#[must_use]
pub fn attempts(address: &str) -> String {
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!(
        "curl -sS -m 3 http://{host}:{PORT}/
        curl -sS -m 2 tftp://{host}:{UDP_PORT}/x
        ping -c 1 -W 1 {address}
        true"
    )
}

/// A pod with the tools for [`attempts`], one container per user.
#[must_use]
pub fn prober(name: &str, users: &[i64], annotations: Value) -> Value {
    let containers: Vec<Value> = users
        .iter()
        .map(|user| {
            merged(
                crate::fixture::container(&format!("user-{user}")),
                json!({"image": IMAGE, "securityContext": {"runAsUser": user}}),
            )
        })
        .collect();
    merged(
        crate::fixture::plain_pod(name),
        json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}}),
    )
}

/// A pod's IPv6 address.
#[must_use]
pub fn address_v6(pod: &Pod) -> Option<String> {
    let addresses = pod.status.as_ref()?.pod_ips.as_ref()?;
    addresses.iter().map(|one| one.ip.clone()).find(|ip| ip.contains(':'))
}

/// The node that a pod runs on.
///
/// # Errors
/// When it runs on none.
pub fn node(pod: &Pod) -> Result<String> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    node.with_context(|| format!("pod `{}` runs on no node", pod.name_any()))
}
