//! Strict decoding with errors that name the place, and lenient decoding for watches.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_core::NamespaceResourceScope;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct FieldError {
    /// The field, as `spec.rules[2].sql.verbs`.
    pub path: String,
    /// What is wrong with it, and what to write instead.
    pub message: String,
    /// Whether the field is one that no version of the resource has.
    pub unknown: bool,
}

impl FieldError {
    /// An error about a field that is known.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), unknown: false }
    }
}

/// Decodes a `spec`, strictly.
///
/// # Errors
/// When a field is unknown, missing or of the wrong type.
pub fn decode_spec<T: DeserializeOwned>(spec: &Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => "spec".to_owned(),
            path => format!("spec.{path}"),
        };
        let message = error.into_inner().to_string();
        let unknown = message.starts_with("unknown field");
        FieldError { path, message, unknown }
    })
}

/// An object whose spec may be unreadable: its metadata is still there to report on.
#[derive(Clone, Debug, PartialEq)]
pub struct Lenient<S, T> {
    /// The object's metadata.
    pub metadata: ObjectMeta,
    /// The spec, or what is wrong with it.
    pub spec: Result<S, FieldError>,
    /// The status; an unreadable one counts as absent, since we write it ourselves.
    pub status: Option<T>,
    /// What was read of the spec, to find out what an unreadable one is about.
    pub raw: Value,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl<'de, S: DeserializeOwned, T: DeserializeOwned> Deserialize<'de> for Lenient<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw { metadata, spec: raw, status } = Raw::deserialize(deserializer)?;
        Ok(Self { metadata, spec: decode_spec(&raw), status: serde_json::from_value(status).ok(), raw })
    }
}

impl<S, T> Lenient<S, T> {
    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> String {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}/{}", part(&self.metadata.namespace), part(&self.metadata.name))
    }
}

/// A spec, by the kind that it belongs to.
pub trait Spec {
    /// The kind.
    type Kind: kube_core::Resource<DynamicType = (), Scope = NamespaceResourceScope>;
}

impl Spec for crate::ConnectionSpec {
    type Kind = crate::Connection;
}

impl Spec for crate::AccessPolicySpec {
    type Kind = crate::AccessPolicy;
}

/// The same resource in the API server as the strict kind.
impl<S: Spec, T> kube_core::Resource for Lenient<S, T> {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        S::Kind::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        S::Kind::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        S::Kind::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        S::Kind::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{AccessPolicySpec, ConnectionSpec, ConnectionStatus};

    #[test]
    fn an_unknown_field_is_an_error_that_names_its_place() {
        let spec = json!({
            "subjects": [{"serviceAccounts": ["*"]}],
            "connections": {"names": ["a"]},
            "rules": [{"name": "r", "verdict": "Allow", "sql": {"verbs": ["Read"], "relatoins": ["a.b"]}}],
        });
        let error = decode_spec::<AccessPolicySpec>(&spec).expect_err("is refused");
        assert!(error.unknown);
        assert_eq!(error.path, "spec.rules[0].sql.relatoins");
        assert!(error.message.contains("`relations`"), "{}", error.message);
    }

    #[test]
    fn a_watch_survives_an_unreadable_object() {
        let object = json!({"metadata": {"namespace": "n", "name": "x"}, "spec": {"protocol": "Telnet"}});
        let lenient: Lenient<ConnectionSpec, ConnectionStatus> =
            serde_json::from_value(object).expect("is decoded");
        assert_eq!(lenient.key(), "n/x");
        assert_eq!(lenient.spec.expect_err("is unreadable").path, "spec.protocol");
    }
}
