//! A pod, as far as policies see it.

use std::collections::BTreeMap;

use api::FieldError;

/// How many Connections one pod may name.
const REQUESTED_LIMIT: usize = 64;

/// What policies see of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
    /// Its labels at admission.
    pub labels: BTreeMap<String, String>,
    /// The Connections that it asks for, as `namespace/name` in its own order; none: those of its namespace.
    pub connections: Option<Vec<String>>,
}

/// Reads the annotation `chaperone.dev/connections` of a pod in `namespace`: `orders-db, data/stripe`.
///
/// # Errors
/// When an entry is empty, has more than one slash, or comes twice.
pub fn requested(annotation: &str, namespace: &str) -> Result<Vec<String>, FieldError> {
    const PATH: &str = "metadata.annotations[chaperone.dev/connections]";
    let mut found: Vec<String> = Vec::new();
    for entry in annotation.split(',').map(str::trim) {
        let key = match entry.split('/').collect::<Vec<_>>()[..] {
            [name] if !name.is_empty() => format!("{namespace}/{name}"),
            [other, name] if !other.is_empty() && !name.is_empty() => format!("{other}/{name}"),
            _ => {
                let message =
                    format!("`{entry}` must be written as `name` or `namespace/name`, separated by commas");
                return Err(FieldError::new(PATH, message));
            }
        };
        if found.contains(&key) {
            return Err(FieldError::new(PATH, format!("`{key}` is named twice; name each Connection once")));
        }
        found.push(key);
    }
    if found.len() > REQUESTED_LIMIT {
        return Err(FieldError::new(
            PATH,
            format!("names {} Connections; at most {REQUESTED_LIMIT} are possible", found.len()),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::requested;

    #[test]
    fn names_belong_to_the_pods_namespace_unless_they_say_otherwise() {
        assert_eq!(
            requested("orders-db, data/stripe", "shop"),
            Ok(vec!["shop/orders-db".to_owned(), "data/stripe".to_owned()])
        );
    }

    #[test]
    fn what_is_no_list_of_names_is_an_error() {
        for wrong in ["", "a,,b", "a/b/c", "/a", "a/", "a, a", "x, shop/x"] {
            assert!(requested(wrong, "shop").is_err(), "{wrong}");
        }
    }
}
