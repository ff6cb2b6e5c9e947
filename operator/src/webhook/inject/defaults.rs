//! What the cluster gives to every container comes between two injections of a pod, and stays.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// What a LimitRange has defaults for. A quota may ask for them, so that a pod without them is refused.
const DEFAULTED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// Our container, with the amounts of its earlier self that it does not set itself.
pub(super) fn kept(mut container: Container, before: Option<&PodSpec>) -> Container {
    let mut inits = before.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let earlier = inits.find(|earlier| earlier.name == container.name);
    let Some(given) = earlier.and_then(|earlier| earlier.resources.as_ref()) else { return container };
    let resources = container.resources.get_or_insert_default();
    for (ours, given) in [(&mut resources.requests, &given.requests), (&mut resources.limits, &given.limits)]
    {
        for (name, amount) in given.iter().flatten().filter(|(name, _)| DEFAULTED.contains(&name.as_str())) {
            ours.get_or_insert_default().entry(name.clone()).or_insert_with(|| amount.clone());
        }
    }
    container
}
