//! The CustomResourceDefinitions as they are applied.

use kube_core::CustomResourceExt;
use serde_json::{Value, json};

use crate::{AccessPolicy, Connection};

/// Every definition with the name of its file, finished: see [`keep_unknown_fields`].
///
/// # Errors
/// Never for the types of this crate; serde's signature asks for it.
pub fn custom_resource_definitions() -> Result<Vec<(&'static str, Value)>, serde_json::Error> {
    [("connections.yaml", Connection::crd()), ("accesspolicies.yaml", AccessPolicy::crd())]
        .into_iter()
        .map(|(file, definition)| {
            let mut definition = serde_json::to_value(definition)?;
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
    if object.get("type") == Some(&json!("object")) && object.contains_key("properties") {
        object.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(keep_unknown_fields);
    }
    if let Some(items) = object.get_mut("items") {
        keep_unknown_fields(items);
    }
}
