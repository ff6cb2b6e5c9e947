//! The webhook configurations' `caBundle`: absent from the chart, so that upgrades do not wipe it,
//! applied under a field manager of its own, and applied again when somebody does.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tracing::{info, warn};

const FIELD_MANAGER: &str = "chaperone-certs";
const RETRY: Duration = Duration::from_secs(5);

/// The webhook configurations of an installation.
#[derive(Debug, Clone)]
pub struct Configurations {
    /// The MutatingWebhookConfiguration's name.
    pub mutating: String,
    /// The ValidatingWebhookConfiguration's name.
    pub validating: String,
}

/// How many configurations there are.
pub const CONFIGURATIONS: usize = 2;

/// Keeps both up to date until it is dropped. `in_place` counts those that have been, or that are not there.
pub async fn keep(
    client: Client,
    names: Configurations,
    roots: watch::Receiver<Arc<str>>,
    in_place: watch::Sender<usize>,
) {
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let validating = Api::<ValidatingWebhookConfiguration>::all(client);
    tokio::join!(
        keep_one(mutating, names.mutating, roots.clone(), &in_place),
        keep_one(validating, names.validating, roots, &in_place)
    );
}

/// A webhook configuration of either kind.
trait Configuration:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    const KIND: &'static str;

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)>;

    /// What is to be applied so that all its webhooks have this bundle; `None` if they do.
    fn missing(&self, bundle: &str) -> Option<Value> {
        let have = |config: &WebhookClientConfig| {
            config.ca_bundle.as_ref().is_some_and(|have| have.0 == bundle.as_bytes())
        };
        let webhooks = self.webhooks();
        if webhooks.iter().all(|(_, config)| have(config)) {
            return None;
        }
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let entry = |(name, _): &(&str, _)| json!({"name": name, "clientConfig": {"caBundle": bundle}});
        Some(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": Self::KIND,
            "metadata": {"name": self.meta().name},
            "webhooks": webhooks.iter().map(entry).collect::<Vec<_>>(),
        }))
    }
}

impl Configuration for MutatingWebhookConfiguration {
    const KIND: &'static str = "MutatingWebhookConfiguration";

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks
            .iter()
            .flatten()
            .map(|webhook| (webhook.name.as_str(), &webhook.client_config))
            .collect()
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    const KIND: &'static str = "ValidatingWebhookConfiguration";

    fn webhooks(&self) -> Vec<(&str, &WebhookClientConfig)> {
        self.webhooks
            .iter()
            .flatten()
            .map(|webhook| (webhook.name.as_str(), &webhook.client_config))
            .collect()
    }
}

async fn keep_one<K: Configuration>(
    api: Api<K>,
    name: String,
    mut roots: watch::Receiver<Arc<str>>,
    in_place: &watch::Sender<usize>,
) {
    let mut changes = watcher::watch_object(api.clone(), &name).default_backoff().boxed();
    // Nothing until the API server has been asked.
    let mut found: Option<Option<K>> = None;
    let mut counted = false;
    loop {
        let bundle = Arc::clone(&roots.borrow_and_update());
        let applied = match found.iter().flatten().find_map(|found| found.missing(&bundle)) {
            Some(patch) => apply(&api, &name, &patch).await,
            None => true,
        };
        if applied && found.is_some() && !counted {
            in_place.send_modify(|count| *count += 1);
            counted = true;
        }
        tokio::select! {
            change = changes.try_next() => match change {
                Ok(now) => found = Some(now.flatten()),
                Err(error) => failed::<K>("not read", &error),
            },
            changed = roots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if !applied => {}
        }
    }
}

/// Whether it was.
async fn apply<K: Configuration>(api: &Api<K>, name: &str, patch: &Value) -> bool {
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(name, &params, &Patch::Apply(patch)).await;
    match &applied {
        Ok(_) => info!(kind = K::KIND, "root certificates applied"),
        Err(error) => failed::<K>("not applied", error),
    }
    applied.is_ok()
}

fn failed<K: Configuration>(what: &'static str, error: &(dyn std::error::Error + 'static)) {
    warn!(kind = K::KIND, what, error, "root certificates not applied");
}

#[cfg(test)]
mod tests;
