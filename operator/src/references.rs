//! The Secrets and ConfigMaps that Connections name: each is watched singly, by the right that its owner granted
//! for it alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::JoinHandle};
use zeroize::Zeroizing;

/// How soon a watch that was refused is tried again: grants are applied by people.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// What is referred to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Secret or ConfigMap.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// The kinds that can be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl Kind {
    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// What is known of it.
#[derive(Clone, Debug, Default)]
pub enum Known {
    /// Nothing yet.
    #[default]
    Pending,
    /// It is not there.
    Missing,
    /// The operator may not read it.
    Forbidden,
    /// It is there.
    Present(Arc<BTreeMap<String, Zeroizing<Vec<u8>>>>),
}

/// All references, watched.
#[derive(Clone)]
pub struct References {
    client: Client,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for References {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("References").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Shared {
    known: Mutex<BTreeMap<Reference, Entry>>,
    moved: Notify,
}

struct Entry {
    known: Known,
    watch: JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let known = self.known.get_mut().unwrap_or_else(PoisonError::into_inner);
        known.values().for_each(|entry| entry.watch.abort());
    }
}

impl References {
    /// Watches nothing yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, shared: Arc::default() }
    }

    /// Watches these, and no others.
    pub fn want(&self, wanted: &BTreeSet<Reference>) {
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|reference, entry| {
            let keep = wanted.contains(reference);
            if !keep {
                entry.watch.abort();
            }
            keep
        });
        for reference in wanted {
            if !known.contains_key(reference) {
                let watch = tokio::spawn(self.clone().follow(reference.clone()));
                known.insert(reference.clone(), Entry { known: Known::Pending, watch });
            }
        }
    }

    /// What is known of one.
    #[must_use]
    pub fn known(&self, reference: &Reference) -> Known {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(reference).map(|entry| entry.known.clone()).unwrap_or_default()
    }

    /// Returns when anything has moved since the last call. For one waiter.
    pub async fn moved(&self) {
        self.shared.moved.notified().await;
    }

    fn set(&self, reference: &Reference, now: Known) {
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.get_mut(reference) {
            entry.known = now;
        }
        drop(known);
        self.shared.moved.notify_one();
    }

    async fn follow(self, reference: Reference) {
        match reference.kind {
            Kind::Secret => {
                let content = |secret: Secret| {
                    let data = secret.data.unwrap_or_default();
                    data.into_iter().map(|(key, value)| (key, Zeroizing::new(value.0))).collect()
                };
                self.watch(&reference, content).await;
            }
            Kind::ConfigMap => {
                let content = |map: ConfigMap| {
                    let data = map.data.unwrap_or_default();
                    data.into_iter().map(|(key, value)| (key, Zeroizing::new(value.into_bytes()))).collect()
                };
                self.watch(&reference, content).await;
            }
        }
    }

    async fn watch<K>(
        &self,
        reference: &Reference,
        content: impl Fn(K) -> BTreeMap<String, Zeroizing<Vec<u8>>>,
    ) where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &reference.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", reference.name));
        loop {
            let mut events = watcher(api.clone(), config.clone()).default_backoff().boxed();
            let mut found = false;
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => {
                        found = true;
                        self.set(reference, Known::Present(Arc::new(content(object))));
                    }
                    Ok(Event::Init) => found = false,
                    Ok(Event::InitDone) if found => {}
                    Ok(Event::Delete(_) | Event::InitDone) => self.set(reference, Known::Missing),
                    Err(error) => {
                        if is_forbidden(&error) {
                            self.set(reference, Known::Forbidden);
                            break;
                        }
                        tracing::debug!(error = %error, name = reference.name, "a watch is tried again");
                    }
                }
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    };
    status == Some(403)
}
