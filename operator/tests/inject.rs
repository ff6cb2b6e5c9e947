//! Golden tests of injection. `UPDATE=1` rewrites what is expected; the diff is to be reviewed.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use chaperone_operator::webhook::{
    admit::pod::{Expectation, created},
    inject::{Injected, inject},
    settings::{Injection, Namespace, Variable},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[path = "inject/around.rs"]
mod around;
use around::{folder, read, settings};

const ROOTS: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// What a case needs besides its pod; `injection.yaml`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Around {
    labels: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    uid: Option<i64>,
}

#[derive(Serialize)]
struct Expected<'a> {
    warnings: &'a [String],
    pod: &'a Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusalCase {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Merged into the plain pod.
    pod: Value,
    refusal: String,
}

fn enabled() -> BTreeMap<String, String> {
    BTreeMap::from([("chaperone.dev/injection".to_owned(), "enabled".to_owned())])
}

fn run(pod: &Value, around: &Around) -> Result<Injected, String> {
    let labels = if around.labels.is_empty() { enabled() } else { around.labels.clone() };
    let environment: Vec<Variable> = around
        .environment
        .iter()
        .map(|(name, value)| Variable { name: name.clone(), value: value.clone() })
        .collect();
    let injection = Injection {
        settings: &settings(),
        roots: ROOTS,
        namespace: &Namespace { name: "agents".to_owned(), labels },
        environment: &environment,
        sidecar_uid: around.uid.unwrap_or(31_337),
    };
    inject(pod, &injection).map_err(|refusal| refusal.to_string())
}

fn patched(pod: &Value, injected: &Injected) -> Value {
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &injected.patch).expect("the patch applies");
    pod
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    cases
}

fn surroundings(case: &Path) -> Around {
    let path = case.join("injection.yaml");
    if path.exists() { read(&path) } else { Around::default() }
}

#[test]
fn pods_come_out_as_expected() {
    let mut wrong = Vec::new();
    for case in cases() {
        let pod: Value = read(&case.join("pod.yaml"));
        let injected =
            run(&pod, &surroundings(&case)).unwrap_or_else(|refusal| panic!("{}: {refusal}", case.display()));
        let after = patched(&pod, &injected);
        let text = serde_saphyr::to_string(&Expected { warnings: &injected.warnings, pod: &after }).unwrap();
        let expected = case.join("expected.yaml");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(case);
        }
    }
    assert!(wrong.is_empty(), "not as expected, run with UPDATE=1 and review the diff: {wrong:?}");
}

#[test]
fn an_injected_pod_fed_in_again_stays_as_it_is() {
    for case in cases() {
        let pod: Value = read(&case.join("pod.yaml"));
        let around = surroundings(&case);
        let once = patched(&pod, &run(&pod, &around).unwrap());
        let again = run(&once, &around).unwrap();
        assert_eq!(patched(&once, &again), once, "{}", case.display());
    }
}

#[test]
fn an_injected_pod_is_admitted() {
    for case in cases() {
        let pod: Value = read(&case.join("pod.yaml"));
        let around = surroundings(&case);
        let after = patched(&pod, &run(&pod, &around).unwrap());
        let labels = if around.labels.is_empty() { enabled() } else { around.labels };
        let namespace = Namespace { name: "agents".to_owned(), labels };
        let settings = settings();
        let expectation = Expectation { settings: &settings, roots: ROOTS, namespace: &namespace };
        assert_eq!(created(&after, expectation).err(), None, "{}", case.display());
    }
}

#[test]
fn pods_that_cannot_be_fenced_are_refused_with_a_way_out() {
    let plain: Value = read(&folder().join("plain/pod.yaml"));
    let cases: Vec<RefusalCase> = read(&folder().join("refusals.yaml"));
    let mut wrong = Vec::new();
    for case in cases {
        let mut pod = plain.clone();
        json_patch::merge(&mut pod, &case.pod);
        let around = Around { labels: case.labels, ..Around::default() };
        let refusal = run(&pod, &around).err().unwrap_or_else(|| "admitted".to_owned());
        if refusal != case.refusal {
            wrong.push(format!("{}:\n  expected: {}\n  found:    {refusal}", case.name, case.refusal));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_kept_uid_is_one_that_no_image_can_have_been_made_for() {
    let plain: Value = read(&folder().join("plain/pod.yaml"));
    let uid = |pod: &Value| pod["spec"]["initContainers"][1]["securityContext"]["runAsUser"].clone();
    let once =
        |pod: &Value, uid| patched(pod, &run(pod, &Around { uid: Some(uid), ..Around::default() }).unwrap());
    let hidden = once(&once(&plain, 40_000), 50_000);
    assert_eq!(uid(&hidden), 50_000, "the image's own user is not known");
    let mut visible = plain;
    visible["spec"]["securityContext"] = json!({"runAsUser": 1000});
    assert_eq!(uid(&once(&once(&visible, 40_000), 50_000)), 40_000);
    let mut clash = once(&visible, 40_000);
    clash["spec"]["containers"][0]["securityContext"]["runAsUser"] = json!(40_000);
    assert_eq!(uid(&once(&clash, 50_000)), 50_000);
    assert_eq!(uid(&once(&clash, 40_000)), 40_001, "a drawn UID that is in use is passed over");
}

#[test]
fn fields_of_newer_versions_stay() {
    let mut pod: Value = read(&folder().join("plain/pod.yaml"));
    pod["spec"]["containers"][0]["fieldOfTomorrow"] = json!({"deep": [1]});
    pod["spec"]["volumes"] = json!([{"name": "v", "sourceOfTomorrow": {}}]);
    let after = patched(&pod, &run(&pod, &Around::default()).unwrap());
    assert_eq!(after["spec"]["containers"][0]["fieldOfTomorrow"], json!({"deep": [1]}));
    assert_eq!(after["spec"]["volumes"][0]["sourceOfTomorrow"], json!({}));
}
