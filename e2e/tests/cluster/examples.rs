//! Every example is taken by the API server as it is, and its resources become Ready.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use chaperone_e2e::{
    Space, fixture, kubectl,
    wait::{eventually, when},
    with_labels,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::json;

/// Names of namespaces in examples that bring their own: each gets one of this test's.
const NAMESPACES: [&str; 3] = ["shop-gitops", "data", "agents"];

#[tokio::test]
async fn examples_become_ready() -> Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut applied = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(&path)?;
            with_labels(json!({}), async |space| {
                example(space, &text).await.with_context(|| path.display().to_string())
            })
            .await?;
            applied += 1;
        }
    }
    ensure!(applied > 3, "only {applied} examples were found");
    Ok(())
}

async fn example(space: &Space, text: &str) -> Result<()> {
    let mut text = text.replace("postgres:17", fixture::IMAGE);
    let mut own = Vec::new();
    for name in NAMESPACES.into_iter().filter(|name| brings(&text, name)).collect::<Vec<_>>() {
        let space = space.beside(&format!("{}-{name}", space.name));
        text = replace_word(&text, name, &space.name);
        space.own_cluster("v1", "Namespace", &space.name);
        own.push(space);
    }
    if own.is_empty() {
        kubectl::kubectl(&["apply", "-n", &space.name, "-f", "-"], &text).await?.success()?;
        own.push(space.clone());
    } else {
        kubectl::kubectl(&["apply", "-f", "-"], &text).await?.success()?;
    }
    for space in &own {
        grant(space).await?;
    }
    for space in &own {
        become_ready(space).await?;
    }
    Ok(())
}

/// Whether an example has a Namespace of this name in it.
fn brings(text: &str, name: &str) -> bool {
    let forms = [
        format!("kind: Namespace\nmetadata: {{name: {name}}}"),
        format!("kind: Namespace\nmetadata:\n  name: {name}\n"),
    ];
    forms.iter().any(|form| text.contains(form))
}

/// The right to what each Connection names, as the examples say.
async fn grant(space: &Space) -> Result<()> {
    let connections: Api<api::Connection> = space.api();
    for connection in connections.list(&ListParams::default()).await? {
        if let Some(secret) = connection.spec.credential.secret_ref {
            let arguments = ["grant", &secret.name, "-n", &space.name, "--apply"];
            kubectl::plugin(&arguments).await?.success()?;
        }
        let bundle = connection.spec.upstream.tls.and_then(|tls| tls.ca_bundle?.config_map_ref);
        if let Some(bundle) = bundle {
            let arguments = ["grant", &bundle.name, "-n", &space.name, "--kind", "config-map", "--apply"];
            kubectl::plugin(&arguments).await?.success()?;
        }
    }
    Ok(())
}

async fn become_ready(space: &Space) -> Result<()> {
    let (connections, policies): (Api<api::Connection>, Api<api::AccessPolicy>) = (space.api(), space.api());
    eventually("all resources of the example being Ready", async || {
        let mut conditions = Vec::new();
        for connection in connections.list(&ListParams::default()).await? {
            conditions.push((connection.name_any(), connection.status.unwrap_or_default().conditions));
        }
        for policy in policies.list(&ListParams::default()).await? {
            conditions.push((policy.name_any(), policy.status.unwrap_or_default().conditions));
        }
        let waiting = conditions
            .iter()
            .find(|(_, all)| !all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
        if let Some((name, conditions)) = waiting {
            anyhow::bail!("`{name}`: {conditions:?}");
        }
        Ok(when(true))
    })
    .await
}

/// Replaces whole words.
fn replace_word(text: &str, word: &str, by: &str) -> String {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut replaced = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        let whole = !before.ends_with(part) && !after.starts_with(part);
        replaced.push_str(before);
        replaced.push_str(if whole { by } else { word });
        rest = after;
    }
    replaced + rest
}
