//! An agent's pod, and what the agent does in it.

use std::pin::Pin;

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::Status,
};
use kube::{
    api::{AttachParams, AttachedProcess},
    runtime::{
        conditions::is_pod_running,
        wait::{Condition, await_condition},
    },
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{Space, exec::Output, session::Session, wait::PATIENCE};

/// The container of a pod that is ours.
pub const SIDECAR: &str = "chaperone-sidecar";
/// The init container that raises the fence.
pub const FENCE: &str = "chaperone-fence";
/// The container of the agent itself, in the fixtures' pods.
pub const CONTAINER: &str = "agent";

/// A running agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Where it runs.
    pub space: Space,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
}

impl Agent {
    /// Creates a pod and waits until it is Ready.
    ///
    /// # Errors
    /// When it is refused or does not become Ready.
    pub async fn start(space: &Space, pod: Value) -> Result<Self> {
        let name = space.apply(pod).await?.metadata.name.context("a pod without a name")?;
        Self::ready(space, &name).await
    }

    /// A pod that somebody else made, once it is Ready.
    ///
    /// # Errors
    /// When it does not become Ready.
    pub async fn ready(space: &Space, name: &str) -> Result<Self> {
        let pod = ready(space, name).await?;
        let uid = pod.metadata.uid.context("a pod without a UID")?;
        Ok(Self { space: space.clone(), name: name.to_owned(), uid })
    }

    /// The pod as it is now.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn pod(&self) -> Result<Pod> {
        self.space.get(&self.name).await
    }

    /// Runs a script in the agent's container.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn sh(&self, script: &str) -> Result<Output> {
        self.space.exec(&self.name, CONTAINER, &["sh", "-c", script]).await
    }

    /// Runs one statement by psql as it comes, with what the environment says and nothing else.
    ///
    /// # Errors
    /// When psql cannot be started.
    pub async fn psql(&self, statement: &str) -> Result<Output> {
        let command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement];
        self.space.exec(&self.name, CONTAINER, &command).await
    }

    /// A psql that stays.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn live(&self) -> Result<Live> {
        Box::pin(Live::start(self)).await
    }

    /// A driver's session through the sidecar, by port-forward to the Connection's port in the pod.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn session(&self) -> Result<Session> {
        Box::pin(Session::open(self)).await
    }

    /// The state of one of the pod's containers.
    ///
    /// # Errors
    /// When it has none of that name.
    pub async fn container(&self, name: &str) -> Result<ContainerStatus> {
        let status = self.pod().await?.status.unwrap_or_default();
        let mut all = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
        all.find(|container| container.name == name).with_context(|| format!("no container `{name}`"))
    }
}

/// Waits until a pod is Ready.
///
/// # Errors
/// When it does not become so.
pub async fn ready(space: &Space, name: &str) -> Result<Pod> {
    awaited(space, name, "be Ready", is_pod_running().and(is_ready)).await
}

/// Waits until something is true of a pod.
///
/// # Errors
/// When it never is.
pub async fn awaited(space: &Space, name: &str, what: &str, condition: impl Condition<Pod>) -> Result<Pod> {
    let wait = Box::pin(await_condition(space.api::<Pod>(), name, condition));
    let found = timeout(PATIENCE, wait).await;
    let found =
        found.with_context(|| format!("pod `{name}` should {what}, and did not in {PATIENCE:?}"))??;
    found.with_context(|| format!("pod `{name}` is gone"))
}

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// A psql that reads one statement after the other.
pub struct Live {
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// Ends the connection when it is dropped.
    process: AttachedProcess,
    asked: u32,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Live {
    async fn start(agent: &Agent) -> Result<Self> {
        let pods = agent.space.api::<Pod>();
        let params = AttachParams::default().container(CONTAINER).stdin(true);
        // The shell keeps its own standard error open: when that ends, so does the command's input.
        let command = ["sh", "-c", "psql -XqAt 2>&1 | cat"];
        let mut process = pods.exec(&agent.name, command, &params).await.context("starting psql")?;
        let stdin = process.stdin().context("psql does not listen")?;
        let stdout = process.stdout().context("psql says nothing")?;
        Ok(Self { stdin: Box::pin(stdin), stdout: Box::pin(stdout), process, asked: 0 })
    }

    /// What psql says to these lines, errors included.
    ///
    /// # Errors
    /// When psql has ended.
    pub async fn ask(&mut self, lines: &str) -> Result<String> {
        self.asked += 1;
        let end = format!("--- {} ---\n", self.asked);
        self.stdin.write_all(format!("{lines}\n\\echo {end}").as_bytes()).await?;
        self.stdin.flush().await?;
        let answer = timeout(PATIENCE, self.read_to(&end)).await;
        answer.with_context(|| format!("psql did not answer to `{lines}`"))?
    }

    /// Why it ended.
    async fn ended(&mut self) -> Option<Status> {
        self.process.take_status()?.await
    }

    async fn read_to(&mut self, end: &str) -> Result<String> {
        let (mut said, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&said);
            if let Some(answer) = text.strip_suffix(end) {
                return Ok(answer.trim_end().to_owned());
            }
            match self.stdout.read(&mut part).await? {
                0 => bail!("psql ended: {text}{:?}", self.ended().await),
                read => said.extend(part.iter().take(read)),
            }
        }
    }
}
