//! The main job: an unmodified psql works without a password, and what is forbidden never arrives.

use anyhow::Result;
use chaperone_e2e::{
    agent::Agent,
    fixture::{self, merged},
    with_namespace,
};
use serde_json::json;

#[tokio::test]
async fn psql_reads_what_the_policy_allows_without_a_password() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        assert_eq!(agent.psql("SELECT count(*) FROM orders").await?.success()?, "100");
        let names = agent.psql("SELECT name FROM customers ORDER BY id").await?.success()?;
        assert_eq!(names, "Ann\nBob");
        // The server knows the role that the Connection logs in as.
        assert_eq!(agent.psql("SELECT current_user").await?.success()?, "app");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refused_statement_never_arrives() -> Result<()> {
    with_namespace(async |space| {
        let (postgres, agent) = fixture::shop_with_agent(space).await?;
        let refused = [
            ("DROP TABLE orders /* first */", "ask the data team"),
            ("SELECT ssn FROM customers /* second */", "customers.ssn"),
            ("DELETE FROM orders /* third */", "orders"),
            ("SELECT 1; DROP TABLE orders /* fourth */", "ask the data team"),
            ("SELECT pg_read_file('/etc/passwd') /* fifth */", "pg_read_file"),
        ];
        for (statement, reason) in refused {
            let said = agent.psql(statement).await?.failure()?;
            assert!(said.contains("refused by policy") && said.contains(reason), "{statement}: {said}");
        }
        agent.psql("SELECT count(*) FROM orders /* last */").await?.success()?;
        postgres.saw("/* last */").await?;
        let log = postgres.log().await?;
        for marker in ["first", "second", "third", "fourth", "fifth"] {
            assert!(!log.contains(&format!("/* {marker} */")), "{log}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_refusal_says_what_is_missing_and_the_session_lives_on() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let mut live = agent.live().await?;
        let said = live.ask("SELECT ssn FROM customers;").await?;
        assert!(said.contains("ERROR:  refused by policy: Select public.customers.ssn"), "{said}");
        assert!(said.contains("HINT:  to allow it, add `Select public.customers.ssn`"), "{said}");
        assert_eq!(live.ask("SELECT count(*) FROM orders;").await?, "100");
        // The transaction is aborted as the server itself does it.
        let said = live.ask("BEGIN; DELETE FROM orders;\nSELECT 1;\nROLLBACK;\nSELECT 2;").await?;
        assert!(said.contains("current transaction is aborted") && said.ends_with('2'), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn another_service_account_may_nothing() -> Result<()> {
    with_namespace(async |space| {
        fixture::shop(space).await?;
        let stranger =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stranger"}});
        space.apply(stranger).await?;
        let pod = merged(fixture::pod("agent"), json!({"spec": {"serviceAccountName": "stranger"}}));
        let agent = Agent::start(space, pod).await?;
        let said = agent.psql("SELECT count(*) FROM orders").await?.failure()?;
        assert!(said.contains("no rule allows this pod anything"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_policy_that_selects_labels_concerns_pods_that_had_them_at_admission() -> Result<()> {
    with_namespace(async |space| {
        fixture::shop(space).await?;
        let mut policy = fixture::policy(&[fixture::read_orders()]);
        policy["spec"]["subjects"][0]["podSelector"] = json!({"matchLabels": {"role": "reader"}});
        space.apply(policy).await?;
        let labelled = |name: &str, role: &str| {
            merged(fixture::pod(name), json!({"metadata": {"labels": {"role": role}}}))
        };
        let reader = Agent::start(space, labelled("reader", "reader")).await?;
        reader.psql("SELECT count(*) FROM orders").await?.success()?;
        let writer = Agent::start(space, labelled("writer", "writer")).await?;
        writer.psql("SELECT count(*) FROM orders").await?.failure()?;
        // A label of later does not count.
        space.apply(labelled("writer", "reader")).await?;
        writer.psql("SELECT count(*) FROM orders").await?.failure()?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_connection_of_another_namespace_is_used_where_its_owner_allows_it() -> Result<()> {
    with_namespace(async |owner| {
        let postgres = fixture::shop(owner).await?;
        with_namespace(async |guest| {
            guest.apply(fixture::account()).await?;
            let wanted = format!("{}/{}", owner.name, fixture::CONNECTION);
            let annotation = json!({"metadata": {"annotations": {"chaperone.dev/connections": wanted}}});
            let pod = merged(fixture::plain_pod("agent"), annotation);
            let refusal = guest.refusal(pod.clone()).await?;
            assert!(refusal.contains("`spec.allowedNamespaces.names`"), "{refusal}");
            let allowed = json!({"spec": {"allowedNamespaces": {"names": [guest.name]}}});
            owner.apply(merged(fixture::connection(&postgres.host), allowed)).await?;
            let mut policy = fixture::policy(&[fixture::read_orders()]);
            policy["spec"]["subjects"][0]["namespaces"] = json!([guest.name]);
            owner.apply(policy).await?;
            let agent = Agent::start(guest, pod).await?;
            assert_eq!(agent.psql("SELECT count(*) FROM orders").await?.success()?, "100");
            Ok(())
        })
        .await
    })
    .await
}
