//! Injection: pure, from a pod and what it depends on to a patch.
//!
//! The same pod gives the same patch, and an injected pod fed in again gives none: reinvocation,
//! copies of pods and restored backups come out right, because whatever is ours is taken away first
//! and made anew.

use std::collections::BTreeMap;

use json_patch::Patch;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    settings::{ADMITTED_LABELS, CONNECTIONS, INJECTED, Injection, Refusal, SIDECAR, UIDS, VERSION},
    wanted::Wanted,
};
use agent::Agent;
use containers::Parts;
use edit::{list, object, root, unreadable};
use knobs::Knobs;

pub(crate) mod agent;
pub(crate) mod containers;
mod defaults;
mod edit;
mod harden;
pub(crate) mod knobs;
pub(crate) mod reserved;
pub(crate) mod rules;

/// What injection does to a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Injected {
    /// Turns the pod into the one to admit; empty if nothing is to change.
    pub patch: Patch,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Injects a sidecar where namespace and pod ask for one; elsewhere only removes what is ours.
pub fn inject(pod: &Value, injection: &Injection<'_>) -> Result<Injected, Refusal> {
    let mut edited = pod.clone();
    edit::strip(&mut edited);
    let agents = read(&edited)?;
    let wanted = Wanted::by(injection.namespace, &agents.metadata)?;
    let warnings = match wanted {
        Wanted::No => Vec::new(),
        Wanted::Required | Wanted::Enabled => build(&mut edited, &agents, &read(pod)?, (wanted, injection))?,
    };
    Ok(Injected { patch: edit::difference(pod, &edited), warnings })
}

/// The labels that policies match: those at admission, without our own.
pub(crate) fn admitted_labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let theirs = labels.into_iter().flatten().filter(|(key, _)| !key.starts_with("chaperone.dev/"));
    json!(theirs.collect::<BTreeMap<_, _>>()).to_string()
}

pub(crate) fn read(pod: &Value) -> Result<Pod, Refusal> {
    Pod::deserialize(pod).map_err(|error| {
        Refusal::new(format!("the pod cannot be read: {error}"), "send it as the Kubernetes API defines it")
    })
}

fn build(
    edited: &mut Value,
    agents: &Pod,
    original: &Pod,
    (wanted, injection): (Wanted, &Injection<'_>),
) -> Result<Vec<String>, Refusal> {
    let settings = injection.settings;
    let spec = agents.spec.as_ref().ok_or_else(|| unreadable("spec"))?;
    rules::check(agents, spec, injection.namespace, &settings.ports).map_err(|refusal| match wanted {
        Wanted::Enabled => {
            refusal.or("leave the sidecar out with the annotation `chaperone.dev/inject: \"false\"`")
        }
        Wanted::Required | Wanted::No => refusal,
    })?;
    let knobs = Knobs::read(agents.metadata.annotations.as_ref())?;
    let uid = sidecar_uid(spec, original.spec.as_ref(), injection.sidecar_uid);
    let parts = Parts { settings, roots: injection.roots, uid, knobs: &knobs };
    let pod = root(edited)?;
    mark(pod, agents, &settings.version)?;
    let spec = object(pod, "spec")?;
    let warnings = harden_all(spec, injection)?;
    let ours = [containers::fence(parts), containers::sidecar(parts)]
        .map(|container| json!(defaults::kept(container, original.spec.as_ref())));
    list(spec, "initContainers")?.splice(0..0, ours);
    list(spec, "volumes")?.extend(containers::volumes(settings).into_iter().map(|volume| json!(volume)));
    Ok(warnings)
}

fn harden_all(spec: &mut edit::Object, injection: &Injection<'_>) -> Result<Vec<String>, Refusal> {
    let mut warnings = Vec::new();
    for key in ["initContainers", "containers"] {
        for container in list(spec, key)? {
            warnings.extend(harden::harden(container, injection.environment)?);
        }
    }
    Ok(warnings)
}

fn mark(pod: &mut edit::Object, agents: &Pod, version: &str) -> Result<(), Refusal> {
    let metadata = object(pod, "metadata")?;
    object(metadata, "labels")?.insert(INJECTED.to_owned(), json!("true"));
    let annotations = object(metadata, "annotations")?;
    annotations.insert(VERSION.to_owned(), json!(version));
    annotations.insert(ADMITTED_LABELS.to_owned(), json!(admitted_labels(agents.metadata.labels.as_ref())));
    Ok(())
}

/// Keeps the UID of an earlier admission only while every other container's UID is known to differ:
/// a pod could otherwise name in advance the UID that its own image runs as.
fn sidecar_uid(agents: &PodSpec, original: Option<&PodSpec>, drawn: i64) -> i64 {
    let used: Vec<Option<i64>> = Agent::all(agents).map(|agent| agent.uid(agents)).collect();
    let mut inits = original.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let earlier = inits.find(|container| container.name == SIDECAR);
    let earlier = earlier.and_then(|container| container.security_context.as_ref()?.run_as_user);
    match earlier {
        Some(uid) if UIDS.contains(&uid) && used.iter().all(|used| used.is_some_and(|used| used != uid)) => {
            uid
        }
        Some(_) | None => {
            let mut others = (drawn..UIDS.end).chain(UIDS);
            others.find(|uid| !used.contains(&Some(*uid))).unwrap_or(drawn)
        }
    }
}
