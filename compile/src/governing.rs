//! One AccessPolicy: what it is about, whom it concerns, and what it says there.

use std::collections::BTreeMap;

use api::v1alpha1::{self as v1, ConnectionRefs, Subject};
use policy::{
    Baseline, Durability, Matches, PolicyDocument, Recording, Rule, StatementRecording, UpstreamProtocol,
};

use crate::{
    Pod, PolicyInput, rules,
    select::{is_subject, refers, split},
    unreadable::Unreadable,
    validate,
};

/// A policy, compiled.
#[derive(Debug)]
pub(crate) struct Policy<'a> {
    /// `namespace/name`.
    pub(crate) key: &'a str,
    generation: i64,
    /// None: all Connections of its namespace.
    connections: Option<ConnectionRefs>,
    /// None: everybody.
    subjects: Option<Vec<Subject>>,
    baseline: Baseline,
    recording: Recording,
    rules: Vec<Rule>,
    /// Why it denies everything.
    broken: Option<String>,
}

impl<'a> Policy<'a> {
    pub(crate) fn new(input: &PolicyInput<'a>) -> Self {
        let spec = match input.spec {
            Ok(spec) => spec,
            Err(error) => return Self::unreadable(input, error.to_string()),
        };
        if let Some(first) = validate::policy(spec).first() {
            return Self::unreadable(input, first.to_string());
        }
        let rules = spec.rules.iter().filter_map(|rule| rules::compile(rule, "spec.rules").ok());
        Self {
            key: input.key,
            generation: input.generation,
            connections: Some(spec.connections.clone()),
            subjects: Some(spec.subjects.clone()),
            baseline: baseline(spec.baseline),
            recording: recording(spec.recording.unwrap_or_default()),
            rules: rules.collect(),
            broken: None,
        }
    }

    fn unreadable(input: &PolicyInput<'a>, reason: String) -> Self {
        let Unreadable { connections, subjects, denies, baseline: narrow, recording: most } =
            Unreadable::of(input.raw);
        Self {
            key: input.key,
            generation: input.generation,
            connections,
            // A Deny of which a part is unreadable denies to all.
            subjects: subjects.filter(|_| !denies),
            baseline: baseline(narrow),
            recording: recording(most),
            rules: Vec::new(),
            broken: denies.then_some(reason),
        }
    }

    /// Whether it is about a Connection.
    pub(crate) fn is_about(&self, owner: &str, name: &str, labels: &BTreeMap<String, String>) -> bool {
        let (namespace, _) = split(self.key);
        namespace == owner && self.connections.as_ref().is_none_or(|refs| refers(refs, name, labels))
    }

    /// Whether it concerns a pod.
    pub(crate) fn concerns(&self, pod: &Pod) -> bool {
        let (namespace, _) = split(self.key);
        let mut subjects = self.subjects.iter().flatten();
        self.subjects.is_none() || subjects.any(|subject| is_subject(subject, namespace, pod))
    }

    /// What it says on a Connection of this protocol. A rule about statements says nothing about what is
    /// opaque, and the other way round.
    pub(crate) fn document(&self, protocol: UpstreamProtocol) -> PolicyDocument {
        let speaks =
            |rule: &&Rule| match (&rule.matches, protocol) {
                (Matches::Sql(_), UpstreamProtocol::Postgres)
                | (Matches::Opaque, UpstreamProtocol::Opaque) => true,
                (Matches::Sql(_), UpstreamProtocol::Opaque)
                | (Matches::Opaque, UpstreamProtocol::Postgres) => false,
            };
        PolicyDocument {
            name: self.key.to_owned(),
            generation: self.generation,
            baseline: self.baseline,
            recording: self.recording,
            rules: self.rules.iter().filter(speaks).cloned().collect(),
            broken: self.broken.clone(),
        }
    }
}

const fn baseline(baseline: v1::Baseline) -> Baseline {
    match baseline {
        v1::Baseline::Standard => Baseline::Standard,
        v1::Baseline::None => Baseline::None,
    }
}

const fn recording(recording: v1::Recording) -> Recording {
    let v1::Recording { statements, durability } = recording;
    Recording {
        statements: match statements {
            v1::StatementRecording::Full => StatementRecording::Full,
            v1::StatementRecording::Fingerprint => StatementRecording::Fingerprint,
        },
        durability: match durability {
            v1::Durability::Process => Durability::Process,
            v1::Durability::Node => Durability::Node,
            v1::Durability::Store => Durability::Store,
        },
    }
}
