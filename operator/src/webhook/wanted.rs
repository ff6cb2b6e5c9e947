//! Whether a pod is to have a sidecar.

use std::collections::BTreeMap;

use kube::core::ObjectMeta;

use super::settings::{INJECT, INJECTION_LABEL, Namespace, Refusal};

/// What namespace and pod ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A sidecar, without a way out.
    Required,
    /// A sidecar; the pod might have declined.
    Enabled,
    /// None.
    No,
}

impl Wanted {
    /// Reads the namespace's label and the pod's annotation and label.
    pub fn by(namespace: &Namespace, pod: &ObjectMeta) -> Result<Self, Refusal> {
        let asked = asked(pod)?;
        match namespace.labels.get(INJECTION_LABEL).map(String::as_str) {
            Some("required") => Ok(Self::Required),
            Some("enabled") if asked != Some(false) => Ok(Self::Enabled),
            Some("enabled") | None if asked == Some(true) => Ok(Self::Enabled),
            Some("enabled") | None => Ok(Self::No),
            Some(other) => Err(Refusal::new(
                format!("the namespace's label `{INJECTION_LABEL}` is `{other}`"),
                "write `enabled` or `required`, or remove the label",
            )),
        }
    }
}

/// The annotation and the label mean the same; if they differ, `true` wins.
fn asked(pod: &ObjectMeta) -> Result<Option<bool>, Refusal> {
    let annotation = answer("annotation", pod.annotations.as_ref())?;
    let label = answer("label", pod.labels.as_ref())?;
    Ok(match (annotation, label) {
        (Some(annotation), Some(label)) => Some(annotation || label),
        (one, other) => one.or(other),
    })
}

fn answer(place: &str, map: Option<&BTreeMap<String, String>>) -> Result<Option<bool>, Refusal> {
    match map.and_then(|map| map.get(INJECT)).map(String::as_str) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => {
            Err(Refusal::new(format!("the {place} `{INJECT}` is `{other}`"), "write \"true\" or \"false\""))
        }
    }
}
