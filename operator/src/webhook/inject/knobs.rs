//! The pod's annotations that adjust its sidecar. None of them weakens enforcement.

use std::collections::BTreeMap;

use crate::webhook::settings::Refusal;

const CPU: &str = "chaperone.dev/sidecar-cpu";
const MEMORY: &str = "chaperone.dev/sidecar-memory";
const LOG_LEVEL: &str = "chaperone.dev/sidecar-log-level";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// Longer than any amount that means something.
const QUANTITY_LIMIT: usize = 16;

/// What the pod wishes for its sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Knobs {
    pub(crate) cpu: Option<String>,
    pub(crate) memory: Option<String>,
    pub(crate) log_level: Option<String>,
}

impl Knobs {
    /// Reads the annotations.
    pub(crate) fn read(annotations: Option<&BTreeMap<String, String>>) -> Result<Self, Refusal> {
        let given = |key: &str| annotations.and_then(|map| map.get(key)).cloned();
        Ok(Self {
            cpu: quantity(CPU, given(CPU), &["", "m"], "100m")?,
            memory: quantity(MEMORY, given(MEMORY), &["", "k", "M", "G", "Ki", "Mi", "Gi"], "64Mi")?,
            log_level: level(given(LOG_LEVEL))?,
        })
    }
}

fn quantity(
    key: &str,
    given: Option<String>,
    units: &[&str],
    example: &str,
) -> Result<Option<String>, Refusal> {
    let Some(text) = given else { return Ok(None) };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let shape = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.len() <= QUANTITY_LIMIT;
    if shape && units.contains(&unit) && digits.parse().is_ok_and(|amount: f64| amount > 0.0) {
        return Ok(Some(text));
    }
    Err(Refusal::new(
        format!("the annotation `{key}` is `{text}`"),
        format!("write an amount such as `{example}`"),
    ))
}

fn level(given: Option<String>) -> Result<Option<String>, Refusal> {
    match given {
        Some(text) if !LEVELS.contains(&text.as_str()) => Err(Refusal::new(
            format!("the annotation `{LOG_LEVEL}` is `{text}`"),
            format!("write one of {}", LEVELS.map(|level| format!("`{level}`")).join(", ")),
        )),
        given => Ok(given),
    }
}
