//! The label by which the channel's Service finds the leader's pod.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Carried by the leader's pod alone.
pub(crate) const LEADER: &str = "chaperone.dev/leader";

/// This replica's pod and its siblings.
#[derive(Clone)]
pub(crate) struct Label {
    pods: Api<Pod>,
    own: Option<String>,
}

impl std::fmt::Debug for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Label").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Label {
    /// The label on the pod `own` in `namespace`; outside a cluster there is no such pod.
    #[must_use]
    pub(crate) fn new(client: Client, namespace: &str, own: Option<String>) -> Self {
        Self { pods: Api::namespaced(client, namespace), own }
    }

    /// Takes it from this replica's pod.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn remove(&self) -> Result<(), kube::Error> {
        match &self.own {
            Some(own) => self.set(own, &Value::Null).await,
            None => Ok(()),
        }
    }

    /// Takes it from every other pod.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn remove_from_others(&self) -> Result<(), kube::Error> {
        for pod in self.pods.list_metadata(&ListParams::default().labels(LEADER)).await? {
            if Some(pod.name_any()) != self.own {
                self.set(&pod.name_any(), &Value::Null).await?;
            }
        }
        Ok(())
    }

    /// Gives it to this replica's pod.
    ///
    /// # Errors
    /// When the API server refuses.
    pub(crate) async fn give(&self) -> Result<(), kube::Error> {
        match &self.own {
            Some(own) => self.set(own, &json!("true")).await,
            None => Ok(()),
        }
    }

    async fn set(&self, pod: &str, value: &Value) -> Result<(), kube::Error> {
        let patch = json!({"metadata": {"labels": {LEADER: value}}});
        match self.pods.patch_metadata(pod, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop),
        }
    }
}
