//! A pod that sees the processes of a node, to end them as a crash would.

use std::{pin::Pin, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{AttachParams, AttachedProcess},
};
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::{
    Space,
    agent::Agent,
    fixture::{merged, server_pod},
};

/// Prints the process whose name begins with $1 and whose environment has the entry $2.
const FIND: &str = r#"
for process in /proc/[0-9]*; do
  case $(cat $process/comm 2>/dev/null) in "$1"*) ;; *) continue ;; esac
  if tr '\0' '\n' <$process/environ | grep -qx "$2"; then echo ${process#/proc/}; fi
done"#;

/// Prints the process that holds the network of the process $1: it came first.
const HOLDER: &str = r#"
network=$(readlink /proc/$1/ns/net)
for process in $(ls /proc | grep '^[0-9]' | sort -n); do
  if [ "$(readlink /proc/$process/ns/net)" = "$network" ]; then echo $process; break; fi
done"#;

/// A process of one of our pods.
#[derive(Clone, Copy, Debug)]
pub enum Process<'a> {
    /// The sidecar of an agent.
    Sidecar(&'a Agent),
    /// What holds the network of an agent's pod.
    Sandbox(&'a Agent),
    /// A replica of the operator.
    Operator(&'a Pod),
}

/// The pod.
#[derive(Debug)]
pub struct Host {
    agent: Agent,
}

impl Host {
    /// Starts it on the node of another pod.
    ///
    /// # Errors
    /// When it does not become Ready.
    pub async fn of(space: &Space, pod: &Pod) -> Result<Self> {
        let node =
            pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("a pod without a node")?;
        let name = Self::name_of(pod);
        let privileged = json!({"spec": {"nodeName": node, "hostPID": true}});
        let mut pod = merged(server_pod(&name, "sleep 3600"), privileged);
        if let Some(container) = pod.pointer_mut("/spec/containers/0") {
            *container =
                merged(container.take(), json!({"securityContext": {"privileged": true, "runAsUser": 0}}));
        }
        Ok(Self { agent: Agent::start(space, pod).await? })
    }

    /// What it is called.
    #[must_use]
    pub fn name_of(pod: &Pod) -> String {
        format!("host-of-{}", pod.name_any())
    }

    /// One that was started before.
    ///
    /// # Errors
    /// When it is not Ready.
    pub async fn ready(space: &Space, name: &str) -> Result<Self> {
        Ok(Self { agent: Agent::ready(space, name).await? })
    }

    /// Kills a process with -9.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn kill(&self, process: Process<'_>) -> Result<()> {
        let pid = self.find(process).await?;
        self.agent.sh(&format!("kill -9 {pid}")).await?.success()?;
        Ok(())
    }

    /// Makes ready to kill a process with -9, so that the blow falls exactly when it is ordered.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn aim(&self, process: Process<'_>) -> Result<Blow> {
        let pid = self.find(process).await?;
        let script = format!("read delay; usleep $delay; kill -9 {pid} && echo done");
        let params = AttachParams::default().container("agent").stdin(true);
        let pods = self.agent.space.api::<Pod>();
        let mut process = Box::pin(pods.exec(&self.agent.name, ["sh", "-c", &script], &params)).await?;
        let stdin = process.stdin().context("the blow cannot be ordered")?;
        Ok(Blow { stdin: Box::pin(stdin), process })
    }

    async fn find(&self, process: Process<'_>) -> Result<String> {
        let (name, entry) = match process {
            Process::Sidecar(agent) | Process::Sandbox(agent) => {
                ("chaperone-sidec", format!("POD_UID={}", agent.uid))
            }
            Process::Operator(pod) => ("chaperone-opera", format!("POD_NAME={}", pod.name_any())),
        };
        let found = self.agent.sh(&format!("set -- {name} {entry}\n{FIND}")).await?.success()?;
        let pid = found.lines().next().with_context(|| format!("no process of {entry}"))?;
        let Process::Sandbox(_) = process else { return Ok(pid.to_owned()) };
        let holder = self.agent.sh(&format!("set -- {pid}\n{HOLDER}")).await?.success()?;
        anyhow::ensure!(!holder.is_empty(), "no process holds the network of {entry}");
        Ok(holder)
    }
}

/// A kill that waits for its order.
pub struct Blow {
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    process: AttachedProcess,
}

impl std::fmt::Debug for Blow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blow").finish_non_exhaustive()
    }
}

impl Blow {
    /// Orders it, that long from now. Does not wait for it.
    ///
    /// # Errors
    /// When the order cannot be sent.
    pub async fn strike(&mut self, after: Duration) -> Result<()> {
        self.stdin.write_all(format!("{}\n", after.as_micros()).as_bytes()).await?;
        self.stdin.flush().await?;
        Ok(())
    }

    /// Waits until it has fallen.
    ///
    /// # Errors
    /// When the process was gone already.
    pub async fn fallen(mut self) -> Result<()> {
        let status = self.process.take_status().context("the blow reports nothing")?;
        let status = status.await.context("the blow reports nothing")?;
        anyhow::ensure!(status.status.as_deref() == Some("Success"), "the process could not be killed");
        Ok(())
    }
}
