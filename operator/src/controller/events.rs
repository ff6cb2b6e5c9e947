//! Which changes of conditions a person should see as Events. No client.

use api::condition::{ACCEPTED, PROGRAMMED, READY};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType};

/// The longest note that the API server takes, in characters of one byte.
const NOTE: usize = 1000;
/// What passes by itself within moments.
const PASSING: [&str; 2] = ["Pending", "PodsPending"];

/// The Events between two statuses of one resource.
pub(super) fn between(before: &[Condition], after: &[Condition]) -> Vec<Event> {
    let told = after.iter().filter(|new| new.type_ != READY).filter_map(|new| {
        let old = before.iter().find(|old| old.type_ == new.type_);
        tells(old, new).map(|type_| event(type_, new.reason.clone(), &new.message))
    });
    told.chain(uninspected(before, after)).collect()
}

/// What a change of one condition is worth, if anything.
fn tells(old: Option<&Condition>, new: &Condition) -> Option<EventType> {
    let same = old.is_some_and(|old| old.status == new.status && old.reason == new.reason);
    let (was_false, was) = (old.is_some_and(|old| old.status == "False"), old.map(|old| old.reason.as_str()));
    let another = old.and_then(|old| old.observed_generation) != new.observed_generation;
    match new.status.as_str() {
        "False" if !same && !PASSING.contains(&new.reason.as_str()) => Some(EventType::Warning),
        // Each generation is told when it has arrived.
        "True" if new.type_ == PROGRAMMED && new.reason == "Programmed" && (another || !same) => {
            Some(EventType::Normal)
        }
        "True" if new.type_ != PROGRAMMED && was_false && !was.is_some_and(|was| PASSING.contains(&was)) => {
            Some(EventType::Normal)
        }
        _ => None,
    }
}

/// That nobody looks at what passes is told with a warning, once it does.
fn uninspected(before: &[Condition], after: &[Condition]) -> Option<Event> {
    let of = |all: &[Condition]| {
        all.iter().find(|c| c.type_ == READY && c.reason == "Uninspected").map(|c| c.message.clone())
    };
    let accepted = after.iter().any(|c| c.type_ == ACCEPTED && c.status == "True");
    of(after)
        .filter(|_| accepted && of(before).is_none())
        .map(|message| event(EventType::Warning, "Uninspected".to_owned(), &message))
}

fn event(type_: EventType, reason: String, message: &str) -> Event {
    let mut note = String::new();
    for character in message.chars() {
        if note.len() + character.len_utf8() > NOTE {
            break;
        }
        note.push(character);
    }
    Event { type_, reason, note: Some(note), action: "Reconcile".to_owned(), secondary: None }
}

#[cfg(test)]
mod tests {
    use api::condition::{RESOLVED_REFS, Say, set};
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;

    fn conditions(generation: i64, says: &[Say]) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for say in says {
            set(&mut conditions, say.clone(), generation, Time(Timestamp::UNIX_EPOCH));
        }
        conditions
    }

    fn told(before: &[Condition], after: &[Condition]) -> Vec<(bool, String)> {
        let events = between(before, after).into_iter();
        events.map(|event| (matches!(event.type_, EventType::Warning), event.reason)).collect()
    }

    #[test]
    fn what_a_person_must_mend_is_told_once_and_so_is_its_end() {
        let fine = conditions(1, &[Say::yes(RESOLVED_REFS, "Resolved", "")]);
        let forbidden = conditions(1, &[Say::no(RESOLVED_REFS, "SecretForbidden", "")]);
        assert_eq!(told(&[], &forbidden), [(true, "SecretForbidden".to_owned())]);
        assert_eq!(told(&forbidden, &forbidden), []);
        assert_eq!(told(&forbidden, &fine), [(false, "Resolved".to_owned())]);
        assert_eq!(told(&[], &fine), []);
    }

    #[test]
    fn each_generation_is_told_when_it_is_live_and_not_while_it_is_on_its_way() {
        let waits = conditions(2, &[Say::no(PROGRAMMED, "PodsPending", "")]);
        let first = conditions(1, &[Say::yes(PROGRAMMED, "Programmed", "")]);
        let second = conditions(2, &[Say::yes(PROGRAMMED, "Programmed", "")]);
        let stale = conditions(2, &[Say::no(PROGRAMMED, "PodsStale", "")]);
        assert_eq!(told(&first, &waits), []);
        assert_eq!(told(&waits, &second), [(false, "Programmed".to_owned())]);
        assert_eq!(told(&first, &second), [(false, "Programmed".to_owned())]);
        assert_eq!(told(&second, &stale), [(true, "PodsStale".to_owned())]);
        assert_eq!(told(&[], &conditions(1, &[Say::yes(PROGRAMMED, "NoPods", "")])), []);
    }

    #[test]
    fn what_nobody_looks_at_is_told_with_a_warning() {
        let ready =
            conditions(1, &[Say::yes(ACCEPTED, "Valid", ""), Say::yes(READY, "Uninspected", "bytes pass")]);
        assert_eq!(told(&[], &ready), [(true, "Uninspected".to_owned())]);
        assert_eq!(told(&ready, &ready), []);
    }
}
