//! A Job whose pod has a sidecar ends when its own container does.

use anyhow::{Context, Result, bail};
use audit::Event;
use chaperone_e2e::{
    fixture,
    records::Records,
    wait::{eventually, when},
    with_namespace,
};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};

fn job(statement: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "report"},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": {"chaperone.dev/connections": fixture::CONNECTION}},
                "spec": {
                    "serviceAccountName": fixture::ACCOUNT, "restartPolicy": "Never",
                    "containers": [{
                        "name": "agent", "image": fixture::IMAGE,
                        "command": ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement],
                    }],
                },
            },
        },
    })
}

#[tokio::test]
async fn a_job_completes_and_its_last_record_arrives() -> Result<()> {
    with_namespace(async |space| {
        fixture::shop(space).await?;
        space.apply(job("SELECT count(*) FROM orders")).await?;
        let pod = eventually("the Job's pod", async || {
            let pods = space.api::<Pod>().list(&ListParams::default().labels("job-name=report")).await?;
            Ok(pods.items.into_iter().next())
        })
        .await?;
        let mut records = Records::from(&space.client, &pod.uid().context("no UID")?).await?;
        eventually("the Job's completion", async || {
            let status = space.get::<Job>("report").await?.status.unwrap_or_default();
            if status.failed.unwrap_or_default() > 0 {
                bail!("the Job failed");
            }
            Ok(when(status.succeeded == Some(1)))
        })
        .await?;
        records.find("the sidecar's end", |event| matches!(event, Event::ProcessEnd)).await?;
        records.find("the session's end", |event| matches!(event, Event::SessionEnd(_))).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_that_is_refused_fails() -> Result<()> {
    with_namespace(async |space| {
        fixture::shop(space).await?;
        space.apply(job("DROP TABLE orders")).await?;
        eventually("the Job's failure", async || {
            let status = space.get::<Job>("report").await?.status.unwrap_or_default();
            Ok(when(status.failed == Some(1)))
        })
        .await
    })
    .await
}
