//! Pods that would undo the fence are not created, and the reason says what to write instead.

use anyhow::Result;
use chaperone_e2e::{
    agent::{Agent, SIDECAR},
    fixture::{self, merged},
    with_labels, with_namespace,
};
use serde_json::{Value, json};

/// A change of the pod's spec, and what the refusal says.
fn spec(change: Value) -> Value {
    merged(fixture::plain_pod("agent"), json!({"spec": change}))
}

/// A change of the agent's container.
fn container(change: Value) -> Value {
    let changed = merged(fixture::container("agent"), change);
    spec(json!({"containers": [changed]}))
}

fn annotated(key: &str, value: &str) -> Value {
    merged(fixture::plain_pod("agent"), json!({"metadata": {"annotations": {key: value}}}))
}

fn capability(name: &str) -> Value {
    container(json!({"securityContext": {"capabilities": {"add": [name]}}}))
}

fn volume(name: &str, source: Value) -> Value {
    spec(json!({"volumes": [merged(json!({"name": name}), source)]}))
}

#[tokio::test]
async fn pods_that_would_undo_the_fence_are_refused_with_a_reason() -> Result<()> {
    let token = json!({"projected": {"sources": [
        {"serviceAccountToken": {"audience": "chaperone.dev", "path": "token"}},
    ]}});
    let cases = [
        (spec(json!({"hostNetwork": true})), "remove `spec.hostNetwork`"),
        (spec(json!({"hostPID": true})), "remove `spec.hostPID`"),
        (spec(json!({"hostIPC": true})), "remove `spec.hostIPC`"),
        (spec(json!({"shareProcessNamespace": true})), "remove `spec.shareProcessNamespace`"),
        (container(json!({"securityContext": {"privileged": true}})), "remove `securityContext.privileged`"),
        (capability("NET_ADMIN"), "remove `NET_ADMIN`"),
        (capability("SYS_PTRACE"), "remove `SYS_PTRACE`"),
        (capability("SETUID"), "remove `SETUID`"),
        (container(json!({"ports": [{"containerPort": 15006}]})), "choose another port"),
        (
            container(json!({"name": "chaperone-helper"})),
            "choose a name that does not start with `chaperone-`",
        ),
        (
            volume("chaperone-data", json!({"emptyDir": {}})),
            "choose a name that does not start with `chaperone-`",
        ),
        (
            volume("kubelet", json!({"hostPath": {"path": "/var/lib/kubelet"}})),
            "mount a directory of your own",
        ),
        (volume("token", token), "only the sidecar may have one"),
        (annotated("chaperone.dev/inject", "maybe"), "write \"true\" or \"false\""),
        (annotated("chaperone.dev/sidecar-memory", "lots"), "write an amount such as `64Mi`"),
        (annotated("chaperone.dev/connections", "orders-db"), "there is no such Connection"),
        (annotated("chaperone.dev/connections", "Not A Name"), "write names of Connections"),
    ];
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        for (pod, reason) in cases {
            let refusal = space.refusal(pod.clone()).await?;
            assert!(refusal.contains(reason), "`{refusal}` should say `{reason}`, for {pod}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_namespace_whose_pod_security_level_forbids_the_fence_is_named() -> Result<()> {
    let labels =
        json!({"chaperone.dev/injection": "enabled", "pod-security.kubernetes.io/enforce": "baseline"});
    with_labels(labels, async |space| {
        space.apply(fixture::account()).await?;
        let refusal = space.refusal(fixture::plain_pod("agent")).await?;
        assert!(refusal.contains("Pod Security level `baseline`"), "{refusal}");
        assert!(refusal.contains("pod-security.kubernetes.io/enforce=privileged"), "{refusal}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nobody_gets_into_a_sidecar() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let agent = Agent::start(space, fixture::plain_pod("agent")).await?;
        let refused = space.exec(&agent.name, SIDECAR, &["/chaperone-sidecar", "--version"]).await;
        let refusal = format!("{:#}", refused.err().unwrap_or_else(|| anyhow::anyhow!("it was let in")));
        // The client shows no more than the status of the upgrade that did not happen.
        assert!(!refusal.contains("it was let in"), "{refusal}");
        // The agent's own container is as open as before.
        agent.sh("true").await?.success()?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_injection_wrote_cannot_be_changed_later() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        space.apply(fixture::plain_pod("agent")).await?;
        let label = json!({"metadata": {"labels": {"chaperone.dev/injected": "false"}}});
        let refusal = space.refusal(merged(fixture::plain_pod("agent"), label)).await?;
        assert!(refusal.contains("`chaperone.dev/injected` is written by Chaperone alone"), "{refusal}");
        Ok(())
    })
    .await
}
