//! The API server and the definitions of our resources.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::Value;

use super::report::Report;
use crate::cluster::Cluster;

const SECTION: &str = "kubernetes";
/// Native sidecars, and what the chart's policies are written in.
const MINOR: u32 = 33;
const UPGRADE: &str = "helm upgrade --install chaperone-crds charts/chaperone-crds";

/// The API server's version. Whether there is one.
pub(super) async fn server(cluster: &Cluster, report: &mut Report) -> bool {
    let info = match cluster.client.apiserver_version().await {
        Ok(info) => info,
        Err(error) => {
            let text = format!("the API server cannot be reached: {error}");
            report.fail(SECTION, text, "choose another --context, or mend the kubeconfig");
            return false;
        }
    };
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    };
    let text = format!("the API server is Kubernetes {}", info.git_version);
    match (number(&info.major), number(&info.minor)) {
        (Some(major), Some(minor)) if (major, minor) >= (1, MINOR) => report.ok(SECTION, text),
        _ => report.fail(SECTION, text, format!("upgrade the cluster to 1.{MINOR} or newer")),
    }
    true
}

/// Our CustomResourceDefinitions. Whether all are there.
pub(super) async fn definitions(cluster: &Cluster, report: &mut Report) -> bool {
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let mut all = true;
    let wanted = match api::custom_resource_definitions() {
        Ok(wanted) => wanted,
        Err(error) => {
            report.fail(SECTION, format!("this plugin's own definitions: {error}"), "report this defect");
            return false;
        }
    };
    for (_, wanted) in wanted {
        let name = wanted.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        match api.get_opt(name).await {
            Ok(Some(found)) => compare(name, &wanted, &found, report),
            Ok(None) => {
                report.fail(SECTION, format!("the definition `{name}` is missing"), UPGRADE);
                all = false;
            }
            Err(error) => report.unread(SECTION, &format!("the definition `{name}`"), &error),
        }
    }
    all
}

fn compare(name: &str, wanted: &Value, found: &CustomResourceDefinition, report: &mut Report) {
    let conditions = found.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let established = conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True");
    if !established {
        let text = format!("the definition `{name}` is not established");
        report.fail(SECTION, text, format!("see why: kubectl describe crd {name}"));
        return;
    }
    let found = serde_json::to_value(found).unwrap_or_default();
    let (ours, theirs) = (fields(wanted), fields(&found));
    let missing: Vec<&str> = ours.difference(&theirs).map(String::as_str).collect();
    let more: Vec<&str> = theirs.difference(&ours).map(String::as_str).collect();
    let some = |fields: &[&str]| fields.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    if !missing.is_empty() {
        let text = format!("the definition `{name}` is of another version: it lacks {}", some(&missing));
        report.fail(SECTION, text, UPGRADE);
    } else if !more.is_empty() {
        let text = format!("the definition `{name}` is newer than this plugin: it has {}", some(&more));
        report.warn(SECTION, text, "install the plugin of the operator's version");
    } else {
        report.ok(SECTION, format!("the definition `{name}` is there and of this version"));
    }
}

/// Every field of every version, by its path, with the values that it may have.
fn fields(definition: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for version in definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
        let name = version.get("name").and_then(Value::as_str).unwrap_or_default();
        for part in ["spec", "status"] {
            let place = format!("/schema/openAPIV3Schema/properties/{part}");
            if let Some(schema) = version.pointer(&place) {
                gather(schema, &format!("{name} {part}"), &mut found);
            }
        }
    }
    found
}

fn gather(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    found.insert(path.to_owned());
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        // Optional ones list null as well, and API servers may leave it out.
        if let Some(value) = value.as_str() {
            found.insert(format!("{path}={value}"));
        }
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        gather(property, &format!("{path}.{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        gather(items, &format!("{path}[]"), found);
    }
}
