//! What was asked and decided is recorded, with who asked, and changing it later is found.

use anyhow::{Result, bail};
use audit::{Event, Statement, StatementText, StatementVerdict, Verifier};
use chaperone_e2e::{
    fixture::{self, merged},
    kubectl,
    records::{self, Records},
    with_namespace,
};
use serde_json::json;

#[tokio::test]
async fn statements_are_recorded_with_their_verdict_and_the_rules_behind_it() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let mut records = Records::of(&agent).await?;
        agent.psql("SELECT count(*) FROM orders /* allowed */").await?.success()?;
        agent.psql("DROP TABLE orders /* dropped */").await?.failure()?;
        agent.psql("SELECT ssn FROM customers /* hidden */").await?.failure()?;
        let rule = |name: &str| format!("{}/{}:{name}", space.name, fixture::POLICY);
        let allowed = records.statement("/* allowed */").await?;
        assert_eq!(allowed.verdict, StatementVerdict::Allow { rules: vec![rule("read-orders")] });
        assert!(allowed.accesses.iter().any(|access| access.contains("public.orders")), "{allowed:?}");
        assert_eq!(denied(&records.statement("/* dropped */").await?)?.0, Some(rule("never-drop")));
        let (none, reason) = denied(&records.statement("/* hidden */").await?)?;
        assert!(none.is_none() && reason.contains("public.customers.ssn"), "{none:?} {reason}");
        let ended = |event: &Event| matches!(event, Event::SessionEnd(end) if end.session == allowed.session);
        let Event::SessionEnd(end) = records.find("the session's end", ended).await? else { bail!("no end") };
        assert_eq!((end.statements, end.refused), (1, 0));
        Ok(())
    })
    .await
}

/// The rule and the reason of a refusal.
fn denied(statement: &Statement) -> Result<(Option<String>, String)> {
    let StatementVerdict::Deny { rule, reason } = &statement.verdict else { bail!("{statement:?}") };
    Ok((rule.clone(), reason.clone()))
}

#[tokio::test]
async fn a_policy_may_keep_the_text_out_of_the_records() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let fingerprint = json!({"spec": {"recording": {"statements": "Fingerprint"}}});
        space.apply(merged(fixture::policy(&[fixture::read_orders()]), fingerprint)).await?;
        let mut records = Records::of(&agent).await?;
        // Until the new level is live, texts are still recorded.
        let secret = chaperone_e2e::wait::eventually("a fingerprint", async || {
            agent.psql("SELECT id FROM orders WHERE customer = 4711").await?.success()?;
            let wanted = |event: &Event| matches!(event, Event::Statement(_));
            records.find("a statement", wanted).await?;
            let last = records.found().iter().rev().find_map(|record| {
                let Event::Statement(statement) = &record.event else { return None };
                Some(statement.text.clone())
            });
            Ok(last.filter(|text| matches!(text, StatementText::Fingerprint(_))))
        })
        .await?;
        assert!(!format!("{secret:?}").contains("4711"), "{secret:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_records_are_whole_hold_no_credential_and_tampering_is_found() -> Result<()> {
    with_namespace(async |space| {
        let (postgres, agent) = fixture::shop_with_agent(space).await?;
        let mut records = Records::of(&agent).await?;
        agent.psql("SELECT count(*) FROM orders /* verified */").await?.success()?;
        records.statement("/* verified */").await?;
        let report = records::verify(&space.client).await?;
        assert!(report.is_intact() && report.records > 0, "{report:?}");
        let mut segments = records::all(&space.client).await?;
        let holds = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
        assert!(!segments.iter().any(|(_, bytes)| holds(bytes, &postgres.password)));
        // Somebody edits one.
        let edited = segments.iter_mut().find(|(_, bytes)| holds(bytes, "/* verified */"));
        let Some((_, bytes)) = edited else { bail!("the statement is in no segment") };
        *bytes = String::from_utf8_lossy(bytes).replace("/* verified */", "/* innocent */").into_bytes();
        let mut verifier = Verifier::new();
        segments.iter().for_each(|(name, bytes)| verifier.add(name, bytes));
        assert!(!verifier.report().is_intact());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_plugin_shows_and_verifies_them() -> Result<()> {
    with_namespace(async |space| {
        let (_, agent) = fixture::shop_with_agent(space).await?;
        let mut records = Records::of(&agent).await?;
        agent.psql("DROP TABLE orders /* shown */").await?.failure()?;
        records.statement("/* shown */").await?;
        let tail = ["audit", "tail", "--pod", &agent.name, "--refused"];
        let said = kubectl::plugin(&tail).await?.success()?;
        assert!(said.contains("DENY  DROP TABLE orders /* shown */"), "{said}");
        let said = kubectl::plugin(&["audit", "verify"]).await?.success()?;
        assert!(said.contains("intact"), "{said}");
        Ok(())
    })
    .await
}
