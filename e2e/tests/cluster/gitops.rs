//! One `kubectl apply` of everything at once, in the worst order, ends in a working agent.

use anyhow::Result;
use chaperone_e2e::{
    Space,
    agent::Agent,
    fixture::{self, Postgres, merged},
    kubectl, operator,
    wait::eventually,
    with_namespace, with_own_namespace,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

fn deployment() -> Value {
    let pod = fixture::pod("agent");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "agent"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {"metadata": pod["metadata"], "spec": pod["spec"]},
        },
    })
}

#[tokio::test]
async fn one_apply_in_the_worst_order_ends_in_a_working_psql() -> Result<()> {
    with_namespace(async |upstream| {
        let postgres = Postgres::start(upstream).await?;
        with_own_namespace(async |space| {
            let [role, binding] = fixture::grant("orders-app");
            let mut deployment = deployment();
            deployment["spec"]["template"]["metadata"] = json!({
                "labels": {"app": "agent"}, "annotations": fixture::pod("agent")["metadata"]["annotations"],
            });
            let objects = [
                json!({
                    "apiVersion": "v1", "kind": "Namespace",
                    "metadata": {"name": space.name, "labels": {"chaperone.dev/injection": "enabled"}},
                }),
                deployment,
                fixture::policy(&[fixture::read_orders()]),
                fixture::connection(&postgres.host),
                binding,
                role,
                fixture::secret("app", &postgres.password),
                fixture::account(),
            ];
            apply(space, &objects).await?;
            let pod = eventually("the Deployment's pod", async || {
                let pods = space.api::<Pod>().list(&ListParams::default().labels("app=agent")).await?;
                Ok(pods.items.into_iter().next())
            })
            .await?;
            let agent = Agent::ready(space, &pod.name_any()).await?;
            // The grant may be seen a moment after the Connection.
            let said = eventually("a working psql", async || {
                agent.psql("SELECT count(*) FROM orders").await?.success().map(Some)
            });
            assert_eq!(said.await?, "100");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn the_plugins_grant_is_what_the_operator_asks_for() -> Result<()> {
    with_namespace(async |space| {
        let postgres = Postgres::start(space).await?;
        space.apply_all([fixture::account(), fixture::secret("app", &postgres.password)]).await?;
        space.apply(fixture::connection(&postgres.host)).await?;
        let forbidden = eventually("the missing right", async || {
            let connection: api::Connection = space.get(fixture::CONNECTION).await?;
            let conditions = connection.status.unwrap_or_default().conditions;
            Ok(conditions.into_iter().find(|one| one.reason == "SecretForbidden"))
        })
        .await?;
        assert!(forbidden.message.contains(operator::ACCOUNT), "{}", forbidden.message);
        assert!(forbidden.message.contains("orders-app"), "{}", forbidden.message);
        let arguments = ["grant", "orders-app", "--namespace", &space.name, "--apply"];
        kubectl::plugin(&arguments).await?.success()?;
        eventually("the Connection being Ready", async || {
            let connection: api::Connection = space.get(fixture::CONNECTION).await?;
            let conditions = connection.status.unwrap_or_default().conditions;
            Ok(conditions.into_iter().find(|one| one.type_ == "Ready" && one.status == "True"))
        })
        .await?;
        space.apply(fixture::policy(&[fixture::read_orders()])).await?;
        let agent = Agent::start(space, fixture::pod("agent")).await?;
        agent.psql("SELECT count(*) FROM orders").await?.success()?;
        Ok(())
    })
    .await
}

async fn apply(space: &Space, objects: &[Value]) -> Result<()> {
    let namespaced = |object: &Value| match object["kind"].as_str() {
        Some("Namespace") => object.clone(),
        _ => merged(object.clone(), json!({"metadata": {"namespace": space.name}})),
    };
    let documents: Vec<String> = objects.iter().map(|object| namespaced(object).to_string()).collect();
    kubectl::kubectl(&["apply", "-f", "-"], &documents.join("\n---\n")).await?.success()?;
    Ok(())
}
