//! Whether fence and sidecar are still what injection made.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, HTTPGetAction, Probe, SecurityContext, Volume, VolumeMount,
};

use crate::webhook::settings::Refusal;

/// Other webhooks give every container credentials for clouds here; they do no harm.
const HARMLESS_MOUNTS: &str = "/var/run/secrets/";

/// Compares a container with the one to expect, in all that enforcement rests on.
pub(crate) fn compare(found: &Container, expected: &Container) -> Result<(), Refusal> {
    let differs = |what: &str| Err(refusal(&found.name, what));
    if repository(found.image.as_deref()) != repository(expected.image.as_deref()) {
        return differs("`image`");
    }
    if found.command.is_some() || found.args != expected.args {
        return differs("`command`");
    }
    if found.restart_policy != expected.restart_policy {
        return differs("`restartPolicy`");
    }
    if security(found.security_context.as_ref()) != security(expected.security_context.as_ref()) {
        return differs("`securityContext`");
    }
    if found.lifecycle.is_some() || found.liveness_probe.is_some() {
        return differs("`lifecycle` or `livenessProbe`");
    }
    let probes = |container: &Container| {
        [&container.startup_probe, &container.readiness_probe].map(|probe| probe.as_ref().map(request))
    };
    if probes(found) != probes(expected) {
        return differs("`probes`");
    }
    if found.stdin == Some(true) || found.tty == Some(true) {
        return differs("`stdin`");
    }
    compare_environment(found, expected)?;
    compare_mounts(found, expected)
}

/// Checks that the pod's volume is the expected one where it matters.
pub(crate) fn compare_volume(found: &Volume, expected: &Volume) -> Result<(), Refusal> {
    let token = |volume: &Volume| {
        let projected = volume.projected.as_ref()?;
        let mut sources = projected.sources.iter().flatten();
        let source = sources.next().and_then(|source| source.service_account_token.clone());
        let alone = sources.next().is_none();
        Some((source.map(|token| (token.audience, token.path)), alone, projected.default_mode))
    };
    let empty = |volume: &Volume| volume.empty_dir.is_some();
    match token(found) == token(expected) && empty(found) == empty(expected) {
        true => Ok(()),
        false => Err(refusal(&found.name, "`source`")),
    }
}

fn compare_environment(found: &Container, expected: &Container) -> Result<(), Refusal> {
    if found.env_from.iter().flatten().next().is_some() {
        return Err(refusal(&found.name, "`envFrom`"));
    }
    let ours = |entry: &&EnvVar| {
        let name = entry.name.as_str();
        name.starts_with("CHAPERONE_") || expected.env.iter().flatten().any(|expected| expected.name == name)
    };
    match found.env.iter().flatten().filter(ours).eq(expected.env.iter().flatten()) {
        true => Ok(()),
        false => Err(refusal(&found.name, "`env`")),
    }
}

fn compare_mounts(found: &Container, expected: &Container) -> Result<(), Refusal> {
    let expected: Vec<_> = expected.volume_mounts.iter().flatten().map(place).collect();
    let found_mounts: Vec<_> = found.volume_mounts.iter().flatten().map(place).collect();
    let missing = expected.iter().any(|mount| !found_mounts.contains(mount));
    let harmless = |mount: &Place<'_>| {
        mount.path.starts_with(HARMLESS_MOUNTS)
            && !mount.path.contains("..")
            && !expected.iter().any(|ours| overlap(ours.path, mount.path))
    };
    let foreign = found_mounts.iter().any(|mount| !expected.contains(mount) && !harmless(mount));
    let devices = found.volume_devices.iter().flatten().next().is_some();
    match missing || foreign || devices {
        true => Err(refusal(&found.name, "`volumeMounts`")),
        false => Ok(()),
    }
}

#[derive(PartialEq)]
struct Place<'a> {
    volume: &'a str,
    path: &'a str,
    writable: bool,
    part: bool,
}

fn place(mount: &VolumeMount) -> Place<'_> {
    Place {
        volume: &mount.name,
        path: &mount.mount_path,
        writable: mount.read_only != Some(true),
        part: mount.sub_path.is_some() || mount.sub_path_expr.is_some(),
    }
}

fn overlap(one: &str, other: &str) -> bool {
    let parts =
        |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (parts(one), parts(other));
    one.starts_with(&other) || other.starts_with(&one)
}

fn request(probe: &Probe) -> Option<HTTPGetAction> {
    let other = probe.exec.is_some() || probe.grpc.is_some() || probe.tcp_socket.is_some();
    if other { None } else { probe.http_get.clone() }
}

/// What the API server and policies of the node's kind add makes no difference.
fn security(context: Option<&SecurityContext>) -> Option<SecurityContext> {
    let context = context?.clone();
    Some(SecurityContext {
        proc_mount: context.proc_mount.filter(|mount| mount != "Default"),
        privileged: context.privileged.filter(|privileged| *privileged),
        se_linux_options: None,
        app_armor_profile: None,
        ..context
    })
}

/// An image without tag and digest: replicas of two versions admit each other's pods, and digests may
/// be pinned by others.
fn repository(image: Option<&str>) -> Option<&str> {
    let image = image?;
    let image = image.split_once('@').map_or(image, |(name, _digest)| name);
    Some(match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        Some(_) | None => image,
    })
}

fn refusal(name: &str, what: &str) -> Refusal {
    Refusal::new(
        format!("`{name}` differs from what was injected: {what}"),
        "keep other admission webhooks away from the containers and volumes `chaperone-*`",
    )
}
