//! The environment variables by which an agent finds its Connections.

use std::collections::BTreeMap;

use api::{
    ConnectionSpec, FieldError,
    v1alpha1::{Environment, Protocol},
};

use crate::{Pod, select::split};

/// The variables for the Connections that the pod asks for, in its order: the first Postgres one gets the
/// standard names, all get `CHAPERONE_<NAME>_HOST` and `_PORT`.
///
/// # Errors
/// When two Connections would get the same variable.
pub fn environment(
    connections: &[(&str, &ConnectionSpec)],
    pod: &Pod,
) -> Result<Vec<(String, String)>, FieldError> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let standard = connections.iter().find(|(_, spec)| {
        spec.protocol == Protocol::Postgres
            && spec.agent.as_ref().is_none_or(|agent| agent.environment == Environment::Standard)
    });
    if let Some((_, spec)) = standard {
        let database = spec.postgres.as_ref().map(|postgres| postgres.database.clone()).unwrap_or_default();
        variables.extend([
            ("PGHOST".to_owned(), host(spec)),
            ("PGPORT".to_owned(), spec.upstream.port.to_string()),
            ("PGUSER".to_owned(), pod.service_account.clone()),
            ("PGDATABASE".to_owned(), database),
            // Loopback inside the pod.
            ("PGSSLMODE".to_owned(), "disable".to_owned()),
        ]);
    }
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    for (key, spec) in connections {
        let prefix = prefix(key, &pod.namespace);
        if let Some(other) = owners.insert(prefix.clone(), key) {
            return Err(FieldError::new(
                "metadata.annotations[chaperone.dev/connections]",
                format!("`{other}` and `{key}` would both get `{prefix}_HOST`; name only one of them"),
            ));
        }
        if spec.agent.as_ref().is_none_or(|agent| agent.environment == Environment::Standard) {
            variables.push((format!("{prefix}_HOST"), host(spec)));
            variables.push((format!("{prefix}_PORT"), spec.upstream.port.to_string()));
        }
    }
    Ok(variables)
}

fn host(spec: &ConnectionSpec) -> String {
    spec.upstream.host.trim_end_matches('.').to_owned()
}

/// `CHAPERONE_ORDERS_DB`; a foreign namespace stands in front: `CHAPERONE_DATA_STRIPE`.
fn prefix(key: &str, namespace: &str) -> String {
    let (owner, name) = split(key);
    let text = if owner == namespace { name.to_owned() } else { format!("{owner}_{name}") };
    let upper = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("CHAPERONE_{}", upper.collect::<String>())
}
