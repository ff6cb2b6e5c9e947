//! A Secret that changes counts at the next login, and fails nobody.

use anyhow::Result;
use chaperone_e2e::{
    fixture,
    wait::{eventually, when},
    with_namespace,
};

/// New sessions all the time, and each with a transaction.
const LOAD: &str = "echo 'SELECT count(*) FROM orders;' >/tmp/read.sql
while [ ! -e /tmp/enough ]; do pgbench -n -C -c 2 -T 2 -f /tmp/read.sql 2>&1 || exit 1; done";

#[tokio::test]
async fn a_rotated_secret_fails_no_transaction() -> Result<()> {
    with_namespace(async |space| {
        let (postgres, agent) = fixture::shop_with_agent(space).await?;
        let mut live = agent.live().await?;
        live.ask("SELECT 1;").await?;
        let rotate = async {
            let role = "CREATE ROLE app_next LOGIN PASSWORD 'next' IN ROLE app";
            postgres.admin("shop", role).await?.success()?;
            space.apply(fixture::secret("app_next", "next")).await?;
            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                            AND usename IS DISTINCT FROM 'app_next' AND pid <> pg_backend_pid()";
            eventually("sessions of the new role alone, but for the one that stays", async || {
                let next = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app_next'";
                let next = postgres.admin("shop", next).await?.success()?;
                Ok(when(next != "0" && postgres.admin("shop", sessions).await?.success()? == "1"))
            })
            .await?;
            postgres.admin("shop", "ALTER ROLE app NOLOGIN").await?.success()?;
            assert_eq!(agent.psql("SELECT current_user").await?.success()?, "app_next");
            agent.sh("touch /tmp/enough").await?.success()
        };
        let (load, _) = tokio::try_join!(agent.sh(LOAD), rotate)?;
        let said = load.success()?;
        assert!(said.contains("number of failed transactions: 0 "), "{said}");
        let failed = said.lines().filter(|line| line.contains("failed") && !line.contains(": 0 "));
        assert_eq!(failed.count(), 0, "{said}");
        // The session of before is the server's and lives on.
        assert_eq!(live.ask("SELECT current_user;").await?, "app");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wrong_password_is_the_upstreams_refusal_until_it_is_mended() -> Result<()> {
    with_namespace(async |space| {
        let (postgres, agent) = fixture::shop_with_agent(space).await?;
        postgres.admin("shop", "ALTER ROLE app PASSWORD 'changed'").await?.success()?;
        let said = agent.psql("SELECT 1").await?.failure()?;
        assert!(said.contains("refuses the credential that the Connection names"), "{said}");
        assert!(!said.contains(&postgres.password), "{said}");
        space.apply(fixture::secret("app", "changed")).await?;
        eventually("a login with the new password", async || {
            Ok(when(agent.psql("SELECT 1").await?.code == 0))
        })
        .await
    })
    .await
}
