//! The credentials of Connections stay out of the agent's containers: a pod that takes the Secret itself would
//! have what the sidecar is there to keep from it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};

use crate::webhook::{connections::Found, settings::Refusal};

/// A Secret that a pod takes, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Taken {
    secret: String,
    place: String,
}

/// The Secrets that the agent's containers take, by variables or volumes. `spec` is without our own containers.
pub(crate) fn of_agents(spec: &PodSpec) -> BTreeSet<Taken> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let variables = containers.flat_map(|container| {
        let place = format!("container `{}`", container.name);
        by_variables(container).into_iter().map(move |secret| Taken { secret, place: place.clone() })
    });
    let volumes = spec.volumes.iter().flatten().flat_map(|volume| {
        let place = format!("volume `{}`", volume.name);
        by_volume(volume).into_iter().map(move |secret| Taken { secret, place: place.clone() })
    });
    variables.chain(volumes).collect()
}

fn by_variables(container: &Container) -> Vec<String> {
    let single = container
        .env
        .iter()
        .flatten()
        .filter_map(|entry| Some(entry.value_from.as_ref()?.secret_key_ref.as_ref()?.name.clone()));
    let whole = container
        .env_from
        .iter()
        .flatten()
        .filter_map(|source| Some(source.secret_ref.as_ref()?.name.clone()));
    single.chain(whole).collect()
}

fn by_volume(volume: &Volume) -> Vec<String> {
    let whole = volume.secret.iter().filter_map(|source| source.secret_name.clone());
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let part = projected.filter_map(|source| Some(source.secret.as_ref()?.name.clone()));
    whole.chain(part).collect()
}

/// Refuses a Secret that is the credential of one of these Connections of the pod's namespace.
///
/// # Errors
/// When one is.
pub(crate) fn check(taken: &BTreeSet<Taken>, connections: &[Found]) -> Result<(), Refusal> {
    for connection in connections {
        let Some(secret) = connection.spec.as_ref().ok().and_then(|spec| spec.credential.secret_ref.as_ref())
        else {
            continue;
        };
        if let Some(Taken { place, .. }) = taken.iter().find(|taken| taken.secret == secret.name) {
            return Err(Refusal::new(
                format!(
                    "the {place} takes the Secret `{}`, the credential of the Connection `{}`, which agents do not hold",
                    secret.name,
                    connection.key()
                ),
                "remove it: the sidecar logs in",
            ));
        }
    }
    Ok(())
}
