//! Editing a pod as JSON, so that fields that this version does not know stay as they are.

use json_patch::{AddOperation, Patch, PatchOperation, jsonptr::PointerBuf};
use serde_json::{Map, Value};

use super::reserved;
use crate::webhook::settings::{ADMITTED_LABELS, CHAIN, INJECTED, Refusal, VERSION};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// The object under `key`, made if it is not there.
pub(super) fn object<'v>(parent: &'v mut Object, key: &str) -> Result<&'v mut Object, Refusal> {
    let slot = parent.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().ok_or_else(|| unreadable(key))
}

/// The list under `key`, made if it is not there.
pub(super) fn list<'v>(parent: &'v mut Object, key: &str) -> Result<&'v mut Vec<Value>, Refusal> {
    let slot = parent.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut().ok_or_else(|| unreadable(key))
}

/// The pod's top object.
pub(super) fn root(pod: &mut Value) -> Result<&mut Object, Refusal> {
    pod.as_object_mut().ok_or_else(|| unreadable("pod"))
}

/// A field that is not what Kubernetes says it is.
pub(super) fn unreadable(field: &str) -> Refusal {
    Refusal::new(format!("`{field}` cannot be read"), "send it as the Kubernetes API defines it")
}

/// Takes away everything that only we may write.
pub(super) fn strip(pod: &mut Value) {
    for (map, keys) in
        [("/metadata/labels", &[INJECTED][..]), ("/metadata/annotations", &[VERSION, CHAIN, ADMITTED_LABELS])]
    {
        if let Some(map) = pod.pointer_mut(map).and_then(Value::as_object_mut) {
            map.retain(|key, _| !keys.contains(&key.as_str()));
        }
    }
    for (list, ours) in [
        ("/spec/initContainers", reserved::is_our_container as fn(&str) -> bool),
        ("/spec/volumes", reserved::is_our_volume),
    ] {
        if let Some(items) = pod.pointer_mut(list).and_then(Value::as_array_mut) {
            items.retain(|item| !item.get("name").and_then(Value::as_str).is_some_and(ours));
        }
    }
}

/// What turns `before` into `after`; they differ only in the fields that injection touches.
pub(super) fn difference(before: &Value, after: &Value) -> Patch {
    let touched = [
        ["metadata", "labels"],
        ["metadata", "annotations"],
        ["spec", "volumes"],
        ["spec", "initContainers"],
        ["spec", "containers"],
    ];
    let changed = |path: &[&str; 2]| {
        let pointer = PointerBuf::from_tokens(*path);
        let new = pointer.resolve(after).ok()?;
        (pointer.resolve(before).ok() != Some(new))
            .then(|| PatchOperation::Add(AddOperation { path: pointer, value: new.clone() }))
    };
    Patch(touched.iter().filter_map(changed).collect())
}
