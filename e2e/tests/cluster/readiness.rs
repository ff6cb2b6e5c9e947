//! Pods become Ready, and stay so, whatever they look like.

use anyhow::{Context, Result};
use chaperone_e2e::{
    Space,
    agent::Agent,
    fixture::{self, merged},
    host::{Host, Process},
    outside::{self, Outside, attempts},
    wait::{eventually, when},
    with_namespace,
};
use serde_json::{Value, json};

#[tokio::test]
async fn pods_of_any_security_context_work() -> Result<()> {
    with_namespace(async |space| {
        fixture::shop(space).await?;
        let spec = |name: &str, spec: Value| merged(fixture::pod(name), json!({"spec": spec}));
        let context = json!({"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 2000});
        let mut root = fixture::pod("root");
        root["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 0});
        let pods = [
            spec("plain", json!({})),
            spec("strict", json!({"securityContext": context})),
            spec("own-users", json!({"hostUsers": false})),
            root,
        ];
        for pod in pods {
            let agent = Agent::start(space, pod).await?;
            let said = agent.psql("SELECT count(*) FROM orders").await?.success();
            assert_eq!(said.with_context(|| agent.name.clone())?, "100");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_web_server_is_probed_and_reached_also_after_its_sandbox_was_made_anew() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let outside = Outside::start(space).await?;
        let mut pod = fixture::plain_pod("web");
        pod["spec"]["containers"][0] = json!({
            "name": "agent", "image": outside::IMAGE,
            "command": ["sh", "-c", "mkdir -p /tmp/www; echo hello >/tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"],
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        });
        space
            .apply(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
            }))
            .await?;
        let agent = Agent::start(space, pod).await?;
        serves_and_is_fenced(space, &agent, &outside).await?;
        let before = agent.container("chaperone-fence").await?.container_id;
        let host = Host::of(space, &agent.pod().await?).await?;
        host.kill(Process::Sandbox(&agent)).await?;
        eventually("a new fence", async || {
            let fence = agent.container("chaperone-fence").await?;
            Ok(when(fence.container_id.is_some() && fence.container_id != before))
        })
        .await?;
        let agent = Agent::ready(space, "web").await?;
        serves_and_is_fenced(space, &agent, &outside).await
    })
    .await
}

async fn serves_and_is_fenced(space: &Space, agent: &Agent, outside: &Outside) -> Result<()> {
    let url = format!("http://web.{}.svc.cluster.local/", space.name);
    let fetch = ["sh", "-c", &format!("curl -sS -m 3 {url}")];
    eventually("an answer of the Service", async || {
        let said = space.exec("outside", "agent", &fetch).await?;
        Ok(when(said.stdout.contains("hello")))
    })
    .await?;
    let address = outside.address().await?;
    let said = agent.sh(&attempts(&address)).await?;
    assert!(!said.stdout.contains(outside::ANSWER), "{}", said.stdout);
    Ok(())
}

#[tokio::test]
async fn quotas_and_limit_ranges_are_respected() -> Result<()> {
    with_namespace(async |space| {
        let quota = json!({"requests.cpu": "1", "requests.memory": "1Gi", "limits.cpu": "4", "limits.memory": "2Gi"});
        let defaults = json!([{
            "type": "Container",
            "default": {"cpu": "500m", "memory": "128Mi"}, "defaultRequest": {"cpu": "20m", "memory": "32Mi"},
        }]);
        space
            .apply_all([
                fixture::account(),
                json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all"}, "spec": {"hard": quota}}),
                json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "all"}, "spec": {"limits": defaults}}),
            ])
            .await?;
        // The quota may be a moment behind.
        let agent = eventually("a pod within the quota", async || {
            space.apply(fixture::plain_pod("agent")).await.map(Some)
        });
        agent.await?;
        let agent = Agent::ready(space, "agent").await?;
        agent.sh("true").await?.success()?;
        // The sidecar counts like any container.
        let knobs = json!({"metadata": {"annotations": {"chaperone.dev/sidecar-memory": "3Gi"}}});
        let refusal = space.refusal(merged(fixture::plain_pod("greedy"), knobs)).await?;
        assert!(refusal.contains("exceeded quota"), "{refusal}");
        Ok(())
    })
    .await
}
