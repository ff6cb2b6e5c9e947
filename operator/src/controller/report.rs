//! Status and Events: what is true, and no more often than it changes. Beside the passes, so that a slow API
//! server holds no document up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use k8s_openapi::{
    api::core::v1::ObjectReference,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
    runtime::events::{Event, Recorder, Reporter as By},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, interval, sleep, timeout},
};
use tracing::warn;

use super::{
    Operator, conditions, events,
    fetch::{AccessPolicy, Connection, World},
    resolve::Resolved,
};
use crate::{
    distribute::{Distributor, Key, Progress},
    metrics::Metrics,
};

/// Who owns status fields.
const MANAGER: &str = "chaperone-operator";
/// Counts alone are written this often.
const COUNTS: Duration = Duration::from_secs(5);
/// Time alone changes status: pods become stale.
const LOOK: Duration = Duration::from_secs(5);
/// Acknowledgements that come together are counted together.
const GATHER: Duration = Duration::from_millis(100);
/// Writes at once, and how long one may take.
const CONCURRENT: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);

/// What a pass saw and made of it.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) world: World,
    pub(super) resolved: BTreeMap<String, Resolved>,
    pub(super) conflicts: BTreeMap<String, String>,
}

/// Writes status and Events.
pub(super) struct Reporter {
    client: Client,
    events: Recorder,
    distributor: Distributor,
    metrics: Metrics,
    written: BTreeMap<Key, Written>,
}

/// What was written last, which the watch may not have shown yet.
struct Written {
    uid: Option<String>,
    at: Instant,
    status: Value,
}

/// A status to write, with the Events that go with it.
struct Due {
    key: Key,
    uid: Option<String>,
    object: ObjectReference,
    status: Value,
    events: Vec<Event>,
}

impl Reporter {
    pub(super) fn new(
        client: Client,
        operator: Operator,
        distributor: Distributor,
        metrics: Metrics,
    ) -> Self {
        let by = By { controller: "chaperone.dev/operator".to_owned(), instance: Some(operator.instance) };
        let events = Recorder::new(client.clone(), by);
        Self { client, events, distributor, metrics, written: BTreeMap::new() }
    }

    /// Reports the newest picture whenever something has moved, until it is dropped.
    pub(super) async fn run(mut self, mut pictures: watch::Receiver<Option<Arc<Picture>>>) {
        let (distributor, mut look) = (self.distributor.clone(), interval(LOOK));
        loop {
            let newest = pictures.borrow_and_update().clone();
            if let Some(picture) = newest {
                self.report(&picture).await;
            }
            tokio::select! {
                changed = pictures.changed() => if changed.is_err() { return },
                () = distributor.moved() => {}
                _ = look.tick() => {}
            }
            sleep(GATHER).await;
        }
    }

    async fn report(&mut self, picture: &Picture) {
        let progress = self.distributor.progress_of_all();
        let due = self.due(picture, &progress, &Time(Timestamp::now()));
        let this = &*self;
        let written: Vec<Option<Due>> =
            stream::iter(due).map(|due| this.write(due)).buffer_unordered(CONCURRENT).collect().await;
        for Due { key, uid, status, object: _, events: _ } in written.into_iter().flatten() {
            self.written.insert(key, Written { uid, at: Instant::now(), status });
        }
        self.written.retain(|key, _| progress.contains_key(key));
    }

    /// Everything that is to be written now.
    fn due(&self, picture: &Picture, progress: &BTreeMap<Key, Progress>, now: &Time) -> Vec<Due> {
        let Picture { world, resolved, conflicts } = picture;
        let of = |key: &Key| progress.get(key).cloned().unwrap_or_default();
        let connections = world.connections.iter().filter_map(|connection| {
            let name = connection.key();
            let key = Key::Connection(name.clone());
            let (progress, about) = (of(&key), (resolved.get(&name)?, conflicts.get(&name)));
            self.compare(key, &**connection, connection.status.as_ref(), |old| {
                let status = conditions::of_connection(connection, about, &progress, (old, now));
                (old.conditions.clone(), status.conditions.clone(), status)
            })
        });
        let policies = world.policies.iter().filter_map(|policy| {
            let key = Key::AccessPolicy(policy.key());
            let progress = of(&key);
            self.compare(key, &**policy, policy.status.as_ref(), |old| {
                let status = conditions::of_policy(policy, world, &progress, (old, now));
                (old.conditions.clone(), status.conditions.clone(), status)
            })
        });
        connections.chain(policies).collect()
    }

    /// What is to be written of one resource, if anything. `next` gives the conditions before and after, and the
    /// new status.
    fn compare<K, S>(
        &self,
        key: Key,
        object: &K,
        stored: Option<&S>,
        next: impl FnOnce(&S) -> (Vec<Condition>, Vec<Condition>, S),
    ) -> Option<Due>
    where
        K: Resource<DynamicType = ()>,
        S: Serialize + DeserializeOwned + Default + Clone,
    {
        let uid = object.meta().uid.clone();
        let written = self.written.get(&key).filter(|written| written.uid == uid);
        let old: Option<S> = written.and_then(|written| serde_json::from_value(written.status.clone()).ok());
        let old = old.or_else(|| stored.cloned()).unwrap_or_default();
        let (before, after, status) = next(&old);
        let status = serde_json::to_value(&status).ok()?;
        if stored.and_then(|stored| serde_json::to_value(stored).ok()).as_ref() == Some(&status) {
            return None;
        }
        let recently = written.is_some_and(|written| written.at.elapsed() < COUNTS);
        if recently && says_the_same(&before, &after) {
            return None;
        }
        let events = events::between(&before, &after);
        Some(Due { key, uid, object: object.object_ref(&()), status, events })
    }

    /// Writes one; given back when it was written.
    async fn write(&self, due: Due) -> Option<Due> {
        let written = match &due.key {
            Key::Connection(_) => timeout(PATIENCE, self.patch::<Connection>(&due)).await,
            Key::AccessPolicy(_) => timeout(PATIENCE, self.patch::<AccessPolicy>(&due)).await,
        };
        let name = due.object.name.as_deref().unwrap_or_default();
        match written {
            Ok(Ok(())) => self.metrics.status_written("written"),
            // It was deleted meanwhile.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => return None,
            Ok(Err(error)) => {
                self.metrics.status_written("failed");
                warn!(error = %error, name, "status cannot be written");
                return None;
            }
            Err(_) => {
                self.metrics.status_written("failed");
                warn!(name, "the API server took too long to write status");
                return None;
            }
        }
        for event in &due.events {
            match timeout(PATIENCE, self.events.publish(event, &due.object)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(error = %error, name, "an Event cannot be written"),
                Err(_) => warn!(name, "the API server took too long to write an Event"),
            }
        }
        Some(due)
    }

    async fn patch<K>(&self, due: &Due) -> Result<(), kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let namespace = due.object.namespace.as_deref().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": due.status});
        let params = PatchParams::apply(MANAGER).force();
        let name = due.object.name.as_deref().unwrap_or_default();
        api.patch_status(name, &params, &Patch::Apply(patch)).await.map(|patched| drop(patched.name_any()))
    }
}

/// Whether conditions differ in nothing but their texts, in which there are counts.
fn says_the_same(before: &[Condition], after: &[Condition]) -> bool {
    before.len() == after.len()
        && std::iter::zip(before, after).all(|(old, new)| {
            (&old.type_, &old.status, &old.reason, old.observed_generation)
                == (&new.type_, &new.status, &new.reason, new.observed_generation)
        })
}
