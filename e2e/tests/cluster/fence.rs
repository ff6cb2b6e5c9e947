//! Nothing leaves an agent's pod but through the sidecar: whoever sends it, and by whatever protocol.

use anyhow::{Context, Result, ensure};
use audit::{Event, RefusedKind};
use chaperone_e2e::{
    Space,
    agent::Agent,
    fixture, kubectl,
    outside::{self, Outside, attempts, prober},
    records::Records,
    wait::{eventually, when},
    with_namespace,
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

/// Root, a user as in most images, and one that no image knows.
const USERS: [i64; 3] = [0, 1000, 64_999];
/// Gives a pod an IPv6 address where the cluster gives none: a command that takes namespace and pod.
const POD6: &str = "CHAPERONE_E2E_POD6";
/// The node's address on the bridge that the command makes.
const NODE6: &str = "fd63:6861::1";
/// The pod's.
const OWN6: &str = "fd63:6861::100";

#[tokio::test]
async fn no_user_of_the_pod_gets_out_by_tcp_udp_or_icmp() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let outside = Outside::start(space).await?;
        let address = outside.address().await?;
        let free = json!({"chaperone.dev/inject": "false"});
        let free = Agent::start(space, prober("free", &USERS[..1], free)).await?;
        let fenced = Agent::start(space, prober("fenced", &USERS, json!({}))).await?;
        let mut records = Records::of(&fenced).await?;
        for agent in [&free, &fenced] {
            outside.count(&ip(agent).await?).await?;
        }
        // Without a fence all of it arrives.
        let said = tries(space, &free, USERS[0], &address).await?;
        assert!(said.contains(outside::ANSWER), "{said}");
        assert!(outside.arrived(&ip(&free).await?).await? > 2);
        for user in USERS {
            let said = tries(space, &fenced, user, &address).await?;
            assert!(!said.contains(outside::ANSWER), "user {user}: {said}");
        }
        assert_eq!(outside.arrived(&ip(&fenced).await?).await?, 0);
        let refused = records
            .find("the refused connection", |event| {
                matches!(event, Event::Refused(refused) if refused.kind == RefusedKind::Connection
                    && refused.destination.starts_with(&address))
            })
            .await?;
        assert!(format!("{refused:?}").contains("no Connection has this address"), "{refused:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn ipv6_is_no_way_out() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let free = json!({"chaperone.dev/inject": "false"});
        let free = Agent::start(space, prober("free", &USERS[..1], free)).await?;
        let outside = Outside::on_node(space, &outside::node(&free.pod().await?)?).await?;
        let address = outside.address_v6().await?.unwrap_or_else(|| NODE6.to_owned());
        let outcome = async {
            let own = give_v6(space, &free).await?;
            outside.count(&own).await?;
            let said = tries(space, &free, USERS[0], &address).await?;
            ensure!(said.contains(outside::ANSWER), "without a fence it should get out: {said}");
            let before = outside.arrived(&own).await?;
            ensure!(before > 2, "only {before} packets arrived without a fence");
            // Where addresses are given by hand there is one for all.
            space.remove::<Pod>(&free.name).await?;
            eventually("the end of the free pod", async || {
                Ok(when(space.api::<Pod>().get_opt(&free.name).await?.is_none()))
            })
            .await?;
            let fenced = Agent::start(space, prober("fenced", &USERS, json!({}))).await?;
            let own = give_v6(space, &fenced).await?;
            outside.count(&own).await?;
            let before = outside.arrived(&own).await?;
            for user in USERS {
                let said = tries(space, &fenced, user, &address).await?;
                ensure!(!said.contains(outside::ANSWER), "user {user}: {said}");
            }
            // The kernel looks for its neighbours, which no agent can do by itself.
            let after = outside.arrived(&own).await?;
            ensure!(after - before <= 6, "{} packets arrived", after - before);
            Ok(())
        }
        .await;
        outside.stop().await?;
        outcome
    })
    .await
}

#[tokio::test]
async fn metadata_services_nodes_and_the_api_server_are_out_of_reach() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let fenced = Agent::start(space, prober("fenced", &USERS[..1], json!({}))).await?;
        let mut records = Records::of(&fenced).await?;
        let node = fenced.pod().await?.status.and_then(|status| status.host_ip).context("no node")?;
        let script = format!(
            "for url in http://169.254.169.254/ http://{node}:10255/ https://{node}:10250/ \
             https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/version; do \
               curl -sSk -m 3 $url && echo got out to $url; done; true"
        );
        let container = format!("user-{}", USERS[0]);
        let said = space.exec(&fenced.name, &container, &["sh", "-c", &script]).await?.success()?;
        assert!(!said.contains("got out"), "{said}");
        for destination in ["169.254.169.254:80".to_owned(), format!("{node}:10250")] {
            records
                .find(
                    &format!("the refusal of {destination}"),
                    |event| matches!(event, Event::Refused(refused) if refused.destination == destination),
                )
                .await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn names_are_answered_by_the_sidecar_whoever_is_asked() -> Result<()> {
    with_namespace(async |space| {
        fixture::connect_to_nothing(space).await?;
        let agent = Agent::start(space, fixture::pod("agent")).await?;
        let mut records = Records::of(&agent).await?;
        // Nothing answers at the second address: the question never gets there.
        for server in ["", "192.0.2.53"] {
            let said = eventually("the Connection's virtual address", async || {
                let output = agent.sh(&format!("nslookup db.nowhere.svc.cluster.local {server}")).await?;
                Ok(Some(output.stdout)
                    .filter(|said| said.contains("Address: 198.18.") || said.contains("198.19.")))
            });
            said.await?;
        }
        agent.sh("nslookup exfiltrated-data.example.com").await?.failure()?;
        records
            .find("the refused name", |event| {
                matches!(event, Event::Refused(refused) if refused.kind == RefusedKind::Dns
                    && refused.destination.contains("exfiltrated-data.example.com"))
            })
            .await?;
        Ok(())
    })
    .await
}

async fn ip(agent: &Agent) -> Result<String> {
    agent.pod().await?.status.and_then(|status| status.pod_ip).context("a pod without an address")
}

async fn tries(space: &Space, agent: &Agent, user: i64, address: &str) -> Result<String> {
    let script = attempts(address);
    let said = space.exec(&agent.name, &format!("user-{user}"), &["sh", "-c", &script]).await?;
    Ok(format!("{}{}", said.stdout, said.stderr))
}

/// The pod's IPv6 address: the cluster's, or one given by hand.
async fn give_v6(space: &Space, agent: &Agent) -> Result<String> {
    if let Some(address) = outside::address_v6(&agent.pod().await?) {
        return Ok(address);
    }
    let command = std::env::var(POD6);
    let command = command.with_context(|| {
        format!("pods of this cluster have no IPv6 address; set {POD6} to a command that gives one to NAMESPACE POD")
    })?;
    kubectl::shell(&format!("{command} {} {}", space.name, agent.name)).await?.success()?;
    Ok(OWN6.to_owned())
}
