//! `crds/` and the chart's copy are what the types say; `UPDATE=1` rewrites them.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use serde_json::{Value, json};

const HEADER: &str = "# Generated from the types in api/. Do not edit; run `make crds`.\n";

#[test]
fn the_files_are_what_the_types_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (file, definition) in chaperone_api::custom_resource_definitions().expect("definitions") {
        let text = format!("{HEADER}{}", serde_saphyr::to_string(&definition).expect("yaml"));
        for dir in ["crds", "charts/chaperone-crds/templates"] {
            let path = root.join(dir).join(file);
            if std::env::var_os("UPDATE").is_some() {
                fs::create_dir_all(root.join(dir)).expect("makes the directory");
                fs::write(&path, &text).expect("writes");
            }
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(found, text, "{dir}/{file} is stale: run `make crds`");
        }
    }
}

/// Every object node under `schema`, with its path.
fn objects<'a>(path: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    if schema.get("properties").is_some() {
        found.push((path.to_owned(), schema));
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        objects(&format!("{path}.{name}"), property, found);
    }
    if let Some(items) = schema.get("items") {
        objects(&format!("{path}[]"), items, found);
    }
}

/// Every node under `schema`, with its path.
fn nodes<'a>(path: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    found.push((path.to_owned(), schema));
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        nodes(&format!("{path}.{name}"), property, found);
    }
    if let Some(items) = schema.get("items") {
        nodes(&format!("{path}[]"), items, found);
    }
}

fn specs() -> Vec<(String, Value)> {
    let definitions = chaperone_api::custom_resource_definitions().expect("definitions");
    let spec = |(file, definition): (&str, Value)| {
        let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
        (file.to_owned(), schema.expect("has a spec").clone())
    };
    definitions.into_iter().map(spec).collect()
}

#[test]
fn no_object_of_a_spec_prunes_unknown_fields() {
    for (file, spec) in specs() {
        let mut found = Vec::new();
        objects("spec", &spec, &mut found);
        assert!(found.len() > 4, "{file}");
        for (path, object) in found {
            assert_eq!(
                object.get("x-kubernetes-preserve-unknown-fields"),
                Some(&json!(true)),
                "{file} {path}"
            );
            assert_eq!(object.get("additionalProperties"), None, "{file} {path}");
        }
    }
}

#[test]
fn every_list_and_every_string_of_a_spec_is_bounded() {
    for (file, spec) in specs() {
        let mut found = Vec::new();
        nodes("spec", &spec, &mut found);
        for (path, node) in found {
            match node.get("type").and_then(Value::as_str) {
                Some("array") => assert!(node.get("maxItems").is_some(), "{file} {path} needs maxItems"),
                Some("string") => {
                    let bounded = node.get("maxLength").is_some() || node.get("enum").is_some();
                    assert!(bounded, "{file} {path} needs maxLength");
                }
                _ => {}
            }
        }
    }
}
