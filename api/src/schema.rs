//! The CustomResourceDefinitions as they are applied.

use kube_core::CustomResourceExt;
use serde_json::{Value, json};

use crate::{AccessPolicy, Connection};

/// Every definition with the name of its file, finished: see [`keep_unknown_fields`] and [`known_formats`].
///
/// # Errors
/// Never for the types of this crate; serde's signature asks for it.
pub fn custom_resource_definitions() -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
    [("connections.yaml", Connection::crd()), ("accesspolicies.yaml", AccessPolicy::crd())]
        .into_iter()
        .map(|(file, definition)| {
            let mut definition = serde_json::to_value(definition)?;
            known_formats(&mut definition);
            let versions = definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
            for version in versions.into_iter().flatten() {
                if let Some(spec) = version.pointer_mut("/schema/openAPIV3Schema/properties/spec") {
                    keep_unknown_fields(spec);
                }
            }
            Ok((file, definition))
        })
        .collect()
}

/// The API server prunes unknown fields before any webhook sees them, so that a misspelt field would vanish in
/// silence. On every object of the spec they are kept, for the webhook to refuse.
fn keep_unknown_fields(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    // What schemars says of a struct without fields; a structural schema cannot.
    if object.get("additionalProperties") == Some(&json!(false)) {
        object.remove("additionalProperties");
    }
    // A map keeps all its keys as it is.
    if object.get("type") == Some(&json!("object")) && !object.contains_key("additionalProperties") {
        object.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(keep_unknown_fields);
    }
    if let Some(items) = object.get_mut("items") {
        keep_unknown_fields(items);
    }
}

/// API servers warn about formats that OpenAPI does not have. Bounds of integers are written as integers.
fn known_formats(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("format") == Some(&json!("uint16")) {
                object.insert("format".to_owned(), json!("int32"));
            }
            for bound in ["minimum", "maximum"] {
                let whole = object.get(bound).and_then(Value::as_f64).map(|bound| format!("{bound:.0}"));
                if let Some(whole) = whole.and_then(|whole| whole.parse::<i64>().ok()) {
                    object.insert(bound.to_owned(), json!(whole));
                }
            }
            object.values_mut().for_each(known_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(known_formats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
