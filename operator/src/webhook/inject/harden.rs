//! What an agent's container gets: no way to other UIDs or raw packets, and its environment.

use serde_json::{Value, json};

use super::{
    agent::{DROPPED, normal},
    edit::{Object, list, object, unreadable},
};
use crate::webhook::settings::{Refusal, Variable};

/// Edits one container; says what the pod's author should know.
pub(super) fn harden(container: &mut Value, environment: &[Variable]) -> Result<Vec<String>, Refusal> {
    let container = container.as_object_mut().ok_or_else(|| unreadable("containers"))?;
    let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut warnings = Vec::new();
    let security = object(container, "securityContext")?;
    if security.insert("allowPrivilegeEscalation".to_owned(), json!(false)) == Some(json!(true)) {
        warnings.push(format!("container `{name}`: allowPrivilegeEscalation is set to false"));
    }
    drop_capabilities(object(security, "capabilities")?)?;
    warnings.extend(add_environment(container, &name, environment)?);
    Ok(warnings)
}

fn drop_capabilities(capabilities: &mut Object) -> Result<(), Refusal> {
    let dropped = list(capabilities, "drop")?;
    let have: Vec<String> = dropped.iter().filter_map(Value::as_str).map(normal).collect();
    if !have.iter().any(|name| name == "ALL") {
        let missing = DROPPED.iter().filter(|name| !have.iter().any(|have| have == **name));
        dropped.extend(missing.map(|name| json!(name)));
    }
    Ok(())
}

/// Ours come first, so that the user's own entries may refer to them as `$(NAME)`.
fn add_environment(
    container: &mut Object,
    name: &str,
    environment: &[Variable],
) -> Result<Vec<String>, Refusal> {
    if environment.is_empty() {
        return Ok(Vec::new());
    }
    let mut warnings = Vec::new();
    let sources =
        container.get("envFrom").and_then(Value::as_array).is_some_and(|sources| !sources.is_empty());
    let given = list(container, "env")?;
    let mut ours = Vec::new();
    for Variable { name: variable, value } in environment {
        let entry = json!({"name": variable, "value": literal(value)});
        match given.iter().find(|given| given.get("name").and_then(Value::as_str) == Some(variable)) {
            None => ours.push(entry),
            Some(same) if *same == entry => {}
            Some(_) => warnings.push(format!("container `{name}`: `{variable}` stays as the pod sets it")),
        }
    }
    if sources {
        warnings.push(format!(
            "container `{name}`: names from envFrom give way to those of {}",
            super::CONNECTIONS
        ));
    }
    given.splice(0..0, ours);
    Ok(warnings)
}

/// Kubernetes expands `$(NAME)` in values; `$$(` is a plain `$(`.
fn literal(value: &str) -> String {
    value.replace("$(", "$$(")
}
