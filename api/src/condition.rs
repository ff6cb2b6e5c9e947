//! Conditions: pure functions over a list of them.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The spec makes sense.
pub const ACCEPTED: &str = "Accepted";
/// Everything that the spec names exists and may be used from here.
pub const RESOLVED_REFS: &str = "ResolvedRefs";
/// Every pod that was Ready when this generation was observed has it live, or is gone.
pub const PROGRAMMED: &str = "Programmed";
/// All of the others.
pub const READY: &str = "Ready";

/// The longest message, in characters.
const MESSAGE: usize = 2000;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// The condition's type.
    pub kind: &'static str,
    /// True, False, or Unknown when none.
    pub status: Option<bool>,
    /// One word in CamelCase.
    pub reason: Cow<'static, str>,
    /// For people.
    pub message: String,
}

impl Say {
    /// A condition that holds.
    #[must_use]
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(true), reason: reason.into(), message: message.into() }
    }

    /// A condition that does not hold.
    #[must_use]
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: Some(false), reason: reason.into(), message: message.into() }
    }

    /// A condition of which nothing is known yet.
    #[must_use]
    pub fn unknown(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: None, reason: reason.into(), message: message.into() }
    }
}

/// Sets one condition. Its transition time changes only with its status.
pub fn set(conditions: &mut Vec<Condition>, say: Say, generation: i64, now: Time) {
    let status = match say.status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let old = conditions.iter_mut().find(|condition| condition.type_ == say.kind);
    let since = old.as_ref().filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
    let condition = Condition {
        type_: say.kind.to_owned(),
        status: status.to_owned(),
        reason: say.reason.into_owned(),
        message: shortened(say.message),
        observed_generation: Some(generation),
        last_transition_time: since.unwrap_or(now),
    };
    match old {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// The API server takes no longer message than 32 KiB, and nobody reads one.
fn shortened(message: String) -> String {
    match message.char_indices().nth(MESSAGE) {
        None => message,
        Some(_) => message.chars().take(MESSAGE).chain(['…']).collect(),
    }
}

/// Whether a condition is True for this generation.
#[must_use]
pub fn holds(conditions: &[Condition], kind: &str, generation: i64) -> bool {
    let found = conditions.iter().find(|condition| condition.type_ == kind);
    found.is_some_and(|c| c.status == "True" && c.observed_generation == Some(generation))
}

/// `Ready` from the others: True when all are, else the reason of the first that is not.
#[must_use]
pub fn ready(conditions: &[Condition]) -> Say {
    let first = [ACCEPTED, RESOLVED_REFS, PROGRAMMED]
        .into_iter()
        .find_map(|kind| conditions.iter().find(|c| c.type_ == kind && c.status != "True"));
    first.map_or_else(
        || Say::yes(READY, "Ready", "everything is in place"),
        |c| Say {
            kind: READY,
            status: if c.status == "Unknown" { None } else { Some(false) },
            reason: c.reason.clone().into(),
            message: c.message.clone(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(seconds).expect("a time"))
    }

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let mut conditions = Vec::new();
        set(&mut conditions, Say::yes(ACCEPTED, "Valid", "a"), 1, at(1));
        set(&mut conditions, Say::yes(ACCEPTED, "Valid", "b"), 2, at(2));
        assert_eq!(conditions[0].last_transition_time, at(1));
        set(&mut conditions, Say::no(ACCEPTED, "Invalid", "c"), 3, at(3));
        assert_eq!((conditions.len(), conditions[0].last_transition_time.clone()), (1, at(3)));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut conditions = Vec::new();
        set(&mut conditions, Say::no(ACCEPTED, "Invalid", "ä".repeat(MESSAGE + 1)), 1, at(1));
        assert_eq!(conditions[0].message.chars().count(), MESSAGE + 1);
        assert!(conditions[0].message.ends_with('…'));
    }

    #[test]
    fn what_is_not_known_is_not_false() {
        let mut conditions = Vec::new();
        set(&mut conditions, Say::unknown(RESOLVED_REFS, "Pending", "not read yet"), 1, at(1));
        assert_eq!(ready(&conditions).status, None);
    }

    #[test]
    fn ready_names_the_first_that_is_missing() {
        let mut conditions = Vec::new();
        set(&mut conditions, Say::yes(ACCEPTED, "Valid", ""), 1, at(1));
        set(&mut conditions, Say::no(PROGRAMMED, "PodsPending", "1 of 2"), 1, at(1));
        set(&mut conditions, Say::no(RESOLVED_REFS, "SecretForbidden", "no"), 1, at(1));
        assert_eq!(ready(&conditions).reason, "SecretForbidden");
    }
}
