//! The final pod: fence first, sidecar second, both as injected, nothing else that defeats them.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};
use serde_json::Value;

use super::ours::{compare, compare_volume};
use crate::webhook::{
    inject::{
        admitted_labels,
        agent::Agent,
        containers::{self, Parts, ROOT_VARIABLE},
        knobs::Knobs,
        read, reserved, rules,
    },
    settings::{
        ADMITTED_LABELS, CHAIN, FENCE, INJECTED, Namespace, Refusal, SIDECAR, Settings, UIDS, VERSION,
    },
    wanted::Wanted,
};

/// What a pod is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Expectation<'a> {
    /// What every injected pod gets.
    pub settings: &'a Settings,
    /// The roots by which the sidecar knows the operator, as PEM.
    pub roots: &'a str,
    /// The pod's namespace.
    pub namespace: &'a Namespace,
}

/// Checks a pod that is created. Gives the part of an injected one that is the agent's.
///
/// # Errors
/// When it is not to be admitted.
pub fn created(pod: &Value, expectation: Expectation<'_>) -> Result<Option<PodSpec>, Refusal> {
    let pod = read(pod)?;
    match Wanted::by(expectation.namespace, &pod.metadata)? {
        Wanted::No => unclaimed(&pod).map(|()| None),
        Wanted::Required | Wanted::Enabled => injected(pod, expectation).map(Some),
    }
}

/// The roots by which an injected pod's sidecar knows the operator.
pub fn operator_roots(pod: &Value) -> Option<&str> {
    let inits = pod.pointer("/spec/initContainers")?.as_array()?;
    let sidecar = inits.iter().find(|container| container.get("name") == Some(&SIDECAR.into()))?;
    let environment = sidecar.get("env")?.as_array()?;
    let root = environment.iter().find(|entry| entry.get("name") == Some(&ROOT_VARIABLE.into()))?;
    root.get("value")?.as_str()
}

/// Checks a change of a pod: what injection wrote stays.
pub fn updated(old: &Value, new: &Value, namespace: &Namespace, settings: &Settings) -> Result<(), Refusal> {
    let (old, new) = (read(old)?, read(new)?);
    if !is_injected(&old) {
        return unclaimed(&new);
    }
    for key in [INJECTED, VERSION, CHAIN, ADMITTED_LABELS] {
        if output(&old, key) != output(&new, key) {
            return Err(Refusal::new(format!("`{key}` is written by Chaperone alone"), "leave it as it is"));
        }
    }
    let (Some(old), Some(new)) = (old.spec.as_ref(), new.spec.as_ref()) else {
        return Err(Refusal::new("the pod has no spec", "send one"));
    };
    if ours(old) != ours(new) {
        return Err(Refusal::new(
            "fence or sidecar changes",
            "create the pod again: it gets the current ones",
        ));
    }
    let known: Vec<&str> =
        old.ephemeral_containers.iter().flatten().map(|debug| debug.name.as_str()).collect();
    let mut added =
        new.ephemeral_containers.iter().flatten().filter(|debug| !known.contains(&debug.name.as_str()));
    added.try_for_each(|debug| check_debug(debug, new, namespace, settings))
}

/// Checks somebody's connecting to a pod by `exec`, `attach` or `portforward`.
pub fn connected(subresource: &str, options: &Value, namespace: &Namespace) -> Result<(), Refusal> {
    let container = options.get("container").and_then(Value::as_str).unwrap_or_default();
    if reserved::is_reserved(container) {
        return Err(Refusal::new(
            format!("`{subresource}` into `{container}` is not possible"),
            "choose a container of the agent's with `-c`",
        ));
    }
    if subresource == "portforward" && Wanted::by(namespace, &Default::default())? == Wanted::Required {
        return Err(Refusal::new(
            format!(
                "the namespace `{}` does not allow port-forward: it would speak as the pod",
                namespace.name
            ),
            "reach the agent by a Service",
        ));
    }
    Ok(())
}

/// Whether a pod has a sidecar of ours.
fn is_injected(pod: &Pod) -> bool {
    let first = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref()?.first());
    output(pod, INJECTED).is_some() || first.is_some_and(|container| container.name == FENCE)
}

/// A pod without a sidecar must not pass for one that has it.
fn unclaimed(pod: &Pod) -> Result<(), Refusal> {
    const INSTEAD: &str =
        "remove it, or ask for a sidecar with the annotation `chaperone.dev/inject: \"true\"`";
    let claimed =
        [INJECTED, VERSION, CHAIN, ADMITTED_LABELS].into_iter().find(|key| output(pod, key).is_some());
    if let Some(key) = claimed {
        let what = format!("`{key}` is written by Chaperone alone, and this pod has no sidecar");
        return Err(Refusal::new(what, INSTEAD));
    }
    let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    match volumes.find(|volume| rules::asks_for_token(volume)) {
        Some(volume) => {
            let what = format!("the volume `{}` asks for a token that only a sidecar may have", volume.name);
            Err(Refusal::new(what, INSTEAD))
        }
        None => Ok(()),
    }
}

/// The one label and the annotations that only we write.
fn output<'p>(pod: &'p Pod, key: &str) -> Option<&'p String> {
    let map = if key == INJECTED { &pod.metadata.labels } else { &pod.metadata.annotations };
    map.as_ref()?.get(key)
}

fn injected(mut pod: Pod, expectation: Expectation<'_>) -> Result<PodSpec, Refusal> {
    let mut spec = pod.spec.take().ok_or_else(|| Refusal::new("the pod has no spec", "send one"))?;
    let inits = spec.init_containers.take().unwrap_or_default();
    let [fence, sidecar, others @ ..] = inits.as_slice() else { return Err(missing()) };
    if fence.name != FENCE || sidecar.name != SIDECAR {
        return Err(missing());
    }
    let uid = check_ours(fence, sidecar, &pod, expectation)?;
    check_volumes(&mut spec, expectation.settings)?;
    check_marks(&pod)?;
    spec.init_containers = Some(others.to_vec());
    rules::check(&pod, &spec, expectation.namespace, &expectation.settings.ports)?;
    for agent in Agent::all(&spec) {
        agent.check_uid(&spec, uid)?;
        agent.check_hardened()?;
    }
    Ok(spec)
}

fn check_ours(
    fence: &Container,
    sidecar: &Container,
    pod: &Pod,
    expectation: Expectation<'_>,
) -> Result<i64, Refusal> {
    let Expectation { settings, roots, namespace: _ } = expectation;
    let uid = sidecar.security_context.as_ref().and_then(|security| security.run_as_user);
    let uid = uid.filter(|uid| UIDS.contains(uid)).ok_or_else(|| {
        Refusal::new("the sidecar does not run as a UID of its own", "create the pod again: it gets one")
    })?;
    let knobs = Knobs::read(pod.metadata.annotations.as_ref())?;
    let parts = Parts { settings, roots, uid, knobs: &knobs };
    let same_version = output(pod, VERSION) == Some(&settings.version);
    compare(fence, &containers::fence(parts), same_version)?;
    compare(sidecar, &containers::sidecar(parts), same_version)?;
    Ok(uid)
}

/// Takes our volumes away, so that what is left can be checked as the agent's.
fn check_volumes(spec: &mut PodSpec, settings: &Settings) -> Result<(), Refusal> {
    let (ours, theirs) = spec
        .volumes
        .take()
        .unwrap_or_default()
        .into_iter()
        .partition(|volume| reserved::is_our_volume(&volume.name));
    spec.volumes = Some(theirs);
    let ours: Vec<_> = ours;
    for expected in containers::volumes(settings) {
        let found = ours.iter().find(|volume| volume.name == expected.name).ok_or_else(missing)?;
        compare_volume(found, &expected)?;
    }
    Ok(())
}

fn check_marks(pod: &Pod) -> Result<(), Refusal> {
    if output(pod, INJECTED).map(String::as_str) != Some("true") || output(pod, VERSION).is_none() {
        return Err(missing());
    }
    match output(pod, ADMITTED_LABELS) == Some(&admitted_labels(pod.metadata.labels.as_ref())) {
        true => Ok(()),
        false => Err(Refusal::new(
            "the pod's labels changed after injection, and policies match them",
            "let the other admission webhook run first, or give it `reinvocationPolicy: IfNeeded`",
        )),
    }
}

fn check_debug(
    debug: &EphemeralContainer,
    spec: &PodSpec,
    namespace: &Namespace,
    settings: &Settings,
) -> Result<(), Refusal> {
    if Wanted::by(namespace, &Default::default())? == Wanted::Required {
        return Err(Refusal::new(
            format!(
                "the namespace `{}` does not allow ephemeral containers next to a sidecar",
                namespace.name
            ),
            "debug a copy of the pod with `kubectl debug --copy-to`",
        ));
    }
    if debug.target_container_name.as_deref().is_some_and(reserved::is_reserved) {
        return Err(Refusal::new(
            "an ephemeral container may not share the sidecar's processes",
            "choose another --target",
        ));
    }
    let agent = Agent::ephemeral(debug);
    agent.check(&settings.ports)?;
    agent.check_hardened().map_err(|refusal| refusal.or("use `kubectl debug --profile=restricted`"))?;
    let sidecar = spec.init_containers.iter().flatten().find(|container| container.name == SIDECAR);
    let uid = sidecar.and_then(|container| container.security_context.as_ref()?.run_as_user);
    uid.map_or(Ok(()), |uid| agent.check_uid(spec, uid))
}

/// Fence and sidecar, whole: images and resources are what Kubernetes lets be changed of a living pod.
fn ours(spec: &PodSpec) -> Vec<&Container> {
    let inits = spec.init_containers.iter().flatten();
    inits.filter(|container| reserved::is_our_container(&container.name)).collect()
}

fn missing() -> Refusal {
    Refusal::new(
        "the pod has no fence and sidecar as its first two init containers",
        "see that no other admission webhook moves or removes them, and create the pod again",
    )
}
