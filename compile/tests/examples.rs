//! Every example compiles, and lets its agent do what `examples.yaml` says and nothing else.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and a missing key of YAML is null"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use api::decode_spec;
use chaperone_compile::{Inputs, Pod, document, files, requested, validate};
use policy::{
    Access, Action, Caller, Columns, DnsMode, Document, FunctionName, Generation, Object, RelationName,
    Request, Scope, Verb, Verdict, decide,
};
use serde::Deserialize;
use serde_json::Value;

/// The namespace of resources that name none: the examples say `kubectl apply -n shop`.
const NAMESPACE: &str = "shop";
/// What is read without a cluster.
const RESOURCES: [&str; 4] = ["Connection", "AccessPolicy", "Secret", "ConfigMap"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Expected {
    /// A Pod, Deployment or Job of the file.
    workload: Option<String>,
    /// Or the pod that a standalone sidecar stands for.
    service_account: Option<String>,
    connection: String,
    allowed: Vec<String>,
    refused: Vec<String>,
}

/// One example: its documents as text and as values.
struct Example {
    texts: Vec<(String, String)>,
    parts: Vec<Value>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn expected() -> BTreeMap<String, Vec<Expected>> {
    serde_saphyr::from_str(include_str!("examples.yaml")).expect("a table")
}

/// The examples that are there: files, and directories of files.
fn names() -> BTreeSet<String> {
    let entries = fs::read_dir(root()).expect("the examples").map(|entry| entry.expect("an entry").path());
    let example = |path: &PathBuf| path.is_dir() || path.extension().is_some_and(|is| is == "yaml");
    let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    entries.filter(example).map(name).collect()
}

impl Example {
    fn read(name: &str) -> Self {
        let path = root().join(name);
        let paths: Vec<PathBuf> = if path.is_dir() {
            fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
        } else {
            vec![path]
        };
        let mut example = Self { texts: Vec::new(), parts: Vec::new() };
        for path in paths {
            example.take(&path);
        }
        example
    }

    fn take(&mut self, path: &Path) {
        let text = fs::read_to_string(path).expect("a file");
        let mut resources = Vec::new();
        for part in text.split("\n---\n") {
            let value: Value = serde_saphyr::from_str(part).expect("YAML");
            if RESOURCES.iter().any(|kind| value["kind"] == *kind) {
                resources.push(part);
            }
            self.parts.push(value);
        }
        self.texts.push((path.display().to_string(), resources.join("\n---\n")));
    }

    fn document(&self, pod: &Pod) -> Document {
        let files = files::read(&self.texts, NAMESPACE).unwrap_or_else(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            panic!("{}", errors.join("\n"))
        });
        let (connections, policies) = files.inputs();
        let inputs = Inputs {
            connections: &connections,
            policies: &policies,
            dns: DnsMode::Cluster,
            stale_after_seconds: 3600,
        };
        document(&inputs, pod)
    }

    /// The pod that a workload of the file makes, as policies see it.
    fn pod(&self, workload: &str) -> Pod {
        let named = |part: &&Value| {
            part["metadata"]["name"] == *workload
                && ["Pod", "Deployment", "Job"].iter().any(|kind| part["kind"] == *kind)
        };
        let part = self.parts.iter().find(named).unwrap_or_else(|| panic!("no workload `{workload}`"));
        let template = if part["kind"] == "Pod" { part } else { &part["spec"]["template"] };
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let namespace = part["metadata"]["namespace"].as_str().unwrap_or(NAMESPACE).to_owned();
        let labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let annotation = &template["metadata"]["annotations"]["chaperone.dev/connections"];
        Pod {
            service_account: text(&template["spec"]["serviceAccountName"]),
            labels: labels.into_iter().map(|(key, value)| (key, text(&value))).collect(),
            connections: Some(requested(&text(annotation), &namespace).expect("names of Connections")),
            namespace,
        }
    }
}

/// `Select public.orders (id, amount) filtered`, `Execute public.f()`, `Set name`.
fn access(text: &str) -> Access {
    let (text, filtered) = text.strip_suffix(" filtered").map_or((text, false), |text| (text, true));
    let (verb, rest) = text.split_once(' ').expect("a verb and an object");
    let verb = Verb::from_name(verb).unwrap_or_else(|| panic!("`{verb}` is no verb"));
    if verb == Verb::Set {
        return Access::new(verb, Object::Setting(rest.to_owned()));
    }
    let (name, columns) = rest.split_once(" (").unwrap_or((rest, ")"));
    let columns = columns.strip_suffix(')').expect("a closing bracket");
    let (schema, name) = name.split_once('.').expect("schema.name");
    let (schema, name) = (schema.to_owned(), name.to_owned());
    let object = match name.strip_suffix("()") {
        Some(name) => {
            let (name, arguments) = (name.to_owned(), Vec::new());
            Object::Function(FunctionName { schema, name, arguments, extension: None })
        }
        None => Object::Relation(RelationName { schema, name }),
    };
    let names = columns.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let columns = if columns == "*" { Columns::All } else { Columns::Set(names.collect()) };
    Access { columns, filtered, ..Access::new(verb, object) }
}

fn allows(document: &Document, connection: &str, text: &str) -> bool {
    let opaque = text == "opaque";
    let accesses: Vec<Access> = if opaque { Vec::new() } else { vec![access(text)] };
    let request = Request {
        generation: Generation::default(),
        scope: Scope::default(),
        caller: Caller::default(),
        action: if opaque { Action::Opaque } else { Action::Statement(&accesses) },
    };
    let connection = document.connection(connection).expect("the Connection is in the document");
    matches!(decide(connection, &request), Verdict::Allow(_))
}

#[test]
fn every_example_has_its_expectations() {
    assert_eq!(names(), expected().into_keys().collect());
}

#[test]
fn every_example_allows_what_it_says_and_refuses_the_rest() {
    for (name, all) in expected() {
        let example = Example::read(&name);
        for expected in all {
            let pod = match (&expected.workload, &expected.service_account) {
                (Some(workload), None) => example.pod(workload),
                (None, Some(account)) => Pod {
                    namespace: NAMESPACE.to_owned(),
                    service_account: account.clone(),
                    ..Pod::default()
                },
                _ => panic!("{name}: a workload or a service account"),
            };
            let document = example.document(&pod);
            let found = document.connection(&expected.connection).expect("the Connection is there");
            assert_eq!(found.problem, None, "{name}");
            for text in &expected.allowed {
                assert!(allows(&document, &expected.connection, text), "{name} should allow {text}");
            }
            for text in &expected.refused {
                assert!(!allows(&document, &expected.connection, text), "{name} should refuse {text}");
            }
        }
    }
}

/// The resources in the fenced YAML of a document.
fn documented(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(root().join("..").join(path)).expect("a document");
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let resources = blocks.filter(|block| block.starts_with("apiVersion: chaperone.dev/"));
    let parts = resources.flat_map(|block| block.split("\n---\n"));
    parts.map(|part| serde_saphyr::from_str(part).expect("YAML")).collect()
}

#[test]
fn what_the_documents_show_is_accepted() {
    for path in ["README.md", "docs/connection.md", "docs/access-policy.md"] {
        let resources = documented(path);
        assert!(!resources.is_empty(), "{path} shows none");
        for resource in resources {
            let spec = &resource["spec"];
            let errors = if resource["kind"] == "Connection" {
                decode_spec(spec).map(|spec| validate::connection(&spec))
            } else {
                decode_spec(spec).map(|spec| validate::policy(&spec))
            };
            assert_eq!(errors, Ok(Vec::new()), "{path}");
        }
    }
}

/// An agent sees what it names, all of it and nothing else.
#[test]
fn every_workload_sees_the_connections_that_it_names() {
    for (name, all) in expected() {
        let example = Example::read(&name);
        for workload in all.into_iter().filter_map(|expected| expected.workload) {
            let pod = example.pod(&workload);
            let seen: BTreeSet<String> =
                example.document(&pod).connections.into_iter().map(|connection| connection.name).collect();
            let named: BTreeSet<String> = pod.connections.into_iter().flatten().collect();
            assert_eq!(seen, named, "{name}");
        }
    }
}
