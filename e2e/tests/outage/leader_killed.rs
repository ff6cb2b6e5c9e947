//! The leader dies between the removal of an Allow and its acknowledgements: no sidecar keeps the Allow or gets it
//! back, and the status does not say more than is true.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use chaperone_e2e::{
    Space,
    agent::Agent,
    fixture::{self, never_drop, read_orders},
    host::{Host, Process},
    operator::Installation,
    session::{Outcome, Session},
    with_namespace,
};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::{
    sync::{Barrier, watch},
    task::JoinSet,
    time::Instant,
};

const ROUNDS: u32 = 20;
/// From before the leader sees the change to after all have acknowledged it.
const STEP: Duration = Duration::from_millis(4);
const AGENTS: usize = 3;
const READ: &str = "SELECT count(*) FROM orders";

/// What an agent saw, in order.
type Seen = Vec<(Instant, Outcome)>;

#[tokio::test]
async fn a_leader_that_dies_in_the_middle_of_a_change_leaves_no_sidecar_behind() -> Result<()> {
    with_namespace(async |space| {
        fixture::shop(space).await?;
        let mut sessions = Vec::new();
        for number in 0..AGENTS {
            let agent = Agent::start(space, fixture::pod(&format!("agent-{number}"))).await?;
            sessions.push(Arc::new(agent.session().await?));
        }
        let installation = Installation::alone(&space.client).await?;
        let outcome = async {
            for round in 0..ROUNDS {
                let outcome = Box::pin(one_round(space, &installation, &sessions, STEP * round)).await;
                outcome.with_context(|| format!("round {round}"))?;
            }
            Ok(())
        };
        let outcome = outcome.await;
        installation.ready().await?;
        outcome
    })
    .await
}

async fn one_round(
    space: &Space,
    installation: &Installation,
    sessions: &[Arc<Session>],
    delay: Duration,
) -> Result<()> {
    fixture::enforce(space, &[read_orders(), never_drop()]).await?;
    let leader = installation.leader().await?;
    let host = host(space, &leader).await?;
    let mut blow = host.aim(Process::Operator(&leader)).await?;
    let stop = watch::Sender::new(false);
    let begun = Arc::new(Barrier::new(sessions.len() + 1));
    let mut load = JoinSet::new();
    for session in sessions {
        load.spawn(busy(Arc::clone(session), Arc::clone(&begun), stop.subscribe()));
    }
    begun.wait().await;
    let removed = space.apply(fixture::policy(&[never_drop()])).await?;
    blow.strike(delay).await?;
    blow.fallen().await?;
    installation.replace(&leader.name_any()).await?;
    let generation = removed.metadata.generation.context("no generation")?;
    fixture::await_programmed(space, generation).await?;
    let programmed = Instant::now();
    for session in sessions {
        ensure!(session.attempt(READ).await? == Outcome::Refused, "Programmed, and still allowed");
    }
    stop.send_replace(true);
    while let Some(seen) = load.join_next().await {
        check(&seen??, programmed)?;
    }
    installation.ready().await
}

/// A pod on the leader's node, made when it is first needed there.
async fn host(space: &Space, leader: &Pod) -> Result<Host> {
    let name = Host::name_of(leader);
    match space.api::<Pod>().get_opt(&name).await? {
        Some(_) => Ok(Host::ready(space, &name).await?),
        None => Host::of(space, leader).await,
    }
}

/// Asks without a pause. Tells by `begun` that the first answer is there.
async fn busy(session: Arc<Session>, begun: Arc<Barrier>, mut stop: watch::Receiver<bool>) -> Result<Seen> {
    let mut seen = vec![(Instant::now(), session.attempt(READ).await?)];
    begun.wait().await;
    while !*stop.borrow_and_update() {
        let started = Instant::now();
        seen.push((started, session.attempt(READ).await?));
    }
    Ok(seen)
}

fn check(seen: &Seen, programmed: Instant) -> Result<()> {
    ensure!(seen.first().is_some_and(|(_, outcome)| *outcome == Outcome::Allowed), "it was never allowed");
    let first = seen.iter().position(|(_, outcome)| *outcome == Outcome::Refused);
    let after =
        first.map(|first| seen.iter().skip(first).filter(|(_, one)| *one == Outcome::Allowed).count());
    ensure!(after == Some(0), "allowed {after:?} times after the first refusal");
    let late = seen.iter().filter(|(at, one)| *at >= programmed && *one == Outcome::Allowed).count();
    ensure!(late == 0, "allowed {late} times after the status said that the Allow is gone");
    Ok(())
}
