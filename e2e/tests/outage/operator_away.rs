//! Without the operator agents go on, new agents wait, and everybody else does not notice.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use chaperone_e2e::{
    Space,
    agent::Agent,
    fixture::{self, merged, never_drop, read_orders},
    host::{Host, Process},
    operator, outside,
    records::{self, Records},
    wait::{eventually, when},
    with_labels, with_namespace,
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// Transactions in sessions that stay, and new sessions every second.
const LOAD: &str = "echo 'SELECT count(*) FROM orders;' >/tmp/read.sql
while [ ! -e /tmp/enough ]; do pgbench -n -c 4 -R 500 -T 1 -f /tmp/read.sql 2>&1 || exit 1; done";

#[tokio::test]
async fn no_statement_is_refused_while_the_operator_is_away() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        space
            .apply(merged(fixture::policy(&[never_drop()]), json!({"metadata": {"name": "another"}})))
            .await?;
        let mut records = Records::of(&agent).await?;
        let mut live = agent.live().await?;
        live.ask("SELECT 1;").await?;
        let outage = async {
            kill_all(space).await?;
            operator::without_operator(&space.client, async || {
                assert_eq!(live.ask("SELECT count(*) FROM orders /* away */;").await?, "100");
                let said = live.ask("DROP TABLE orders /* away */;").await?;
                ensure!(said.contains("refused by policy"), "{said}");
                only_new_agents_wait(space).await?;
                // Resources can be deleted: no finalizer, no webhook holds them.
                space.remove::<api::AccessPolicy>("another").await
            })
            .await?;
            agent.sh("touch /tmp/enough").await?.success()
        };
        let (load, _) = tokio::try_join!(agent.sh(LOAD), outage)?;
        let said = load.success()?;
        let runs = said.matches("number of failed transactions: 0 ").count();
        assert!(runs > 0 && runs == said.matches("number of failed transactions").count(), "{said}");
        // What was spooled arrives, and nothing is missing.
        records.statement("orders /* away */").await?;
        let report = records::verify(&space.client).await?;
        assert!(report.is_intact(), "{:?}", report.findings);
        Ok(())
    })
    .await
}

/// The end of every replica, as a crash is.
async fn kill_all(space: &Space) -> Result<()> {
    let mut hosts: BTreeMap<String, Host> = BTreeMap::new();
    let mut blows = Vec::new();
    for replica in operator::replicas(&space.client).await? {
        let node = outside::node(&replica)?;
        if !hosts.contains_key(&node) {
            hosts.insert(node.clone(), Host::of(space, &replica).await?);
        }
        blows.push(hosts.get(&node).context("no host")?.aim(Process::Operator(&replica)).await?);
    }
    // Each exec asks a webhook: once one replica is dead, it may be the one that is asked.
    for blow in &mut blows {
        blow.strike(Duration::ZERO).await?;
    }
    for blow in blows {
        blow.fallen().await?;
    }
    Ok(())
}

async fn only_new_agents_wait(space: &Space) -> Result<()> {
    let refusal = space.refusal(fixture::plain_pod("late")).await?;
    ensure!(refusal.contains("chaperone.dev"), "{refusal}");
    with_labels(json!({}), async |elsewhere| {
        elsewhere.apply(fixture::account()).await?;
        let plain = Agent::start(elsewhere, fixture::plain_pod("plain")).await?;
        plain.sh("true").await?.success()?;
        elsewhere.remove::<Pod>("plain").await?;
        let asks = json!({"metadata": {"annotations": {"chaperone.dev/inject": "true"}}});
        elsewhere.refusal(merged(fixture::plain_pod("asks"), asks)).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_changed_meanwhile_counts_when_the_operator_is_back() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let mut live = agent.live().await?;
        assert_eq!(live.ask("SELECT count(*) FROM orders;").await?, "100");
        operator::without_operator(&space.client, async || {
            // Without the webhook a policy cannot be changed, but it can be deleted.
            space.refusal(fixture::policy(&[read_orders()])).await?;
            space.remove::<api::AccessPolicy>(fixture::POLICY).await?;
            assert_eq!(live.ask("SELECT count(*) FROM orders;").await?, "100");
            Ok(())
        })
        .await?;
        eventually("the deletion counting", async || {
            Ok(when(live.ask("SELECT count(*) FROM orders;").await?.contains("refused by policy")))
        })
        .await
    })
    .await
}
