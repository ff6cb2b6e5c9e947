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

/// Every node under `schema`, with its path.
fn nodes<'a>(path: &str, schema: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    found.push((path.to_owned(), schema));
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        nodes(&format!("{path}.{name}"), property, found);
    }
    for (below, place) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(schema) = schema.get(below) {
            nodes(&format!("{path}{place}"), schema, found);
        }
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

/// The nodes of every spec, with file and path.
fn all_nodes() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (file, spec) in specs() {
        let mut found = Vec::new();
        nodes("spec", &spec, &mut found);
        assert!(found.len() > 20, "{file}");
        all.extend(found.into_iter().map(|(path, node)| (format!("{file} {path}"), node.clone())));
    }
    all
}

fn is(node: &Value, kind: &str) -> bool {
    node.get("type").and_then(Value::as_str) == Some(kind)
}

#[test]
fn no_object_of_a_spec_prunes_unknown_fields() {
    let objects: Vec<_> = all_nodes().into_iter().filter(|(_, node)| is(node, "object")).collect();
    assert!(objects.len() > 15);
    for (place, object) in objects {
        // A map has no unknown keys, so there is nothing to prune.
        let is_map = object.get("additionalProperties").is_some_and(Value::is_object);
        let keeps = object.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
        assert!(keeps != is_map, "{place}");
    }
}

#[test]
fn every_list_map_and_string_of_a_spec_is_bounded() {
    for (place, node) in all_nodes() {
        let has = |bound: &str| node.get(bound).is_some();
        if is(&node, "array") {
            assert!(has("maxItems"), "{place} needs maxItems");
        }
        if is(&node, "string") {
            assert!(has("maxLength") || has("enum"), "{place} needs maxLength");
        }
        if is(&node, "integer") {
            assert!(has("maximum") && has("minimum"), "{place} needs bounds");
        }
        if has("additionalProperties") {
            assert!(has("maxProperties"), "{place} needs maxProperties");
        }
    }
}

#[test]
fn every_list_says_how_it_is_merged() {
    for (place, node) in all_nodes().into_iter().filter(|(_, node)| is(node, "array")) {
        let kind = node.get("x-kubernetes-list-type").and_then(Value::as_str);
        let of_objects = node.get("items").is_some_and(|items| is(items, "object"));
        let expected = if place.ends_with("spec.rules") {
            "map"
        } else if of_objects {
            "atomic"
        } else {
            "set"
        };
        assert_eq!(kind, Some(expected), "{place}");
    }
}

#[test]
fn every_rule_of_validation_says_what_to_write() {
    let mut count = 0;
    for (place, node) in all_nodes() {
        let rules = node.get("x-kubernetes-validations").and_then(Value::as_array).cloned();
        for rule in rules.unwrap_or_default() {
            let message = rule.get("message").and_then(Value::as_str).unwrap_or_default();
            let helps = ["set ", "write ", "needs ", "leave ", "must be ", "name "];
            assert!(helps.iter().any(|word| message.contains(word)), "{place}: {message}");
            count += 1;
        }
    }
    assert!(count > 10, "only {count}");
}

#[test]
fn people_find_what_they_look_for() {
    let columns = |definition: &Value| -> Vec<String> {
        let columns =
            definition.pointer("/spec/versions/0/additionalPrinterColumns").and_then(Value::as_array);
        let name =
            |column: &Value| column.get("name").and_then(Value::as_str).unwrap_or_default().to_uppercase();
        columns.into_iter().flatten().map(name).collect()
    };
    for (file, definition) in chaperone_api::custom_resource_definitions().expect("definitions") {
        let (short, expected) = match file {
            "connections.yaml" => ("cconn", ["PROTOCOL", "UPSTREAM", "PODS", "READY", "REASON", "AGE"]),
            _ => ("cpol", ["RULES", "PODS", "LIVE", "READY", "REASON", "AGE"]),
        };
        assert_eq!(columns(&definition), expected, "{file}");
        assert_eq!(definition.pointer("/spec/names/shortNames"), Some(&json!([short])));
        assert_eq!(definition.pointer("/spec/names/categories"), Some(&json!(["chaperone"])));
        assert!(definition.pointer("/spec/versions/0/subresources/status").is_some());
        assert!(!definition.to_string().contains("uint16"), "{file}");
    }
}
