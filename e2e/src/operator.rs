//! The operator's replicas: who leads, and taking them away and back.

use std::panic::{AssertUnwindSafe, resume_unwind};

use anyhow::{Context, Result};
use futures_util::FutureExt;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use crate::wait::{eventually, when};

/// Where the chart is installed.
pub const NAMESPACE: &str = "chaperone-system";
/// The operator's service account and StatefulSet.
pub const ACCOUNT: &str = "chaperone-operator";
const LABELS: &str = "app.kubernetes.io/name=chaperone,app.kubernetes.io/component=operator";
const LEADER: &str = "chaperone.dev/leader";
/// So many reviews in a row reach every replica, one may say.
const REVIEWS: usize = 10;

/// Tests that take the operator away wait for each other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The replicas that run.
///
/// # Errors
/// When the API server does not answer.
pub async fn replicas(client: &Client) -> Result<Vec<Pod>> {
    let found = Box::pin(pods(client).list(&ListParams::default().labels(LABELS))).await?;
    let running = |pod: &Pod| {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
    };
    Ok(found.items.into_iter().filter(running).collect())
}

/// Everything of the operator's own namespace that has to do with one test at a time.
pub struct Installation {
    client: Client,
    replicas: i32,
    _alone: MutexGuard<'static, ()>,
}

impl std::fmt::Debug for Installation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installation").field("replicas", &self.replicas).finish_non_exhaustive()
    }
}

impl Installation {
    /// The whole operator, for a test that takes it away; all replicas are Ready.
    ///
    /// # Errors
    /// When it is not installed, or does not become Ready.
    pub async fn alone(client: &Client) -> Result<Self> {
        let alone = ALONE.lock().await;
        let set =
            Box::pin(sets(client).get(ACCOUNT)).await.context("the chart `chaperone` is not installed")?;
        let replicas = set.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let installation = Self { client: client.clone(), replicas, _alone: alone };
        installation.ready().await?;
        Ok(installation)
    }

    /// Waits until all replicas are Ready, one leads, and whichever of them the API server asks answers.
    ///
    /// # Errors
    /// When they do not become so.
    pub async fn ready(&self) -> Result<()> {
        eventually("all replicas of the operator, and a leader", async || {
            let ready = replicas(&self.client).await?.iter().filter(|pod| is_ready(pod)).count();
            let all = i32::try_from(ready)? >= self.replicas;
            self.leader().await?;
            self.admits().await?;
            Ok(when(all))
        })
        .await
    }

    /// Reviews reach the replicas: nodes learn of an address a moment after it is Ready, and forget one a
    /// moment after it is gone.
    async fn admits(&self) -> Result<()> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"generateName": "asks-", "annotations": {"chaperone.dev/inject": "true"}},
            "spec": {"containers": [{"name": "agent", "image": "none"}]},
        }))?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "default");
        let params = PostParams { dry_run: true, ..PostParams::default() };
        for _ in 0..REVIEWS {
            Box::pin(pods.create(&params, &pod)).await?;
        }
        Ok(())
    }

    /// The replica that leads.
    ///
    /// # Errors
    /// When none does.
    pub async fn leader(&self) -> Result<Pod> {
        let all = replicas(&self.client).await?;
        let leader = all.into_iter().find(|pod| pod.labels().contains_key(LEADER));
        leader.context("no replica leads")
    }

    /// Takes all replicas away and waits until they are gone.
    ///
    /// # Errors
    /// When they do not go.
    pub async fn away(&self) -> Result<()> {
        self.scale(0).await?;
        eventually("the operator's end", async || {
            let left = Box::pin(pods(&self.client).list(&ListParams::default().labels(LABELS))).await?;
            Ok(when(left.items.is_empty()))
        })
        .await
    }

    /// Brings them back.
    ///
    /// # Errors
    /// When they do not become Ready.
    pub async fn back(&self) -> Result<()> {
        self.scale(self.replicas).await?;
        self.ready().await
    }

    /// Has a replica made anew at once, so that kubelet does not hold back one that died often.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn replace(&self, replica: &str) -> Result<()> {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        Box::pin(pods(&self.client).delete(replica, &now)).await?;
        Ok(())
    }

    async fn scale(&self, replicas: i32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        Box::pin(sets(&self.client).patch_scale(ACCOUNT, &PatchParams::default(), &patch)).await?;
        Ok(())
    }
}

/// Runs a test without the operator, which comes back whatever the test says.
///
/// # Errors
/// When the test fails, or the operator does not go or come back.
pub async fn without_operator(client: &Client, test: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let installation = Installation::alone(client).await?;
    let outcome = match installation.away().await {
        Ok(()) => AssertUnwindSafe(test()).catch_unwind().await,
        Err(error) => Ok(Err(error)),
    };
    installation.back().await?;
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), NAMESPACE)
}

fn sets(client: &Client) -> Api<StatefulSet> {
    Api::namespaced(client.clone(), NAMESPACE)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}
