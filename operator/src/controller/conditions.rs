//! What the status of each resource says. No client.

use api::{
    AccessPolicySpec, AccessPolicyStatus, ConnectionStatus, FieldError,
    condition::{self, ACCEPTED, PROGRAMMED, READY, RESOLVED_REFS, Say},
    v1alpha1::Protocol,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    fetch::{AccessPolicy, Connection, World},
    resolve::Resolved,
};
use crate::distribute::{Programmed, Progress};

/// What pods that speak an opaque protocol are not protected from.
const UNINSPECTED: &str =
    "everything is in place; bytes pass without being looked at: no statement is decided or recorded";

/// What a Connection's status says.
pub(super) fn of_connection(
    connection: &Connection,
    (resolved, conflict): (&Resolved, Option<&String>),
    progress: &Progress,
    (old, now): (&ConnectionStatus, &Time),
) -> ConnectionStatus {
    let generation = connection.metadata.generation.unwrap_or_default();
    let errors = match &connection.spec {
        Ok(spec) => compile::validate::connection(spec),
        Err(error) => vec![error.clone()],
    };
    let accepted = match (errors.as_slice(), conflict) {
        ([], Some(conflict)) => Say::no(ACCEPTED, "Conflicted", conflict.clone()),
        (errors, _) => accepted(errors),
    };
    let says = [Some(accepted), resolved.references.clone(), Some(programmed(progress))];
    let mut conditions = conditions(&old.conditions, generation, says, now);
    let opaque = connection.spec.as_ref().is_ok_and(|spec| spec.protocol == Protocol::Opaque);
    if opaque && condition::holds(&conditions, READY, generation) {
        condition::set(&mut conditions, Say::yes(READY, "Uninspected", UNINSPECTED), generation, now.clone());
    }
    ConnectionStatus {
        observed_generation: Some(generation),
        conditions,
        address: resolved.address.map(|address| address.to_string()),
        pods: count(progress.pods),
    }
}

/// What an AccessPolicy's status says.
pub(super) fn of_policy(
    policy: &AccessPolicy,
    world: &World,
    progress: &Progress,
    (old, now): (&AccessPolicyStatus, &Time),
) -> AccessPolicyStatus {
    let generation = policy.metadata.generation.unwrap_or_default();
    let (errors, references, rules) = match &policy.spec {
        Ok(spec) => {
            let rules = i32::try_from(spec.rules.len()).ok();
            (compile::validate::policy(spec), policy_references(policy, spec, world), rules)
        }
        Err(error) => {
            let says = Say::no(RESOLVED_REFS, "Invalid", "the spec cannot be read");
            (vec![error.clone()], says, None)
        }
    };
    let mut accepted = accepted(&errors);
    if !errors.is_empty() {
        accepted.message.push_str(
            "; until it is corrected, what it allows counts for nothing and what it may deny is denied",
        );
    }
    let says = [Some(accepted), Some(references), Some(programmed(progress))];
    AccessPolicyStatus {
        observed_generation: Some(generation),
        conditions: conditions(&old.conditions, generation, says, now),
        rules,
        pods: count(progress.pods),
        pods_on_generation: count(progress.on_generation),
        pods_stale: count(progress.stale),
    }
}

/// Conditions for one generation, `Ready` last. What is not known yet stays as it was said of the same
/// generation: a new leader has read nothing yet, and that is no news.
fn conditions(old: &[Condition], generation: i64, says: [Option<Say>; 3], now: &Time) -> Vec<Condition> {
    let mut conditions = old.to_vec();
    let known = |conditions: &[Condition]| {
        let mut same = conditions.iter().filter(|c| c.type_ == RESOLVED_REFS);
        same.any(|c| c.observed_generation == Some(generation) && c.status != "Unknown")
    };
    for say in says {
        let say = match say {
            Some(say) => say,
            None if known(&conditions) => continue,
            None => Say::unknown(RESOLVED_REFS, "Pending", "what it names has not been read yet"),
        };
        condition::set(&mut conditions, say, generation, now.clone());
    }
    let ready = condition::ready(&conditions);
    condition::set(&mut conditions, ready, generation, now.clone());
    conditions
}

fn accepted(errors: &[FieldError]) -> Say {
    match errors {
        [] => Say::yes(ACCEPTED, "Valid", "the spec makes sense"),
        errors => {
            let reason = if errors.iter().any(|error| error.unknown) { "UnknownField" } else { "Invalid" };
            let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Say::no(ACCEPTED, reason, messages.join("; "))
        }
    }
}

fn programmed(progress: &Progress) -> Say {
    if let Some(problem) = &progress.problem {
        return Say::no(PROGRAMMED, "PodsPending", format!("{problem}; the old document stays there"));
    }
    match progress.programmed {
        Programmed::Done => Say::yes(PROGRAMMED, "Programmed", "live in every pod that was Ready"),
        Programmed::NoPods => Say::yes(PROGRAMMED, "NoPods", "it concerns no pod yet"),
        Programmed::Waiting(count) => {
            Say::no(PROGRAMMED, "PodsPending", format!("{count} pods have not acknowledged it yet"))
        }
        Programmed::Stale => {
            let message = format!("{} pods have been silent for a minute", progress.stale);
            Say::no(PROGRAMMED, "PodsStale", message)
        }
    }
}

fn count(number: u32) -> Option<i32> {
    Some(i32::try_from(number).unwrap_or(i32::MAX))
}

fn policy_references(policy: &AccessPolicy, spec: &AccessPolicySpec, world: &World) -> Say {
    let own = policy.metadata.namespace.clone().unwrap_or_default();
    let named = spec.connections.names.iter().flatten();
    for name in named {
        let Some(connection) = world.connection(&own, name) else {
            let message = format!("there is no Connection `{name}` in namespace `{own}`");
            return Say::no(RESOLVED_REFS, "ConnectionNotFound", message);
        };
        let Ok(connection) = &connection.spec else { continue };
        let allowed = connection.allowed_namespaces.as_ref().map(|allowed| allowed.names.as_slice());
        let foreign = spec.subjects.iter().flat_map(|subject| subject.namespaces.iter().flatten());
        if let Some(foreign) =
            foreign.filter(|n| **n != own).find(|n| !allowed.unwrap_or_default().contains(n))
        {
            let message = format!(
                "Connection `{name}` does not allow namespace `{foreign}`; add it to its `allowedNamespaces.names`"
            );
            return Say::no(RESOLVED_REFS, "NamespaceNotAllowed", message);
        }
    }
    Say::yes(RESOLVED_REFS, "Resolved", "everything it names was found")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("a time"))
    }

    fn reason(conditions: &[Condition], kind: &str) -> String {
        conditions.iter().find(|c| c.type_ == kind).expect("is said").reason.clone()
    }

    #[test]
    fn a_new_leader_does_not_unsay_what_it_has_not_read() {
        let yes = |kind| Some(Say::yes(kind, "Fine", ""));
        let first = conditions(&[], 1, [yes(ACCEPTED), yes(RESOLVED_REFS), yes(PROGRAMMED)], &at(1));
        let second = conditions(&first, 1, [yes(ACCEPTED), None, yes(PROGRAMMED)], &at(2));
        assert_eq!(first, second);
        let changed = conditions(&first, 2, [yes(ACCEPTED), None, yes(PROGRAMMED)], &at(3));
        assert_eq!(reason(&changed, RESOLVED_REFS), "Pending");
        assert!(!condition::holds(&changed, READY, 2));
        let read = conditions(&changed, 2, [yes(ACCEPTED), yes(RESOLVED_REFS), yes(PROGRAMMED)], &at(4));
        assert!(condition::holds(&read, READY, 2));
    }
}
