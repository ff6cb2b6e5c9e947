//! What injection makes of a pod.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chaperone_e2e::{
    Space,
    agent::{FENCE, SIDECAR},
    fixture::{self, merged},
    with_labels, with_namespace,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};

#[tokio::test]
async fn the_fence_comes_first_and_the_sidecar_second() -> Result<()> {
    with_namespace(async |space| {
        fixture::connect_to_nothing(space).await?;
        let own = json!({"spec": {"initContainers": [fixture::container("prepare")]}});
        let pod = created(space, merged(fixture::pod("agent"), own)).await?;
        let inits = pod.spec.as_ref().and_then(|spec| spec.init_containers.clone()).unwrap_or_default();
        let names: Vec<&str> = inits.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(names, [FENCE, SIDECAR, "prepare"]);
        // Native: it starts before the agent, and does not keep a Job from completing.
        assert_eq!(inits[1].restart_policy.as_deref(), Some("Always"));
        let marks = pod.metadata.annotations.unwrap_or_default();
        assert!(marks.contains_key("chaperone.dev/version"), "{marks:?}");
        assert_eq!(pod.metadata.labels.unwrap_or_default()["chaperone.dev/injected"], "true");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn agents_are_told_where_their_connections_are() -> Result<()> {
    with_namespace(async |space| {
        fixture::connect_to_nothing(space).await?;
        let environment = environment(&created(space, fixture::pod("agent")).await?);
        let expected = [
            ("PGHOST", "db.nowhere.svc.cluster.local"),
            ("PGPORT", "5432"),
            ("PGUSER", "planner"),
            ("PGDATABASE", "shop"),
            ("PGSSLMODE", "disable"),
            ("CHAPERONE_ORDERS_DB_HOST", "db.nowhere.svc.cluster.local"),
            ("CHAPERONE_ORDERS_DB_PORT", "5432"),
        ];
        assert_eq!(environment, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_variable_that_the_pod_sets_stays() -> Result<()> {
    with_namespace(async |space| {
        fixture::connect_to_nothing(space).await?;
        let mut pod = fixture::pod("agent");
        pod["spec"]["containers"][0]["env"] = json!([{"name": "PGUSER", "value": "somebody"}]);
        assert_eq!(environment(&created(space, pod).await?)["PGUSER"], "somebody");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pod_asks_for_a_sidecar_from_any_namespace() -> Result<()> {
    with_labels(json!({}), async |space| {
        space.apply(fixture::account()).await?;
        let asks = |place: &str| json!({"metadata": {place: {"chaperone.dev/inject": "true"}}});
        for place in ["annotations", "labels"] {
            let pod = merged(fixture::plain_pod(&format!("by-{place}")), asks(place));
            assert!(is_injected(&created(space, pod).await?), "by {place}");
        }
        assert!(!is_injected(&created(space, fixture::plain_pod("plain")).await?));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pod_declines_where_the_namespace_lets_it() -> Result<()> {
    let declines = json!({"metadata": {"annotations": {"chaperone.dev/inject": "false"}}});
    let pod = merged(fixture::plain_pod("agent"), declines);
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        assert!(!is_injected(&created(space, pod.clone()).await?));
        Ok(())
    })
    .await?;
    with_labels(json!({"chaperone.dev/injection": "required"}), async |space| {
        space.apply(fixture::account()).await?;
        assert!(is_injected(&created(space, pod.clone()).await?));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn agents_cannot_become_other_users_or_write_raw_packets() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let mut pod = fixture::plain_pod("agent");
        pod["spec"]["containers"][0]["securityContext"] = json!({"allowPrivilegeEscalation": true});
        let pod = created(space, pod).await?;
        let security = agent(&pod).security_context.context("no security context")?;
        assert_eq!(security.allow_privilege_escalation, Some(false));
        let dropped = security.capabilities.and_then(|capabilities| capabilities.drop).unwrap_or_default();
        for name in ["SETUID", "SETGID", "NET_RAW"] {
            assert!(dropped.iter().any(|dropped| dropped == name), "{name} in {dropped:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn marks_that_a_pod_brings_are_taken_away_or_made_anew() -> Result<()> {
    let forged = json!({"metadata": {
        "labels": {"chaperone.dev/injected": "true"},
        "annotations": {"chaperone.dev/admitted-labels": "{\"app\":\"boss\"}"},
    }});
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let pod = created(space, merged(fixture::plain_pod("agent"), forged.clone())).await?;
        assert_eq!(
            pod.metadata.annotations.unwrap_or_default()["chaperone.dev/admitted-labels"],
            "{\"app\":\"agent\"}"
        );
        let declines = json!({"metadata": {"annotations": {"chaperone.dev/inject": "false"}}});
        let pod = merged(merged(fixture::plain_pod("declines"), forged.clone()), declines);
        let pod = created(space, pod).await?;
        assert!(!pod.metadata.labels.unwrap_or_default().contains_key("chaperone.dev/injected"));
        Ok(())
    })
    .await
}

async fn created(space: &Space, pod: Value) -> Result<Pod> {
    let name = space.apply(pod).await?.metadata.name.context("a pod without a name")?;
    space.get(&name).await
}

fn is_injected(pod: &Pod) -> bool {
    let mut inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    inits.any(|container| container.name == SIDECAR)
}

fn agent(pod: &Pod) -> Container {
    pod.spec.clone().unwrap_or_default().containers.remove(0)
}

fn environment(pod: &Pod) -> BTreeMap<String, String> {
    let entries = agent(pod).env.unwrap_or_default();
    entries.into_iter().map(|entry| (entry.name, entry.value.unwrap_or_default())).collect()
}
