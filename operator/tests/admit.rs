//! Admission of final pods and of changes to living ones. `UPDATE=1` is not needed: every refusal is
//! written down in the tables.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "inject/around.rs"]
mod around;

use std::collections::BTreeMap;

use chaperone_operator::webhook::{
    admit::{
        pod::{Expectation, connected, created, updated},
        resources,
    },
    inject::inject,
    settings::{Injection, Namespace, Refusal},
};
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};

use around::{folder, read, settings};

const ROOTS: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    required: bool,
    patch: Value,
    refusal: Option<String>,
}

fn namespace(injection: &str) -> Namespace {
    let label = ("chaperone.dev/injection".to_owned(), injection.to_owned());
    Namespace { name: "agents".to_owned(), labels: BTreeMap::from([label]) }
}

fn injected() -> Value {
    let mut pod: Value = read(&folder().join("plain/pod.yaml"));
    let injection = Injection {
        settings: &settings(),
        roots: ROOTS,
        namespace: &namespace("enabled"),
        environment: &[],
        sidecar_uid: 31_337,
    };
    let injected = inject(&pod, &injection).unwrap();
    json_patch::patch(&mut pod, &injected.patch).unwrap();
    pod
}

fn table(file: &str, verdict: impl Fn(&Value, &Value, &Namespace) -> Result<(), Refusal>) {
    let cases: Vec<Case> = read(&folder().join(file));
    let mut wrong = Vec::new();
    for case in cases {
        let old = injected();
        let mut new = old.clone();
        let patch: json_patch::Patch = serde_json::from_value(case.patch).unwrap();
        json_patch::patch(&mut new, &patch).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let namespace = namespace(if case.required { "required" } else { "enabled" });
        let found = verdict(&old, &new, &namespace).err().map(|refusal| refusal.to_string());
        if found != case.refusal {
            wrong.push(format!("{}:\n  expected: {:?}\n  found:    {found:?}", case.name, case.refusal));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_final_pod_that_is_not_as_injected_is_refused() {
    let settings = settings();
    table("tampered.yaml", |_, pod, namespace| {
        created(pod, Expectation { settings: &settings, roots: ROOTS, namespace }).map(drop)
    });
}

#[test]
fn a_living_pod_keeps_what_injection_wrote() {
    let settings = settings();
    table("changed.yaml", |old, new, namespace| updated(old, new, namespace, &settings));
}

#[rstest]
#[case::without_sidecar(json!({}), "required", false)]
#[case::opted_out_where_required(json!({"annotations": {"chaperone.dev/inject": "false"}}), "required", false)]
#[case::without_sidecar_where_enabled(json!({}), "enabled", false)]
#[case::opted_out(json!({"annotations": {"chaperone.dev/inject": "false"}}), "enabled", true)]
#[case::claims_a_sidecar(json!({"annotations": {"chaperone.dev/inject": "false"}, "labels": {"chaperone.dev/injected": "true"}}), "enabled", false)]
#[case::claims_labels(json!({"annotations": {"chaperone.dev/inject": "false", "chaperone.dev/admitted-labels": "{}"}}), "enabled", false)]
fn a_pod_without_sidecar_is_admitted_only_where_it_may_be(
    #[case] metadata: Value,
    #[case] label: &str,
    #[case] admitted: bool,
) {
    let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "agent", "image": "agent:1"}]}});
    let settings = settings();
    let namespace = namespace(label);
    let verdict = created(&pod, Expectation { settings: &settings, roots: ROOTS, namespace: &namespace });
    assert_eq!(verdict.is_ok(), admitted, "{verdict:?}");
}

#[rstest]
#[case("exec", "agent", "required", true)]
#[case("exec", "", "required", true)]
#[case("exec", "chaperone-sidecar", "enabled", false)]
#[case("attach", "chaperone-sidecar", "required", false)]
#[case("portforward", "", "required", false)]
#[case("portforward", "", "enabled", true)]
fn nobody_connects_to_the_sidecar(
    #[case] subresource: &str,
    #[case] container: &str,
    #[case] label: &str,
    #[case] admitted: bool,
) {
    let options = json!({"kind": "PodExecOptions", "container": container});
    assert_eq!(connected(subresource, &options, &namespace(label)).is_ok(), admitted);
}

#[test]
fn a_pod_without_sidecar_gets_no_token_of_ours() {
    let source = json!({"serviceAccountToken": {"audience": "chaperone.dev", "path": "t"}});
    let pod = json!({
        "metadata": {"annotations": {"chaperone.dev/inject": "false"}},
        "spec": {
            "containers": [{"name": "agent", "image": "agent:1"}],
            "volumes": [{"name": "t", "projected": {"sources": [source]}}],
        },
    });
    let settings = settings();
    for namespace in [namespace("enabled"), Namespace { name: "plain".to_owned(), ..Namespace::default() }] {
        let expectation = Expectation { settings: &settings, roots: ROOTS, namespace: &namespace };
        assert!(created(&pod, expectation).is_err());
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    name: String,
    kind: String,
    /// Merged into a spec that is fine.
    spec: Value,
    refusal: Option<String>,
}

#[test]
fn resources_that_make_no_sense_are_refused_by_the_field() {
    let fine = json!({
        "Connection": {
            "protocol": "Postgres", "upstream": {"host": "orders.prod.svc", "port": 5432},
            "postgres": {"database": "orders"}, "credential": {"secretRef": {"name": "orders-ro"}},
        },
        "AccessPolicy": {
            "subjects": [{"serviceAccounts": ["planner"]}], "connections": {"names": ["orders-db"]},
            "rules": [{"name": "read", "verdict": "Allow", "sql": {"verbs": ["Read"], "relations": ["public.orders"]}}],
        },
    });
    let cases: Vec<Resource> = read(&folder().join("resources.yaml"));
    let mut wrong = Vec::new();
    for case in cases {
        let mut spec = fine[&case.kind].clone();
        json_patch::merge(&mut spec, &case.spec);
        let object = json!({"metadata": {"name": "x"}, "spec": spec});
        let found = match case.kind.as_str() {
            "Connection" => resources::connection(&object).err(),
            _ => resources::policy(&object).err(),
        };
        let found = found.map(|refusal| refusal.to_string());
        if found != case.refusal {
            wrong.push(format!("{}:\n  expected: {:?}\n  found:    {found:?}", case.name, case.refusal));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
