//! A changed policy counts at the next statement of sessions that live.

use anyhow::Result;
use chaperone_e2e::{
    fixture::{self, never_drop, read_names, read_orders},
    session::{Outcome, outcome},
    wait::{eventually, when},
    with_namespace,
};
use serde_json::json;

const READ: &str = "SELECT count(*) FROM orders";

#[tokio::test]
async fn a_rule_that_goes_and_comes_back_counts_in_a_live_psql() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let mut live = agent.live().await?;
        assert_eq!(live.ask("SELECT count(*) FROM orders;").await?, "100");
        // One transaction, so that it is the same session beyond doubt.
        live.ask("BEGIN;").await?;
        fixture::enforce(space, &[read_names(), never_drop()]).await?;
        let said = live.ask("SELECT count(*) FROM orders;").await?;
        assert!(said.contains("refused by policy"), "{said}");
        assert_eq!(live.ask("ROLLBACK;").await?, "");
        fixture::enforce(space, &[read_orders(), never_drop()]).await?;
        assert_eq!(live.ask("SELECT count(*) FROM orders;").await?, "100");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn prepared_statements_are_decided_again() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let session = agent.session().await?;
        // By the protocol, and by SQL.
        let prepared = session.client.prepare(READ).await?;
        session.client.simple_query(&format!("PREPARE by_sql AS {READ}")).await?;
        assert_eq!(outcome(session.client.query(&prepared, &[]).await)?, Outcome::Allowed);
        assert_eq!(session.attempt("EXECUTE by_sql").await?, Outcome::Allowed);
        fixture::enforce(space, &[read_names()]).await?;
        assert_eq!(outcome(session.client.query(&prepared, &[]).await)?, Outcome::Refused);
        assert_eq!(session.attempt("EXECUTE by_sql").await?, Outcome::Refused);
        fixture::enforce(space, &[read_names(), read_orders()]).await?;
        assert_eq!(outcome(session.client.query(&prepared, &[]).await)?, Outcome::Allowed);
        assert_eq!(session.attempt("EXECUTE by_sql").await?, Outcome::Allowed);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_deny_that_comes_wins_over_the_allow_that_stays() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let session = agent.session().await?;
        assert_eq!(session.attempt(READ).await?, Outcome::Allowed);
        let closed = json!({
            "name": "closed", "verdict": "Deny", "sql": {"verbs": ["Read"], "relations": ["public.orders"]},
            "message": "closed for the night",
        });
        fixture::enforce(space, &[read_orders(), closed]).await?;
        assert_eq!(session.attempt(READ).await?, Outcome::Refused);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_its_policy_an_agent_may_nothing() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let session = agent.session().await?;
        assert_eq!(session.attempt(READ).await?, Outcome::Allowed);
        space.remove::<api::AccessPolicy>(fixture::POLICY).await?;
        eventually("the end of the policy", async || {
            Ok(when(session.attempt(READ).await? == Outcome::Refused))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn the_status_says_on_how_many_pods_a_policy_is_live() -> Result<()> {
    with_namespace(async |space| {
        fixture::shop_with_agent(space).await?;
        eventually("the counts", async || {
            let policy: api::AccessPolicy = space.get(fixture::POLICY).await?;
            let status = policy.status.unwrap_or_default();
            Ok(when(status.pods == Some(1) && status.pods_on_generation == Some(1)))
        })
        .await
    })
    .await
}
