//! What an AccessPolicy that cannot be read still says.
//!
//! It narrows and never widens: its Allows count as absent. Its Denies deny everything, and since a Deny may
//! hide behind whatever cannot be read, a policy counts as one that denies unless every rule of it is
//! certainly an Allow.

use api::v1alpha1::{self as v1, ConnectionRefs, Subject};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The fields of a spec. Another one may be what narrows, in a version that is not this one.
const FIELDS: [&str; 5] = ["subjects", "connections", "baseline", "rules", "recording"];

/// What can be told of it.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    /// Which Connections it is about; none: all of its namespace.
    pub(crate) connections: Option<ConnectionRefs>,
    /// Whom it is about; none: everybody.
    pub(crate) subjects: Option<Vec<Subject>>,
    /// Whether it may deny.
    pub(crate) denies: bool,
    /// At least as narrow as it says.
    pub(crate) baseline: v1::Baseline,
    /// At least as much as it says.
    pub(crate) recording: v1::Recording,
}

impl Unreadable {
    /// From what was read of a spec.
    pub(crate) fn of(raw: &Value) -> Self {
        let Some(spec) = raw.as_object() else { return Self::nothing() };
        let connections: Option<ConnectionRefs> = field(spec, "connections");
        Self {
            connections: connections.filter(|refs| refs.names.is_some() != refs.selector.is_some()),
            subjects: field(spec, "subjects").filter(|subjects: &Vec<Subject>| !subjects.is_empty()),
            denies: spec.keys().any(|key| !FIELDS.contains(&key.as_str())) || may_deny(spec.get("rules")),
            baseline: optional(spec, "baseline", v1::Baseline::None),
            recording: optional(spec, "recording", most()),
        }
    }

    /// Of which nothing can be told.
    const fn nothing() -> Self {
        Self {
            connections: None,
            subjects: None,
            denies: true,
            baseline: v1::Baseline::None,
            recording: most(),
        }
    }
}

const fn most() -> v1::Recording {
    v1::Recording { statements: v1::StatementRecording::Full, durability: v1::Durability::Store }
}

fn may_deny(rules: Option<&Value>) -> bool {
    let allows = |rule: &Value| rule.get("verdict").and_then(Value::as_str) == Some("Allow");
    match rules {
        None => false,
        Some(Value::Array(rules)) => !rules.iter().all(allows),
        Some(_) => true,
    }
}

fn field<T: DeserializeOwned>(spec: &Map<String, Value>, name: &str) -> Option<T> {
    spec.get(name).and_then(|value| serde_json::from_value(value.clone()).ok())
}

/// Its default when it is not there, `otherwise` when it cannot be read.
fn optional<T: DeserializeOwned + Default>(spec: &Map<String, Value>, name: &str, otherwise: T) -> T {
    if spec.contains_key(name) { field(spec, name).unwrap_or(otherwise) } else { T::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(rules: &Value) -> Value {
        json!({"subjects": [{"serviceAccounts": ["a"]}], "connections": {"names": ["db"]}, "rules": rules})
    }

    #[test]
    fn a_policy_of_allows_alone_does_not_deny() {
        let rules = json!([{"name": "r", "verdict": "Allow", "sql": {"verbs": ["Read"], "relatoins": []}}]);
        let found = Unreadable::of(&spec(&rules));
        assert!(!found.denies && found.connections.is_some() && found.subjects.is_some());
        assert_eq!((found.baseline, found.recording), Default::default());
    }

    #[test]
    fn whatever_may_hide_a_deny_denies() {
        for rules in [
            json!([{"verdict": "Allow"}, {"verdict": "Deny"}]),
            json!([{"verdict": "allow"}]),
            json!([{"verdcit": "Deny"}]),
            json!(["Allow"]),
            json!({"verdict": "Allow"}),
            Value::Null,
        ] {
            assert!(Unreadable::of(&spec(&rules)).denies, "{rules}");
        }
        let mut masked = spec(&json!([{"verdict": "Allow"}]));
        masked["masks"] = json!([]);
        assert!(Unreadable::of(&masked).denies, "an unknown field may narrow");
        assert!(Unreadable::of(&Value::Null).denies);
    }

    #[test]
    fn what_cannot_be_read_is_the_narrowest() {
        let mut odd = spec(&json!([]));
        odd["baseline"] = json!("Standrad");
        odd["recording"] = json!({"statemnts": "Full"});
        odd["connections"] = json!({"name": "db"});
        let found = Unreadable::of(&odd);
        assert_eq!(found.baseline, v1::Baseline::None);
        assert_eq!(found.recording.durability, v1::Durability::Store);
        assert!(found.connections.is_none());
    }

    #[test]
    fn the_fields_are_those_of_the_spec() {
        let whole: api::AccessPolicySpec = serde_json::from_value(json!({
            "subjects": [], "connections": {"names": []}, "baseline": "None", "rules": [], "recording": {},
        }))
        .unwrap();
        let whole = serde_json::to_value(whole).unwrap();
        let fields: std::collections::BTreeSet<&str> =
            whole.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, FIELDS.into());
    }
}
