//! Whether fence and sidecar are still what injection made.

use k8s_openapi::api::core::v1::{
    Container, EnvVar, HTTPGetAction, Probe, SecurityContext, Volume, VolumeMount,
};

use crate::webhook::{
    inject::containers::{FREE_VARIABLES, ROOT_VARIABLE},
    settings::Refusal,
};

/// Other webhooks give every container credentials for clouds here; they do no harm.
const HARMLESS_MOUNTS: &str = "/var/run/secrets/";

/// The variables without which a sidecar of no version would be ours.
const NEEDED: [&str; 4] =
    ["CHAPERONE_SIDECAR_UID", "CHAPERONE_OPERATOR_ADDRESS", ROOT_VARIABLE, "CHAPERONE_TOKEN_FILE"];

/// Compares a container with the one to expect, in all that enforcement rests on. One that a replica of another
/// version made may have other variables.
pub(crate) fn compare(found: &Container, expected: &Container, same_version: bool) -> Result<(), Refusal> {
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
    compare_environment(found, expected, same_version)?;
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

fn compare_environment(found: &Container, expected: &Container, same_version: bool) -> Result<(), Refusal> {
    if found.env_from.iter().flatten().next().is_some() {
        return Err(refusal(&found.name, "`envFrom`"));
    }
    let entries = |container: &Container| container.env.clone().unwrap_or_default();
    let (found_entries, expected) = (entries(found), entries(expected));
    let known = |name: &str| expected.iter().any(|entry| entry.name == name);
    let ours = |entry: &&EnvVar| known(&entry.name) || (same_version && entry.name.starts_with("CHAPERONE_"));
    let found_ours: Vec<&EnvVar> = found_entries.iter().filter(ours).collect();
    let missing = expected.iter().filter(|entry| !found_ours.iter().any(|found| found.name == entry.name));
    // What every version has, whatever else it has.
    let needed = |entry: &&EnvVar| same_version || NEEDED.contains(&entry.name.as_str());
    let mut names = std::collections::BTreeSet::new();
    let twice = found_ours.iter().any(|entry| !names.insert(&entry.name));
    let fits =
        |found: &&EnvVar| expected.iter().any(|entry| entry.name == found.name && is_same(found, entry));
    match !twice && found_ours.iter().all(fits) && !missing.clone().any(|entry| needed(&entry)) {
        true => Ok(()),
        false => Err(refusal(&found.name, "`env`")),
    }
}

fn is_same(found: &EnvVar, expected: &EnvVar) -> bool {
    match found.name.as_str() {
        ROOT_VARIABLE => {
            let (found, expected) = (found.value.as_deref(), expected.value.as_deref());
            found.zip(expected).is_some_and(|(found, expected)| is_part_of(found, expected))
        }
        // Replicas that a rollout leaves with other values for a while admit each other's pods.
        name if FREE_VARIABLES.contains(&name) => found.value_from.is_none(),
        _ => found == expected,
    }
}

/// Whether roots are among those in force: replicas may know of new ones one after the other.
pub(crate) fn is_part_of(roots: &str, in_force: &str) -> bool {
    const END: &str = "-----END CERTIFICATE-----";
    let certificates = |text: &str| -> Vec<String> {
        let parts = text.split_inclusive(END).map(|part| part.trim().to_owned());
        parts.filter(|part| !part.is_empty()).collect()
    };
    let (roots, in_force) = (certificates(roots), certificates(in_force));
    !roots.is_empty() && roots.iter().all(|root| root.ends_with(END) && in_force.contains(root))
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

#[cfg(test)]
mod tests {
    use super::is_part_of;

    #[test]
    fn roots_are_those_in_force_or_some_of_them() {
        let root = |text: &str| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        let both = root("old") + &root("new");
        assert!(is_part_of(&root("old"), &both) && is_part_of(&both, &(root("new") + &root("old"))));
        for wrong in [root("evil"), both.clone() + &root("evil"), both.clone() + "evil", String::new()] {
            assert!(!is_part_of(&wrong, &both), "{wrong}");
        }
    }
}
