//! The webhooks: configured, trusted, answering.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
    },
    core::v1::{Container, Pod, PodSpec},
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};

use super::{
    Seen,
    certificate::{self, Trust},
    operator,
    report::Report,
    workloads::{INJECT, INJECTED, labelled},
};
use crate::{cluster::Cluster, output::reason};

const SECTION: &str = "webhooks";
/// Both configurations.
const CONFIGURATION: &str = "chaperone";
/// The Service in front of all replicas.
const SERVICE: &str = "chaperone-webhook";
/// The operator's port behind it.
const PORT: u16 = 8443;
const INSTALL: &str = "helm upgrade --install chaperone charts/chaperone";
const FENCE: &str = "chaperone-fence";

/// A webhook of either configuration.
struct Webhook {
    name: String,
    client: WebhookClientConfig,
    fails_closed: bool,
}

impl Webhook {
    fn new(name: String, client: WebhookClientConfig, failure_policy: Option<String>) -> Self {
        Self { name, client, fails_closed: failure_policy.as_deref() == Some("Fail") }
    }
}

/// Both configurations, the certificate that they trust, and the one that is served.
pub(super) async fn configurations(cluster: &Cluster, report: &mut Report, seen: &Seen) {
    let client = &cluster.client;
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone()).get_opt(CONFIGURATION).await;
    let mutating = mutating.map(|found| {
        let all = found?.webhooks.into_iter().flatten();
        Some(all.map(|w| Webhook::new(w.name, w.client_config, w.failure_policy)).collect())
    });
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone()).get_opt(CONFIGURATION).await;
    let validating = validating.map(|found| {
        let all = found?.webhooks.into_iter().flatten();
        Some(all.map(|w| Webhook::new(w.name, w.client_config, w.failure_policy)).collect())
    });
    let mut bundles: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new();
    for (kind, found) in
        [("MutatingWebhookConfiguration", mutating), ("ValidatingWebhookConfiguration", validating)]
    {
        match found {
            Ok(Some(webhooks)) => configuration(kind, webhooks, &mut bundles, report),
            Ok(None) => report.fail(SECTION, format!("there is no {kind} `{CONFIGURATION}`"), INSTALL),
            Err(error) => report.unread(SECTION, &format!("the {kind} `{CONFIGURATION}`"), &error),
        }
    }
    if bundles.len() > 1 {
        report.fail(
            SECTION,
            "the webhooks trust different root certificates",
            format!(
                "the operator mends it within seconds; if it stays so, read its log in namespace `{}`",
                cluster.operator_namespace
            ),
        );
    }
    let Some(bundle) = bundles.into_keys().next() else { return };
    for replica in &seen.replicas {
        served(cluster, &replica.name_any(), &bundle, report).await;
    }
}

fn configuration(
    kind: &str,
    webhooks: Vec<Webhook>,
    bundles: &mut BTreeMap<Vec<u8>, Vec<String>>,
    report: &mut Report,
) {
    let mut well = !webhooks.is_empty();
    for Webhook { name, client, fails_closed } in webhooks {
        if !fails_closed {
            well = false;
            report.fail(
                SECTION,
                format!("`{name}` lets pass what it cannot judge: failurePolicy is not Fail"),
                INSTALL,
            );
        }
        match client.ca_bundle.map(|bundle| bundle.0).filter(|bundle| !bundle.is_empty()) {
            Some(bundle) => bundles.entry(bundle).or_default().push(name),
            None => {
                well = false;
                let hint = "the operator sets it: see whether it runs, and whether its role lets it patch webhook configurations";
                report.fail(SECTION, format!("`{name}` has no caBundle, so it cannot be called"), hint);
            }
        }
    }
    if well {
        report
            .ok(SECTION, format!("the {kind} `{CONFIGURATION}` is there, fails closed and has its caBundle"));
    }
}

/// What one replica serves, against what the API server trusts.
async fn served(cluster: &Cluster, replica: &str, bundle: &[u8], report: &mut Report) {
    let name = format!("{SERVICE}.{}.svc", cluster.operator_namespace);
    let chain = async {
        let (stream, _forward) = cluster.forward(replica, PORT).await?;
        certificate::served(stream, &name).await
    };
    let chain = match chain.await {
        Ok(chain) => chain,
        Err(error) => {
            let text = format!("the certificate of `{replica}` was not looked at: {}", reason(&error));
            let hint =
                format!("get the right to pods/portforward in namespace `{}`", cluster.operator_namespace);
            return report.unseen(SECTION, text, hint);
        }
    };
    let log = format!("read its log: kubectl -n {} logs {replica}", cluster.operator_namespace);
    match certificate::judge(bundle, &chain, &name, Timestamp::now()) {
        Trust::Until(ends) => {
            report.ok(
                SECTION,
                format!("the API server trusts the certificate of `{replica}`, until {}", day(ends)),
            );
        }
        Trust::Late(ends) => {
            let text = format!("the certificate of `{replica}` ends {} and was not renewed", day(ends));
            report.warn(SECTION, text, log);
        }
        Trust::Refused(why) => {
            let text = format!("the API server refuses the certificate of `{replica}`: {why}");
            report.fail(SECTION, text, log);
        }
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// The API server reaches the webhooks: a pod that asks for a sidecar gets one. A dry run: nothing is created.
pub(super) async fn answer(cluster: &Cluster, report: &mut Report, trial: Option<&str>) {
    match operator::endpoints(cluster, SERVICE).await {
        Ok(0) => {
            let text = format!(
                "the Service `{SERVICE}` has no endpoint: no pod can be created in labelled namespaces"
            );
            report.fail(SECTION, text, "see the replicas above");
        }
        Ok(count) => report.ok(SECTION, format!("the Service `{SERVICE}` has {count} endpoints")),
        Err(error) => report.unread(SECTION, &format!("the endpoints of `{SERVICE}`"), &error),
    }
    let namespace = match trial {
        Some(named) => named.to_owned(),
        None => {
            // Where pods are to be injected it matters most.
            let first = labelled(cluster).await.ok().and_then(|labelled| labelled.into_keys().next());
            first.unwrap_or_else(|| cluster.namespace.clone())
        }
    };
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match pods.create(&dry, &trial_pod()).await {
        Ok(pod) if is_injected(&pod) => {
            report.ok(SECTION, format!("a pod in namespace `{namespace}` would get its sidecar (dry run)"));
        }
        Ok(_) => report.fail(
            SECTION,
            format!("a pod in namespace `{namespace}` that asks for a sidecar would get none (dry run)"),
            INSTALL,
        ),
        Err(error) => refused(&namespace, &error, report),
    }
}

fn refused(namespace: &str, error: &kube::Error, report: &mut Report) {
    let kube::Error::Api(status) = error else {
        return report.unread(SECTION, "the trial of a pod", error);
    };
    let message = &status.message;
    if message.contains("failed calling webhook") {
        let hint =
            "see whether the API server reaches the operator's pods on port 8443, and the certificate above";
        return report.fail(SECTION, format!("the API server cannot call the webhook: {message}"), hint);
    }
    if message.contains("admission webhook") && message.contains("chaperone") {
        let text = format!("the webhook answers, but refuses pods in namespace `{namespace}`: {message}");
        return report.warn(SECTION, text, "do what it says, or take the label from that namespace");
    }
    let text = format!("the webhook was not tried in namespace `{namespace}`: {message}");
    report.unseen(SECTION, text, "name a namespace in which you may create pods with -n");
}

/// A pod that asks for a sidecar.
fn trial_pod() -> Pod {
    let annotations = BTreeMap::from([(INJECT.to_owned(), "true".to_owned())]);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some("chaperone-check-".to_owned()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![Container {
                name: "check".to_owned(),
                image: Some("chaperone.invalid/check".to_owned()),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    }
}

fn is_injected(pod: &Pod) -> bool {
    let first = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref()?.first());
    first.is_some_and(|container| container.name == FENCE)
        && pod.labels().get(INJECTED).is_some_and(|value| value == "true")
}
