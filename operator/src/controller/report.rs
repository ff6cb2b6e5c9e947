//! Status and events: what is true, and no more often than it changes.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use api::{
    AccessPolicySpec, AccessPolicyStatus, ConnectionStatus, FieldError,
    condition::{self, ACCEPTED, PROGRAMMED, READY, RESOLVED_REFS, Say},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter as By},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::time::Instant;
use tracing::warn;

use super::{
    Operator,
    compile::Resolved,
    fetch::{AccessPolicy, Connection, World},
};
use crate::distribute::{Distributor, Key, Programmed, Progress};

/// Who owns status fields.
const MANAGER: &str = "chaperone-operator";
/// Counts alone are written this often.
const COUNTS: Duration = Duration::from_secs(5);

/// Writes status and events.
pub(super) struct Reporter {
    client: Client,
    events: Recorder,
    written: BTreeMap<Key, Instant>,
}

impl Reporter {
    pub(super) fn new(client: Client, operator: Operator) -> Self {
        let by = By { controller: "chaperone.dev/operator".to_owned(), instance: Some(operator.instance) };
        Self { events: Recorder::new(client.clone(), by), client, written: BTreeMap::new() }
    }

    /// Writes what is new.
    pub(super) async fn report(
        &mut self,
        world: &World,
        resolved: &BTreeMap<String, Resolved>,
        distributor: &Distributor,
    ) {
        for connection in &world.connections {
            let key = Key::Connection(connection.key());
            let progress = distributor.progress(&key);
            if let Some(resolved) = resolved.get(&connection.key()) {
                let old = connection.status.clone().unwrap_or_default();
                let new = connection_status(connection, resolved, &progress, &old);
                let (before, after) = (old.conditions.clone(), new.conditions.clone());
                self.write(key, &**connection, (&old, &new), (&before, &after)).await;
            }
        }
        for policy in &world.policies {
            let key = Key::AccessPolicy(policy.key());
            let progress = distributor.progress(&key);
            let old = policy.status.clone().unwrap_or_default();
            let new = policy_status(policy, world, &progress, &old);
            let (before, after) = (old.conditions.clone(), new.conditions.clone());
            self.write(key, &**policy, (&old, &new), (&before, &after)).await;
        }
        self.written.retain(|key, _| known(world, key));
    }

    async fn write<K, S>(
        &mut self,
        key: Key,
        object: &K,
        (old, new): (&S, &S),
        (before, after): (&[Condition], &[Condition]),
    ) where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
        S: Serialize + PartialEq,
    {
        if old == new {
            return;
        }
        let only_counts = before == after;
        let recently = self.written.get(&key).is_some_and(|at| at.elapsed() < COUNTS);
        if only_counts && recently {
            return;
        }
        self.written.insert(key, Instant::now());
        let api: Api<K> = Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default());
        let patch = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "status": new});
        let params = PatchParams::apply(MANAGER).force();
        let patched = api.patch_status(&object.name_any(), &params, &Patch::Apply(patch)).await;
        match patched {
            Ok(_) => {}
            // It was deleted meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => return,
            Err(error) => return warn!(error = %error, name = object.name_any(), "status cannot be written"),
        }
        self.tell(object, before, after).await;
    }

    /// An event when Ready becomes another one.
    async fn tell<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        before: &[Condition],
        after: &[Condition],
    ) {
        let ready = |all: &[Condition]| all.iter().find(|c| c.type_ == READY).cloned();
        let (old, Some(new)) = (ready(before), ready(after)) else { return };
        if old.is_some_and(|old| old.status == new.status && old.reason == new.reason) {
            return;
        }
        let type_ = if new.status == "True" { EventType::Normal } else { EventType::Warning };
        let event = Event {
            type_,
            reason: new.reason,
            note: Some(new.message.chars().take(1000).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.events.publish(&event, &object.object_ref(&())).await {
            warn!(error = %error, "an event cannot be written");
        }
    }
}

fn known(world: &World, key: &Key) -> bool {
    match key {
        Key::Connection(name) => world.connections.iter().any(|connection| connection.key() == *name),
        Key::AccessPolicy(name) => world.policies.iter().any(|policy| policy.key() == *name),
    }
}

/// Conditions for one generation, `Ready` last.
fn conditions(old: &[Condition], generation: i64, says: [Say; 3]) -> Vec<Condition> {
    let mut conditions = old.to_vec();
    for say in says {
        condition::set(&mut conditions, say, generation, Time(Timestamp::now()));
    }
    let ready = condition::ready(&conditions);
    condition::set(&mut conditions, ready, generation, Time(Timestamp::now()));
    conditions
}

fn accepted(errors: &[FieldError]) -> Say {
    match errors {
        [] => Say::yes(ACCEPTED, "Valid", "the spec makes sense"),
        errors => {
            let reason = if errors.iter().any(|error| error.unknown) { "UnknownField" } else { "Invalid" };
            let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Say::no(ACCEPTED, reason, messages.join("; "))
        }
    }
}

fn programmed(progress: &Progress) -> Say {
    if let Some(problem) = &progress.problem {
        return Say::no(PROGRAMMED, "PodsPending", format!("{problem}; the old document stays there"));
    }
    match progress.programmed {
        Programmed::Done => Say::yes(PROGRAMMED, "Programmed", "live in every pod that was Ready"),
        Programmed::NoPods => Say::yes(PROGRAMMED, "NoPods", "it concerns no pod yet"),
        Programmed::Waiting(count) => {
            Say::no(PROGRAMMED, "PodsPending", format!("{count} pods have not acknowledged it yet"))
        }
        Programmed::Stale => {
            let message = format!("{} pods have been silent for a minute", progress.stale);
            Say::no(PROGRAMMED, "PodsStale", message)
        }
    }
}

fn count(number: u32) -> Option<i32> {
    Some(i32::try_from(number).unwrap_or(i32::MAX))
}

fn connection_status(
    connection: &Connection,
    resolved: &Resolved,
    progress: &Progress,
    old: &ConnectionStatus,
) -> ConnectionStatus {
    let generation = connection.metadata.generation.unwrap_or_default();
    let errors = match &connection.spec {
        Ok(spec) => compile::validate::connection(spec),
        Err(error) => vec![error.clone()],
    };
    let says = [accepted(&errors), resolved.references.clone(), programmed(progress)];
    ConnectionStatus {
        observed_generation: Some(generation),
        conditions: conditions(&old.conditions, generation, says),
        address: resolved.address.map(|address| address.to_string()),
        pods: count(progress.pods),
    }
}

fn policy_status(
    policy: &AccessPolicy,
    world: &World,
    progress: &Progress,
    old: &AccessPolicyStatus,
) -> AccessPolicyStatus {
    let generation = policy.metadata.generation.unwrap_or_default();
    let (errors, references) = match &policy.spec {
        Ok(spec) => (compile::validate::policy(spec), policy_references(policy, spec, world)),
        Err(error) => (
            vec![error.clone()],
            Say::no(RESOLVED_REFS, "Invalid", "the spec cannot be read; it denies everything"),
        ),
    };
    let says = [accepted(&errors), references, programmed(progress)];
    AccessPolicyStatus {
        observed_generation: Some(generation),
        conditions: conditions(&old.conditions, generation, says),
        pods: count(progress.pods),
        pods_on_generation: count(progress.on_generation),
        pods_stale: count(progress.stale),
    }
}

fn policy_references(policy: &AccessPolicy, spec: &AccessPolicySpec, world: &World) -> Say {
    let own = policy.metadata.namespace.clone().unwrap_or_default();
    let named = spec.connections.names.iter().flatten();
    for name in named {
        let key = format!("{own}/{name}");
        let Some(connection) = world.connections.iter().find(|connection| connection.key() == key) else {
            let message = format!("there is no Connection `{name}` in namespace `{own}`");
            return Say::no(RESOLVED_REFS, "ConnectionNotFound", message);
        };
        let Ok(connection) = &connection.spec else { continue };
        let allowed = connection.allowed_namespaces.as_ref().map(|allowed| allowed.names.as_slice());
        let foreign = spec.subjects.iter().flat_map(|subject| subject.namespaces.iter().flatten());
        if let Some(foreign) =
            foreign.filter(|n| **n != own).find(|n| !allowed.unwrap_or_default().contains(n))
        {
            let message = format!(
                "Connection `{name}` does not allow namespace `{foreign}`; add it to its `allowedNamespaces.names`"
            );
            return Say::no(RESOLVED_REFS, "NamespaceNotAllowed", message);
        }
    }
    Say::yes(RESOLVED_REFS, "Resolved", "everything it names was found")
}
