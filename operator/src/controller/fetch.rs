//! What is in the cluster: watched, and taken as one picture for each pass.

use std::{collections::BTreeSet, fmt::Debug, net::Ipv4Addr, sync::Arc};

use api::{
    AccessPolicySpec, AccessPolicyStatus, ConnectionSpec, ConnectionStatus, Lenient,
    v1alpha1::{CaBundle, KeyRef, SecretCredential},
};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::JoinSet};

use super::pods;
use crate::{
    distribute::PodFacts,
    references::{Kind, Reference},
    webhook::settings::INJECTED,
};

/// A Connection as it is in the cluster, readable or not.
pub(super) type Connection = Lenient<ConnectionSpec, ConnectionStatus>;
/// An AccessPolicy as it is in the cluster, readable or not.
pub(super) type AccessPolicy = Lenient<AccessPolicySpec, AccessPolicyStatus>;

/// Watches that end when this is dropped.
pub(super) struct Watched {
    connections: Store<Connection>,
    policies: Store<AccessPolicy>,
    pods: Store<Pod>,
    moved: Arc<Notify>,
    _watches: JoinSet<()>,
}

/// Everything at one moment.
#[derive(Debug)]
pub(super) struct World {
    pub(super) connections: Vec<Arc<Connection>>,
    pub(super) policies: Vec<Arc<AccessPolicy>>,
    pub(super) pods: Vec<PodFacts>,
}

impl Watched {
    pub(super) fn start(client: Client) -> Self {
        let moved = Arc::new(Notify::new());
        let mut watches = JoinSet::new();
        let all = watcher::Config::default();
        let connections = watch(Api::all(client.clone()), all.clone(), &moved, &mut watches);
        let policies = watch(Api::all(client.clone()), all.clone(), &moved, &mut watches);
        let injected = all.labels(&format!("{INJECTED}=true"));
        let pods = watch(Api::all(client), injected, &moved, &mut watches);
        Self { connections, policies, pods, moved, _watches: watches }
    }

    /// Returns once everything that is there has been seen.
    pub(super) async fn ready(&self) {
        // A store's writer lives as long as its watch, which lives as long as this.
        drop(tokio::join!(
            self.connections.wait_until_ready(),
            self.policies.wait_until_ready(),
            self.pods.wait_until_ready()
        ));
    }

    /// Returns when anything has moved since the last call. For one waiter.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }

    pub(super) fn world(&self) -> World {
        let mut connections = self.connections.state();
        connections.sort_by_key(|connection| connection.key());
        let mut policies = self.policies.state();
        policies.sort_by_key(|policy| policy.key());
        let pods = self.pods.state().iter().filter_map(|pod| pods::facts(pod)).collect();
        World { connections, policies, pods }
    }
}

fn watch<K>(api: Api<K>, config: watcher::Config, moved: &Arc<Notify>, watches: &mut JoinSet<()>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(api, config).default_backoff().reflect(writer);
    let moved = Arc::clone(moved);
    watches.spawn(async move {
        let mut events = events.boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => moved.notify_one(),
                Err(error) => {
                    tracing::warn!(error = %error, kind = %K::kind(&()), "a watch broke; it is tried again")
                }
            }
        }
    });
    store
}

impl World {
    /// A Connection by namespace and name.
    pub(super) fn connection(&self, namespace: &str, name: &str) -> Option<&Connection> {
        let wanted = (Some(namespace), Some(name));
        let found = self.connections.iter().find(|connection| {
            (connection.metadata.namespace.as_deref(), connection.metadata.name.as_deref()) == wanted
        });
        found.map(|connection| &**connection)
    }

    /// The host of each Connection with the address that its status says, oldest first.
    pub(super) fn hosts(&self) -> Vec<(String, Option<Ipv4Addr>)> {
        let mut by_age: Vec<_> = self.connections.iter().collect();
        by_age.sort_by_key(|connection| connection.metadata.creation_timestamp.clone().map(|time| time.0));
        let host = |connection: &&Arc<Connection>| {
            let host =
                connection.spec.as_ref().ok()?.upstream.host.trim_end_matches('.').to_ascii_lowercase();
            // An address needs no other one.
            if host.parse::<std::net::IpAddr>().is_ok() {
                return None;
            }
            let address = connection.status.as_ref().and_then(|status| status.address.as_ref()?.parse().ok());
            Some((host, address))
        };
        by_age.iter().filter_map(host).collect()
    }

    /// Everything that Connections refer to.
    pub(super) fn references(&self) -> BTreeSet<Reference> {
        let mut found = BTreeSet::new();
        for connection in &self.connections {
            let Ok(spec) = &connection.spec else { continue };
            found.extend(secret(connection, spec).map(|(reference, _)| reference));
            found.extend(ca_bundle(connection, spec).map(|(reference, _)| reference));
        }
        found
    }
}

fn namespace(connection: &Connection) -> String {
    connection.metadata.namespace.clone().unwrap_or_default()
}

/// The Secret with a Connection's credential, if it has one, and what to take from it.
pub(super) fn secret<'s>(
    connection: &Connection,
    spec: &'s ConnectionSpec,
) -> Option<(Reference, &'s SecretCredential)> {
    let keys = spec.credential.secret_ref.as_ref()?;
    let reference =
        Reference { kind: Kind::Secret, namespace: namespace(connection), name: keys.name.clone() };
    Some((reference, keys))
}

/// Where a Connection's CA bundle is, and under which key.
pub(super) fn ca_bundle(connection: &Connection, spec: &ConnectionSpec) -> Option<(Reference, String)> {
    let CaBundle { config_map_ref, secret_ref } = spec.upstream.tls.as_ref()?.ca_bundle.as_ref()?;
    let at = |kind, KeyRef { name, key }: &KeyRef| {
        (Reference { kind, namespace: namespace(connection), name: name.clone() }, key.clone())
    };
    let in_map = config_map_ref.as_ref().map(|reference| at(Kind::ConfigMap, reference));
    in_map.or_else(|| secret_ref.as_ref().map(|reference| at(Kind::Secret, reference)))
}
