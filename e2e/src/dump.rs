//! What a person needs to see of a namespace in which a test failed.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
};

/// How much of each log.
const LINES: i64 = 40;

/// Pods, events, Chaperone's resources and logs, as text.
pub(crate) async fn dump(client: &Client, namespace: &str) -> String {
    let mut text = format!("--- namespace {namespace}\n");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    for pod in &found {
        describe(&mut text, pod);
    }
    statuses(&mut text, client, namespace).await;
    events(&mut text, client, namespace).await;
    for pod in &found {
        logs(&mut text, &pods, pod).await;
    }
    text
}

fn say(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn describe(text: &mut String, pod: &Pod) {
    let status = pod.status.clone().unwrap_or_default();
    say(text, &format!("pod {}: {}", pod.name_any(), status.phase.unwrap_or_default()));
    let containers = status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
    for ContainerStatus { name, ready, restart_count, state, .. } in containers {
        let state = serde_json::to_string(&state).unwrap_or_default();
        say(text, &format!("  {name}: ready {ready}, {restart_count} restarts, {state}"));
    }
}

async fn statuses(text: &mut String, client: &Client, namespace: &str) {
    let connections: Api<api::Connection> = Api::namespaced(client.clone(), namespace);
    for connection in connections.list(&ListParams::default()).await.into_iter().flatten() {
        let status = serde_json::to_string(&connection.status).unwrap_or_default();
        say(text, &format!("connection {}: {status}", connection.name_any()));
    }
    let policies: Api<api::AccessPolicy> = Api::namespaced(client.clone(), namespace);
    for policy in policies.list(&ListParams::default()).await.into_iter().flatten() {
        let status = serde_json::to_string(&policy.status).unwrap_or_default();
        say(text, &format!("policy {}: {status}", policy.name_any()));
    }
}

async fn events(text: &mut String, client: &Client, namespace: &str) {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let mut found = events.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    found.sort_by_key(|event| event.metadata.creation_timestamp.clone());
    for event in found {
        let object = event.involved_object;
        let (kind, name) = (object.kind.unwrap_or_default(), object.name.unwrap_or_default());
        let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        say(text, &format!("event {kind} {name}: {reason}: {message}"));
    }
}

async fn logs(text: &mut String, pods: &Api<Pod>, pod: &Pod) {
    let spec = pod.spec.clone().unwrap_or_default();
    for container in spec.init_containers.into_iter().flatten().chain(spec.containers) {
        for previous in [true, false] {
            let params = LogParams {
                container: Some(container.name.clone()),
                previous,
                tail_lines: Some(LINES),
                ..LogParams::default()
            };
            let Ok(log) = pods.logs(&pod.name_any(), &params).await else { continue };
            let which = if previous { " before its restart" } else { "" };
            say(text, &format!("--- log of {}/{}{which}\n{log}", pod.name_any(), container.name));
        }
    }
}
