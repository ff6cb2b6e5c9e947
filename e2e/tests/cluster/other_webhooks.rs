//! Other mutating webhooks: what they may do to an injected pod, and what they may not.

use anyhow::Result;
use chaperone_e2e::{
    agent::{Agent, FENCE, SIDECAR},
    fixture,
    webhook::Webhook,
    with_namespace,
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_variable_and_a_mount_in_every_container_do_no_harm() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let _webhook = Webhook::start(space, add_to_all).await?;
        let agent = Agent::start(space, fixture::plain_pod("agent")).await?;
        assert_eq!(agent.sh("echo $CLOUD_ROLE; ls /var/run/secrets/cloud").await?.success()?, "reader");
        let sidecar = agent.pod().await?.spec.and_then(|spec| spec.init_containers).unwrap_or_default();
        let added = sidecar[1].env.iter().flatten().any(|entry| entry.name == "CLOUD_ROLE");
        assert!(added, "the other webhook should have seen the sidecar");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_init_container_that_is_put_first_once_ends_up_behind_the_fence() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let _webhook = Webhook::start(space, put_first_once).await?;
        let agent = Agent::start(space, fixture::plain_pod("agent")).await?;
        let inits = agent.pod().await?.spec.and_then(|spec| spec.init_containers).unwrap_or_default();
        let names: Vec<&str> = inits.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(names, [FENCE, SIDECAR, "first"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_init_container_that_insists_on_being_first_is_refused() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let _webhook = Webhook::start(space, put_first_always).await?;
        let refusal = space.refusal(fixture::plain_pod("agent")).await?;
        assert!(refusal.contains("no fence and sidecar as its first two init containers"), "{refusal}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_webhook_that_weakens_the_sidecar_is_refused() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let _webhook = Webhook::start(space, replace_sidecars_command).await?;
        let refusal = space.refusal(fixture::plain_pod("agent")).await?;
        assert!(refusal.contains("`chaperone-sidecar` differs from what was injected"), "{refusal}");
        Ok(())
    })
    .await
}

/// As those do that give pods a cloud's identity.
fn add_to_all(pod: &mut Value) {
    for list in ["initContainers", "containers"] {
        for container in containers(pod, list) {
            add(container, "env", json!({"name": "CLOUD_ROLE", "value": "reader"}));
            add(container, "volumeMounts", json!({"name": "cloud", "mountPath": "/var/run/secrets/cloud"}));
        }
    }
    add(&mut pod["spec"], "volumes", json!({"name": "cloud", "emptyDir": {}}));
}

/// Adds to a list what is not in it yet.
fn add(object: &mut Value, list: &str, item: Value) {
    if object[list].is_null() {
        object[list] = json!([]);
    }
    let items = object[list].as_array_mut().into_iter().next();
    items.into_iter().filter(|items| !items.contains(&item)).for_each(|items| items.push(item.clone()));
}

fn put_first_once(pod: &mut Value) {
    if !containers(pod, "initContainers").iter().any(|container| container["name"] == "first") {
        put_first(pod);
    }
}

fn put_first_always(pod: &mut Value) {
    let inits = containers(pod, "initContainers");
    inits.retain(|container| container["name"] != "first");
    put_first(pod);
}

fn put_first(pod: &mut Value) {
    let mut first = fixture::container("first");
    first["command"] = json!(["true"]);
    containers(pod, "initContainers").insert(0, first);
}

fn replace_sidecars_command(pod: &mut Value) {
    for container in containers(pod, "initContainers") {
        if container["name"] == SIDECAR {
            container["command"] = json!(["/chaperone-sidecar", "--help"]);
        }
    }
}

fn containers<'p>(pod: &'p mut Value, list: &str) -> &'p mut Vec<Value> {
    let containers = &mut pod["spec"][list];
    if containers.is_null() {
        *containers = json!([]);
    }
    containers.as_array_mut().expect("a list of containers")
}
