//! The fence and the sidecar as they have to be.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
        ObjectFieldSelector, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
        SecurityContext, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};

use super::knobs::Knobs;
use crate::webhook::settings::{EMPTY_VOLUME, FENCE, SIDECAR, SPOOL_VOLUME, Settings, TOKEN_VOLUME};

const TOKEN_DIR: &str = "/var/run/chaperone/token";
const TOKEN_FILE: &str = "/var/run/chaperone/token/token";
const TOKEN_SECONDS: i64 = 3600;
/// Holds the roots by which the sidecar knows the operator.
pub(crate) const ROOT_VARIABLE: &str = "CHAPERONE_OPERATOR_ROOT";
/// What a change of the chart's values changes, and enforcement does not rest on.
pub(crate) const FREE_VARIABLES: [&str; 3] = ["CHAPERONE_LOG_LEVEL", "CHAPERONE_SPOOL_SIZE", "CHAPERONE_DNS"];
const SPOOL_DIR: &str = "/var/lib/chaperone";
/// Where Kubernetes mounts the agent's API token: covered, so that ours never hold it.
const API_TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// An operator that is away holds up new pods; they wait this long before kubelet starts the sidecar again.
const STARTUP_TRIES: i32 = 600;

/// What the containers are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) roots: &'a str,
    pub(crate) uid: i64,
    pub(crate) knobs: &'a Knobs,
}

/// Sets the pod's packet rules and exits.
pub(crate) fn fence(parts: Parts<'_>) -> Container {
    Container {
        name: FENCE.to_owned(),
        args: Some(vec!["fence".to_owned()]),
        env: Some(shared_environment(parts)),
        volume_mounts: Some(vec![cover()]),
        security_context: Some(SecurityContext {
            run_as_user: Some(0),
            run_as_group: Some(0),
            run_as_non_root: Some(false),
            ..confined(Some("NET_ADMIN"))
        }),
        ..container(parts)
    }
}

/// Runs beside the agent for as long as the pod lives.
pub(crate) fn sidecar(parts: Parts<'_>) -> Container {
    let mut environment = shared_environment(parts);
    environment.extend(sidecar_environment(parts));
    Container {
        name: SIDECAR.to_owned(),
        args: Some(vec!["run".to_owned()]),
        env: Some(environment),
        restart_policy: Some("Always".to_owned()),
        startup_probe: Some(ready(parts, 1, STARTUP_TRIES)),
        readiness_probe: Some(ready(parts, 5, 3)),
        volume_mounts: Some(vec![
            VolumeMount { read_only: Some(true), ..mount(TOKEN_VOLUME, TOKEN_DIR) },
            mount(SPOOL_VOLUME, SPOOL_DIR),
            cover(),
        ]),
        security_context: Some(SecurityContext {
            run_as_user: Some(parts.uid),
            run_as_group: Some(parts.uid),
            run_as_non_root: Some(true),
            ..confined(None)
        }),
        ..container(parts)
    }
}

/// The volumes that only these containers mount.
pub(crate) fn volumes(settings: &Settings) -> Vec<Volume> {
    let token = ServiceAccountTokenProjection {
        audience: Some(channel::TOKEN_AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".to_owned(),
    };
    vec![
        Volume {
            name: TOKEN_VOLUME.to_owned(),
            projected: Some(ProjectedVolumeSource {
                default_mode: Some(0o444),
                sources: Some(vec![VolumeProjection {
                    service_account_token: Some(token),
                    ..Default::default()
                }]),
            }),
            ..Default::default()
        },
        Volume {
            name: SPOOL_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(format!("{}Mi", settings.spool_mebibytes))),
                ..Default::default()
            }),
            ..Default::default()
        },
        Volume {
            name: EMPTY_VOLUME.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Default::default()
        },
    ]
}

fn container(parts: Parts<'_>) -> Container {
    Container {
        image: Some(parts.settings.image.clone()),
        image_pull_policy: Some(parts.settings.image_pull_policy.clone()),
        resources: resources(parts),
        ..Default::default()
    }
}

fn confined(capability: Option<&str>) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: capability.map(|name| vec![name.to_owned()]),
            drop: Some(vec!["ALL".to_owned()]),
        }),
        read_only_root_filesystem: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..Default::default()
    }
}

fn resources(parts: Parts<'_>) -> Option<ResourceRequirements> {
    let mut resources = parts.settings.resources.clone();
    for (resource, wish) in [("cpu", &parts.knobs.cpu), ("memory", &parts.knobs.memory)] {
        let Some(wish) = wish else { continue };
        let wish = Quantity(wish.clone());
        if let Some(limit) = resources.limits.as_mut().and_then(|limits| limits.get_mut(resource)) {
            *limit = wish.clone();
        }
        resources.requests.get_or_insert_with(BTreeMap::new).insert(resource.to_owned(), wish);
    }
    (resources != ResourceRequirements::default()).then_some(resources)
}

fn ready(parts: Parts<'_>, period: i32, tries: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/readyz".to_owned()),
            port: IntOrString::Int(parts.settings.ports.health.into()),
            scheme: Some("HTTP".to_owned()),
            ..Default::default()
        }),
        period_seconds: Some(period),
        failure_threshold: Some(tries),
        timeout_seconds: Some(2),
        ..Default::default()
    }
}

fn shared_environment(parts: Parts<'_>) -> Vec<EnvVar> {
    let level = parts.knobs.log_level.as_ref().unwrap_or(&parts.settings.log_level);
    let mut environment = vec![value("CHAPERONE_SIDECAR_UID", &parts.uid.to_string())];
    environment.extend(parts.settings.ports.named().map(|(name, port)| value(name, &port.to_string())));
    environment.push(value("CHAPERONE_LOG_LEVEL", level));
    environment
}

fn sidecar_environment(parts: Parts<'_>) -> Vec<EnvVar> {
    let spool = u64::from(parts.settings.spool_mebibytes) * 1024 * 1024 / 2;
    vec![
        value("CHAPERONE_OPERATOR_ADDRESS", &parts.settings.operator_address),
        value(ROOT_VARIABLE, parts.roots),
        value("CHAPERONE_TOKEN_FILE", TOKEN_FILE),
        value("CHAPERONE_SPOOL_DIR", SPOOL_DIR),
        value("CHAPERONE_SPOOL_SIZE", &spool.to_string()),
        value("CHAPERONE_DNS", parts.settings.dns.name()),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_UID", "metadata.uid"),
        field("POD_SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("POD_IP", "status.podIP"),
        field("POD_IPS", "status.podIPs"),
    ]
}

fn value(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..Default::default() }),
    }
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..Default::default() }
}

fn cover() -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(EMPTY_VOLUME, API_TOKEN_DIR) }
}
