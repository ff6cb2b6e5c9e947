//! The agent holds no credential: not in its environment, files, mounts, tokens, `/proc`, nor in what it is told.

use anyhow::{Context, Result, ensure};
use chaperone_e2e::{
    Space,
    agent::Agent,
    fixture::{self, merged},
    operator, with_namespace,
};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenReview},
    authorization::v1::LocalSubjectAccessReview,
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

/// Where a text is: in environments and command lines of processes, and in files. The pattern must not match itself.
fn search(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    format!(
        "pattern='[{first}]{rest}'
        for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do
          tr '\\0' '\\n' <$file 2>/dev/null | grep -q \"$pattern\" && echo $file
        done
        find / \\( -path /proc -o -path /sys -o -path /dev \\) -prune -o -type f \
          -exec grep -l \"$pattern\" {{}} + 2>/dev/null
        true"
    )
}

/// An agent that is root in its container and may read every file of it.
fn curious() -> Value {
    let mut pod = fixture::pod("agent");
    pod["spec"]["containers"][0] = merged(
        fixture::container("agent"),
        json!({
            "securityContext": {"runAsUser": 0},
            "env": [{"name": "DECOY", "value": "d3c0yd3c0y"}],
            "volumeMounts": [{"name": "work", "mountPath": "/scratch"}],
        }),
    );
    merged(pod, json!({"spec": {"volumes": [{"name": "work", "emptyDir": {}}]}}))
}

#[tokio::test]
async fn no_credential_is_to_be_found_in_the_agents_container() -> Result<()> {
    with_namespace(async |space| {
        let postgres = fixture::shop(space).await?;
        let agent = Agent::start(space, curious()).await?;
        agent.psql("SELECT count(*) FROM orders").await?.success()?;
        // The search finds what is there.
        agent.sh("echo d3c0yd3c0y >/scratch/decoy").await?.success()?;
        let decoy = agent.sh(&search("d3c0yd3c0y")).await?.success()?;
        assert!(decoy.contains("/scratch/decoy") && decoy.contains("/environ"), "{decoy}");
        let found = agent.sh(&search(&postgres.password)).await?.success()?;
        assert_eq!(found, "");
        let pod = serde_json::to_string(&agent.pod().await?)?;
        assert!(!pod.contains(&postgres.password));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_agent_sees_nothing_of_the_sidecar() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let mut pod = fixture::plain_pod("agent");
        pod["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 0});
        let agent = Agent::start(space, pod).await?;
        let processes = agent.sh("cat /proc/[0-9]*/comm").await?.success()?;
        assert!(!processes.contains("chaperone"), "{processes}");
        let mounts = agent.sh("cat /proc/self/mountinfo").await?.success()?;
        for volume in ["/chaperone-token", "/chaperone-spool", "/chaperone-empty"] {
            assert!(!mounts.contains(volume), "{mounts}");
        }
        // Nor can it become the sidecar's user, even as root.
        let pod = agent.pod().await?;
        let inits = pod.spec.and_then(|spec| spec.init_containers).context("no init containers")?;
        let security = inits[1].security_context.clone().context("no security context")?;
        let uid = security.run_as_user.context("no UID")?;
        let command = format!("busybox setuidgid {uid} id || busybox su -s /bin/sh -c id '#{uid}'");
        agent
            .sh(&format!("echo side:x:{uid}:{uid}::/:/bin/sh >>/etc/passwd; su side -c id || {command}"))
            .await?
            .failure()?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_agents_own_token_is_no_sidecars_and_reads_no_secret() -> Result<()> {
    with_namespace(async |space| {
        fixture::connect_to_nothing(space).await?;
        let agent = Agent::start(space, fixture::pod("agent")).await?;
        let token = agent.sh("cat /var/run/secrets/kubernetes.io/serviceaccount/token").await?.success()?;
        assert!(authenticates(space, &token, None).await?, "the token should be good for the API server");
        assert!(!authenticates(space, &token, Some("chaperone.dev")).await?);
        let user = format!("system:serviceaccount:{}:{}", space.name, fixture::ACCOUNT);
        assert!(!may_read_secret(space, &user).await?);
        // The operator may: the review itself works.
        let user = format!("system:serviceaccount:{}:{}", operator::NAMESPACE, operator::ACCOUNT);
        assert!(may_read_secret(space, &user).await?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_but_kubelets_mints_a_sidecars_token() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let mint = async |audience: &str| -> Result<TokenRequest, kube::Error> {
            let request: TokenRequest = serde_json::from_value(json!({
                "metadata": {}, "spec": {"audiences": [audience], "expirationSeconds": 600},
            }))
            .map_err(kube::Error::SerdeError)?;
            let accounts: Api<ServiceAccount> = space.api();
            accounts.create_token_request(fixture::ACCOUNT, &PostParams::default(), &request).await
        };
        mint("somebody.example.com").await?;
        let refusal = mint("chaperone.dev").await.err().context("it was minted")?.to_string();
        assert!(refusal.contains("only kubelets mint it"), "{refusal}");
        Ok(())
    })
    .await
}

async fn authenticates(space: &Space, token: &str, audience: Option<&str>) -> Result<bool> {
    let audiences: Vec<&str> = audience.into_iter().collect();
    let review = json!({"metadata": {}, "spec": {"token": token, "audiences": audiences}});
    let review: TokenReview = serde_json::from_value(review)?;
    let reviews: Api<TokenReview> = Api::all(space.client.clone());
    let status = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
    Ok(status.authenticated == Some(true))
}

async fn may_read_secret(space: &Space, user: &str) -> Result<bool> {
    ensure!(!user.is_empty());
    let review: LocalSubjectAccessReview = serde_json::from_value(json!({
        "metadata": {"namespace": space.name},
        "spec": {"user": user, "resourceAttributes": {
            "namespace": space.name, "verb": "get", "resource": "secrets", "name": "orders-app",
        }},
    }))?;
    let created = space.api::<LocalSubjectAccessReview>().create(&PostParams::default(), &review).await?;
    Ok(created.status.is_some_and(|status| status.allowed))
}
