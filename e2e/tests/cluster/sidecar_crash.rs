//! A sidecar that dies takes its sessions with it, and the fence stays.

use anyhow::Result;
use chaperone_e2e::{
    agent::{Agent, CONTAINER, SIDECAR},
    fixture::{self, merged},
    host::{Host, Process},
    outside::{self, Outside, attempts},
    wait::{eventually, when},
    with_namespace,
};
use serde_json::json;

#[tokio::test]
async fn while_the_sidecar_is_dead_nothing_gets_out() -> Result<()> {
    with_namespace(async |space| {
        fixture::shop(space).await?;
        let mut pod = fixture::pod("agent");
        let curl = merged(fixture::container("curl"), json!({"image": outside::IMAGE}));
        pod["spec"]["containers"] = json!([fixture::container(CONTAINER), curl]);
        let agent = Agent::start(space, pod).await?;
        let outside = Outside::start(space).await?;
        let own = agent.pod().await?.status.and_then(|status| status.pod_ip).unwrap_or_default();
        outside.count(&own).await?;
        let host = Host::of(space, &agent.pod().await?).await?;
        let mut live = agent.live().await?;
        assert_eq!(live.ask("SELECT 1;").await?, "1");
        // The agent tries all the time.
        let address = outside.address().await?;
        let busy = format!(
            "until [ -e /tmp/enough ]; do echo try; curl -sS -m 1 http://{address}:18680/ 2>&1; done; true"
        );
        let curl = async |script: &str| space.exec(&agent.name, "curl", &["sh", "-c", script]).await;
        let crashes = async {
            // Kubelet waits before the second restart, so that the second absence lasts.
            for restarts in 1..=2 {
                host.kill(Process::Sidecar(&agent)).await?;
                eventually("the sidecar's restart", async || {
                    let sidecar = agent.container(SIDECAR).await?;
                    Ok(when(sidecar.restart_count >= restarts && sidecar.ready))
                })
                .await?;
            }
            curl("touch /tmp/enough").await?.success()
        };
        let (said, _) = tokio::try_join!(curl(&busy), crashes)?;
        let said = said.success()?;
        assert!(said.matches("try").count() > 10, "{said}");
        assert!(!said.contains(outside::ANSWER), "{said}");
        assert_eq!(outside.arrived(&own).await?, 0);
        assert!(live.ask("SELECT 1;").await.map_or_else(|_| true, |said| said != "1"), "the session lives");
        // What was there before works again, and what was forbidden is.
        assert_eq!(agent.psql("SELECT count(*) FROM orders").await?.success()?, "100");
        agent.psql("DROP TABLE orders").await?.failure()?;
        assert!(!curl(&attempts(&address)).await?.stdout.contains(outside::ANSWER));
        Ok(())
    })
    .await
}
