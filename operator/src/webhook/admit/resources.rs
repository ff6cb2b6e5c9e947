//! Connections and AccessPolicies as their author wrote them.

use api::{AccessPolicySpec, ConnectionSpec, FieldError, decode_spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::webhook::settings::Refusal;

/// Reads a Connection strictly and checks that it makes sense.
pub fn connection(object: &Value) -> Result<ConnectionSpec, Refusal> {
    let spec: ConnectionSpec = decode(object)?;
    no_errors(&compile::validate::connection(&spec))?;
    Ok(spec)
}

/// Reads an AccessPolicy strictly and checks that it makes sense.
pub fn policy(object: &Value) -> Result<AccessPolicySpec, Refusal> {
    let spec: AccessPolicySpec = decode(object)?;
    no_errors(&compile::validate::policy(&spec))?;
    Ok(spec)
}

/// Whether an update leaves the spec as it is: then what was admitted once stays admitted.
pub fn is_unchanged(old: Option<&Value>, new: &Value) -> bool {
    old.is_some_and(|old| spec(old) == spec(new))
}

/// The Secrets that the author must be able to read: all that the Connection names, when it is new or
/// when it is to send them elsewhere.
pub fn secrets_to_read<'s>(old: Option<&Value>, new: &Value, connection: &'s ConnectionSpec) -> Vec<&'s str> {
    let same = |field: &str| old.is_some_and(|old| spec(old).get(field) == spec(new).get(field));
    if same("upstream") && same("credential") {
        return Vec::new();
    }
    let bundle = connection.upstream.tls.as_ref().and_then(|tls| tls.ca_bundle.as_ref()?.secret_ref.as_ref());
    let mut secrets = vec![connection.credential.secret_ref.name.as_str()];
    secrets.extend(bundle.map(|bundle| bundle.name.as_str()));
    secrets
}

/// The author may not read a Secret that the Connection names.
pub fn unreadable_secret(user: &str, namespace: &str, name: &str) -> Refusal {
    Refusal::new(
        format!("`{user}` may not read the secret `{namespace}/{name}`, so may not send it to an upstream"),
        "have somebody who may `get` it create the Connection, or be granted that right",
    )
}

fn decode<S: DeserializeOwned>(object: &Value) -> Result<S, Refusal> {
    let spec = spec(object);
    if spec.is_null() {
        return Err(Refusal::new("spec: is missing", "write one"));
    }
    decode_spec(spec).map_err(|error| Refusal::field(&error))
}

fn no_errors(errors: &[FieldError]) -> Result<(), Refusal> {
    match errors {
        [] => Ok(()),
        errors => Err(Refusal::fields(errors)),
    }
}

fn spec(object: &Value) -> &Value {
    object.get("spec").unwrap_or(&Value::Null)
}
