//! A namespace for one test.

use std::{
    fmt::Debug,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result, anyhow, bail};
use futures_util::FutureExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, Config, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    dump,
    exec::{self, Output},
};

/// Set to keep namespaces of failed tests.
const KEEP: &str = "CHAPERONE_E2E_KEEP";
const MANAGER: &str = "chaperone-e2e";
/// Kubernetes allows 63 characters and adds five of its own.
const NAME_LIMIT: usize = 50;

/// A namespace of one test's own.
#[derive(Clone)]
pub struct Space {
    /// Its name.
    pub name: String,
    /// The API server.
    pub client: Client,
    /// What belongs to the test and to no namespace.
    cluster: Arc<Mutex<Vec<(ApiResource, String)>>>,
}

impl Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Runs a test in a new namespace whose pods are injected. On failure what is in it is part of the error.
///
/// # Errors
/// When the test fails, or panics.
pub async fn with_namespace(test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    with_labels(json!({"chaperone.dev/injection": "enabled"}), test).await
}

/// The same with labels of the caller's on the namespace.
///
/// # Errors
/// When the test fails, or panics.
pub async fn with_labels(labels: Value, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let client = client().await?;
    let namespace: Namespace = serde_json::from_value(json!({
        "metadata": {"generateName": format!("{}-", prefix()), "labels": labels},
    }))?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let created = Box::pin(namespaces.create(&PostParams::default(), &namespace)).await?;
    let name = created.metadata.name.context("a namespace without a name")?;
    Box::pin(run(Space { name, client, cluster: Arc::default() }, test)).await
}

/// The same, but the test itself creates the namespace, by the name that it is given.
///
/// # Errors
/// When the test fails, or panics.
pub async fn with_own_namespace(test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let mark = Uuid::new_v4().simple().to_string();
    let name = format!("{}-{}", prefix(), mark.chars().take(5).collect::<String>());
    let client = client().await?;
    Box::pin(run(Space { name, client, cluster: Arc::default() }, test)).await
}

async fn client() -> Result<Client> {
    // Fails only when it was chosen before.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Client::try_default().await.context("the tests need a KUBECONFIG")
}

async fn run(space: Space, test: impl AsyncFnOnce(&Space) -> Result<()>) -> Result<()> {
    let outcome = AssertUnwindSafe(Box::pin(test(&space))).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|panic| Err(anyhow!("panicked: {}", said(&*panic))));
    let outcome = match outcome {
        Ok(()) => Ok(()),
        Err(error) => Err(anyhow!("{error:?}\n\n{}", dump::dump(&space.client, &space.name).await)),
    };
    if outcome.is_ok() || std::env::var_os(KEEP).is_none() {
        space.delete().await?;
    }
    outcome
}

/// The test's name, as far as it fits into a namespace's.
fn prefix() -> String {
    let thread = std::thread::current();
    let test = thread.name().and_then(|name| name.rsplit("::").next()).unwrap_or("test").replace('_', "-");
    let prefix: String = test.chars().take(NAME_LIMIT).collect();
    prefix.trim_end_matches('-').to_owned()
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

impl Space {
    /// Objects of a kind in this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// One object.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn get<K>(&self, name: &str) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        Box::pin(self.api::<K>().get(name)).await.with_context(|| format!("reading `{name}`"))
    }

    /// Applies an object as it is written in a file.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, object: Value) -> Result<DynamicObject> {
        let (resource, name) = identify(&object)?;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.name, &resource);
        let params = PatchParams::apply(MANAGER).force();
        let applied = Box::pin(api.patch(&name, &params, &Patch::Apply(&object))).await;
        applied.with_context(|| format!("applying {} `{name}`", resource.kind))
    }

    /// Applies several objects, one after the other.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn apply_all(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        for object in objects {
            self.apply(object).await?;
        }
        Ok(())
    }

    /// Applies an object that belongs to no namespace. It is deleted with this one.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply_cluster(&self, object: Value) -> Result<()> {
        let (resource, name) = identify(&object)?;
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let params = PatchParams::apply(MANAGER).force();
        Box::pin(api.patch(&name, &params, &Patch::Apply(&object))).await?;
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).push((resource, name));
        Ok(())
    }

    /// Has an object that belongs to no namespace deleted with this one, whoever makes it.
    pub fn own_cluster(&self, version: &str, kind: &str, name: &str) {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner).push((resource, name.to_owned()));
    }

    /// Why the API server does not take an object.
    ///
    /// # Errors
    /// When it takes it.
    pub async fn refusal(&self, object: Value) -> Result<String> {
        let described = object.to_string();
        match self.apply(object).await {
            Ok(_) => bail!("this should have been refused: {described}"),
            Err(error) => match error.downcast_ref::<kube::Error>() {
                Some(kube::Error::Api(status)) => Ok(status.message.clone()),
                _ => Err(error),
            },
        }
    }

    /// The same namespace, as another user sees it.
    ///
    /// # Errors
    /// When there is no KUBECONFIG.
    pub async fn seen_by(&self, user: &str) -> Result<Self> {
        let mut config = Config::infer().await?;
        config.auth_info.impersonate = Some(user.to_owned());
        let client = Client::try_from(config)?;
        Ok(Self { client, ..self.clone() })
    }

    /// Another namespace of the same test, by its name. The test itself cares for it.
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Deletes an object, and does not wait for its end.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn remove<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        Box::pin(self.api::<K>().delete(name, &DeleteParams::default())).await?;
        Ok(())
    }

    /// Runs a command in a container of a pod.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn exec(&self, pod: &str, container: &str, command: &[&str]) -> Result<Output> {
        Box::pin(exec::run(&self.api::<Pod>(), pod, container, command)).await
    }

    /// Begins to delete the namespace. What is in it ends while other tests run.
    async fn delete(&self) -> Result<()> {
        let others = std::mem::take(&mut *self.cluster.lock().unwrap_or_else(PoisonError::into_inner));
        for (resource, name) in others {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            gone(api.delete(&name, &DeleteParams::background()).await)?;
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        gone(namespaces.delete(&self.name, &DeleteParams::background()).await)
    }
}

/// What a test did not come to create needs no deletion.
fn gone<T>(deleted: kube::Result<T>) -> Result<()> {
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Kind and name of an object.
pub(crate) fn identify(object: &Value) -> Result<(ApiResource, String)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (version, kind) = (text("/apiVersion").context("no apiVersion")?, text("/kind").context("no kind")?);
    let name = text("/metadata/name").context("no metadata.name")?;
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    Ok((ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind)), name))
}
