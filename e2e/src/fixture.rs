//! The objects that most tests need, as JSON: a test changes what it is about and applies the rest as it is.

mod postgres;

pub use postgres::Postgres;

use anyhow::{Context, Result};
use kube::{Api, runtime::wait::await_condition};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{Space, agent::Agent, operator, wait::PATIENCE};

/// The service account of agents.
pub const ACCOUNT: &str = "planner";
/// The Connection's name, and its loopback port in agents' pods.
pub const CONNECTION: &str = "orders-db";
/// Where sessions of a driver come in by port-forward.
pub const AGENT_PORT: u16 = 15432;
/// The policy's name.
pub const POLICY: &str = "planners";
/// A shell, `psql`, `pgbench`, busybox.
pub const IMAGE: &str = "chaperone.local/postgres:1";

/// Changes an object as a merge patch does.
#[must_use]
pub fn merged(mut object: Value, patch: Value) -> Value {
    json_patch::merge(&mut object, &patch);
    object
}

/// The Secret that the Connection names.
#[must_use]
pub fn secret(username: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-app"},
        "stringData": {"username": username, "password": password},
    })
}

/// The operator's right to read one Secret, as `kubectl chaperone grant` writes it.
#[must_use]
pub fn grant(secret: &str) -> [Value; 2] {
    let name = format!("chaperone-read-{secret}");
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    [
        json!({
            "apiVersion": version, "kind": "Role", "metadata": {"name": name},
            "rules": [{
                "apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret],
                "verbs": ["get", "list", "watch"],
            }],
        }),
        json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": operator::ACCOUNT, "namespace": operator::NAMESPACE}],
        }),
    ]
}

/// The service account of agents.
#[must_use]
pub fn account() -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}})
}

/// A Connection to the server at `host`.
#[must_use]
pub fn connection(host: &str) -> Value {
    json!({
        "apiVersion": "chaperone.dev/v1alpha1", "kind": "Connection", "metadata": {"name": CONNECTION},
        "spec": {
            "protocol": "Postgres",
            "upstream": {"host": host, "port": 5432, "tls": {"mode": "Disable"}},
            "postgres": {"database": "shop"},
            "credential": {"secretRef": {"name": "orders-app"}},
            "agent": {"port": AGENT_PORT},
        },
    })
}

/// An AccessPolicy with these rules for agents.
#[must_use]
pub fn policy(rules: &[Value]) -> Value {
    json!({
        "apiVersion": "chaperone.dev/v1alpha1", "kind": "AccessPolicy", "metadata": {"name": POLICY},
        "spec": {
            "subjects": [{"serviceAccounts": [ACCOUNT]}],
            "connections": {"names": [CONNECTION]},
            "rules": rules,
        },
    })
}

/// Orders may be read.
#[must_use]
pub fn read_orders() -> Value {
    json!({"name": "read-orders", "verdict": "Allow", "sql": {"verbs": ["Read"], "relations": ["public.orders"]}})
}

/// Names of customers may be read, and nothing else of them.
#[must_use]
pub fn read_names() -> Value {
    json!({
        "name": "customers-names", "verdict": "Allow",
        "sql": {"verbs": ["Select"], "relations": ["public.customers"], "columns": ["id", "name"]},
    })
}

/// Nothing is dropped.
#[must_use]
pub fn never_drop() -> Value {
    json!({
        "name": "never-drop", "verdict": "Deny", "sql": {"verbs": ["Drop", "Truncate"], "relations": ["*.*"]},
        "message": "ask the data team",
    })
}

/// An agent's pod that asks for the Connection.
#[must_use]
pub fn pod(name: &str) -> Value {
    merged(plain_pod(name), json!({"metadata": {"annotations": {"chaperone.dev/connections": CONNECTION}}}))
}

/// A pod that asks for nothing and waits to be told to end.
#[must_use]
pub fn plain_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "containers": [container("agent")],
        },
    })
}

/// A container with a shell, `psql` and busybox that waits to be told to end.
#[must_use]
pub fn container(name: &str) -> Value {
    json!({
        "name": name, "image": IMAGE,
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"],
    })
}

/// A pod without a sidecar that runs a command.
#[must_use]
pub fn server_pod(name: &str, command: &str) -> Value {
    merged(
        plain_pod(name),
        json!({
            "metadata": {"annotations": {"chaperone.dev/inject": "false"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "agent", "image": IMAGE, "command": ["sh", "-c", command]},
            ]},
        }),
    )
}

/// A PostgreSQL, a Connection to it, and a policy by which agents may read orders and names of customers.
///
/// # Errors
/// When something of it is refused, or does not become ready.
pub async fn shop(space: &Space) -> Result<Postgres> {
    let postgres = Postgres::start(space).await?;
    connect(space, &postgres.host, &postgres.password).await?;
    space.apply(policy(&[read_orders(), read_names(), never_drop()])).await?;
    Ok(postgres)
}

/// A Connection to a server: account, Secret, grant.
///
/// # Errors
/// When something of it is refused.
pub async fn connect(space: &Space, host: &str, password: &str) -> Result<()> {
    space.apply_all([account(), secret("app", password)]).await?;
    space.apply_all(grant("orders-app")).await?;
    space.apply(connection(host)).await?;
    Ok(())
}

/// A Connection to a server that is not there, for tests that need none.
///
/// # Errors
/// When something of it is refused.
pub async fn connect_to_nothing(space: &Space) -> Result<()> {
    connect(space, "db.nowhere.svc.cluster.local", "unused").await
}

/// Applies a policy with these rules and waits until it is live in every agent.
///
/// # Errors
/// When it is refused, or does not become live.
pub async fn enforce(space: &Space, rules: &[Value]) -> Result<()> {
    let generation = space.apply(policy(rules)).await?.metadata.generation.context("no generation")?;
    await_programmed(space, generation).await
}

/// Waits for the moment at which the status says that a generation of the policy is live in every agent.
///
/// # Errors
/// When it does not become so.
pub async fn await_programmed(space: &Space, generation: i64) -> Result<()> {
    let programmed = |policy: Option<&api::AccessPolicy>| {
        let status = policy.and_then(|policy| policy.status.as_ref());
        status.is_some_and(|status| {
            api::condition::holds(&status.conditions, api::condition::PROGRAMMED, generation)
        })
    };
    let policies: Api<api::AccessPolicy> = space.api();
    let found = timeout(PATIENCE, Box::pin(await_condition(policies, POLICY, programmed))).await;
    found.with_context(|| format!("generation {generation} of the policy is not Programmed"))??;
    Ok(())
}

/// A shop and an agent that is ready to use it.
///
/// # Errors
/// When something of it is refused, or does not become ready.
pub async fn shop_with_agent(space: &Space) -> Result<(Postgres, Agent)> {
    // The server's start takes longest; nothing of the rest needs it.
    space.apply(account()).await?;
    let postgres = shop(space).await?;
    let agent = Agent::start(space, pod("agent")).await?;
    agent.psql("SELECT 1").await?.success()?;
    Ok((postgres, agent))
}
