//! The operator's roots are rotated and the chart is applied again and again, and no pod notices.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use chaperone_e2e::{
    Space, fixture, kubectl, operator,
    wait::{eventually, when},
    with_namespace,
};
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::{Pod, Secret},
    },
};
use kube::{Api, api::PostParams};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};

const SECRET: &str = "chaperone-certificates";
const CONFIGURATION: &str = "chaperone";
const APPLICATIONS: u32 = 20;

#[tokio::test]
async fn no_pod_is_refused_while_roots_are_rotated_and_the_chart_is_applied_again() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::account()).await?;
        let (done, created) = (AtomicBool::new(false), AtomicU32::new(0));
        let changes = async {
            let outcome = tokio::try_join!(rotate(space), apply_again());
            done.store(true, Ordering::Relaxed);
            outcome.map(drop)
        };
        tokio::try_join!(changes, create_pods(space, &done, &created))?;
        assert!(created.load(Ordering::Relaxed) > 100, "{created:?} pods are no load");
        Ok(())
    })
    .await
}

/// Creates pods one after the other, as a dry run: they pass all webhooks, and none is stored.
async fn create_pods(space: &Space, done: &AtomicBool, created: &AtomicU32) -> Result<()> {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let pod: Pod = serde_json::from_value(fixture::plain_pod("agent"))?;
    while !done.load(Ordering::Relaxed) {
        let pod = space.api::<Pod>().create(&params, &pod).await;
        let pod = pod.with_context(|| format!("after {created:?} pods"))?;
        let injected =
            pod.metadata.labels.is_some_and(|labels| labels.contains_key("chaperone.dev/injected"));
        ensure!(injected, "a pod without a sidecar");
        created.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The installed chart as tools apply it that follow a repository: on the server's side, or by their own merge.
async fn apply_again() -> Result<()> {
    let get = ["get", "manifest", "chaperone", "--namespace", operator::NAMESPACE];
    let manifest = kubectl::helm(&get).await?.success()?;
    for number in 0..APPLICATIONS {
        let server_side =
            ["apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"];
        let arguments = if number % 2 == 0 { &server_side[..] } else { &["apply", "-f", "-"] };
        kubectl::kubectl(arguments, &manifest).await?.success()?;
    }
    Ok(())
}

/// The three states of a rotation: as before, the next root known, the next root signing. Years lie between
/// them in real life; here as long as it takes until all know.
async fn rotate(space: &Space) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(space.client.clone(), operator::NAMESPACE);
    let mut secret = secrets.get(SECRET).await?;
    let (certificate, key) = root()?;
    let mut data = secret.data.take().unwrap_or_default();
    ensure!(!data.contains_key("next.crt"), "a rotation is under way");
    data.insert("next.crt".to_owned(), ByteString(certificate.clone().into_bytes()));
    data.insert("next.key".to_owned(), ByteString(key.into_bytes()));
    secret.data = Some(data);
    let mut secret = secrets.replace(SECRET, &PostParams::default(), &secret).await?;
    known(space, "the next root in every bundle", |bundle| bundle.contains(&certificate)).await?;

    let mut data = secret.data.take().unwrap_or_default();
    let mut replace = |from: &str, to: &str| -> Result<Option<ByteString>> {
        let new = data.remove(from).with_context(|| format!("no {from}"))?;
        Ok(data.insert(to.to_owned(), new))
    };
    let old = replace("next.crt", "root.crt")?.context("no root.crt")?;
    replace("next.key", "root.key")?;
    let retired = data.remove("retired.crt").map(|retired| retired.0).unwrap_or_default();
    data.insert("retired.crt".to_owned(), ByteString([retired, old.0].concat()));
    secret.data = Some(data);
    secrets.replace(SECRET, &PostParams::default(), &secret).await?;
    known(space, "the new root first in every bundle", |bundle| bundle.starts_with(&certificate)).await
}

async fn known(space: &Space, what: &str, holds: impl Fn(&str) -> bool) -> Result<()> {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(space.client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(space.client.clone());
    eventually(what, async || {
        let mutating = mutating.get(CONFIGURATION).await?.webhooks.unwrap_or_default();
        let validating = validating.get(CONFIGURATION).await?.webhooks.unwrap_or_default();
        let mutating = mutating.into_iter().map(|webhook| webhook.client_config);
        let validating = validating.into_iter().map(|webhook| webhook.client_config);
        let bundles = mutating.chain(validating).map(|config| config.ca_bundle.unwrap_or_default());
        let bundles: Vec<String> =
            bundles.map(|bundle| String::from_utf8_lossy(&bundle.0).into_owned()).collect();
        Ok(when(!bundles.is_empty() && bundles.iter().all(|bundle| holds(bundle))))
    })
    .await
}

/// A root as the operator makes them.
fn root() -> Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    let mark = uuid::Uuid::new_v4().simple().to_string();
    params.distinguished_name.push(DnType::CommonName, format!("Chaperone root {mark}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}
