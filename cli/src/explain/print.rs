//! The answer, for people or as JSON.

use std::collections::BTreeMap;

use policy::{Access, ConnectionDocument, Object, RuleRef, ViaKind};
use serde_json::{Value, json};
use sql::Assumed;

use super::{
    judge::{Answer, Decision, Outcome},
    names::Names,
    resources::Resources,
    suggest::suggest,
};
use crate::{
    args::Output,
    output::{line, plain},
};

/// Everything that is printed.
pub(super) struct Printed<'a> {
    pub(super) text: &'a str,
    pub(super) resources: &'a Resources,
    pub(super) key: &'a str,
    pub(super) connection: Option<&'a ConnectionDocument>,
    pub(super) names: Option<&'a Names>,
    pub(super) answer: &'a Answer,
}

impl Printed<'_> {
    pub(super) fn print(&self, output: Output) -> anyhow::Result<()> {
        match output {
            Output::Json => line(&serde_json::to_string_pretty(&self.json())?),
            Output::Text => self.lines().iter().try_for_each(|text| line(text)),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = self.head();
        for decisions in &self.answer.statements {
            lines.push(String::new());
            lines.extend(accesses(decisions));
        }
        lines.push(String::new());
        let sure = if self.assumed().is_some() { ", as far as names alone tell" } else { "" };
        lines.push(format!("{}{sure}", self.answer.outcome.word()));
        lines.extend(self.answer.reasons.iter().map(|reason| format!("  {}", plain(reason))));
        lines.extend(self.advice());
        lines.extend(self.notes().iter().map(|note| format!("note: {}", plain(note))));
        lines
    }

    fn head(&self) -> Vec<String> {
        let pod = &self.resources.pod;
        let who = match &self.resources.pod_name {
            Some(name) => format!("{}/{name}, service account {}", pod.namespace, pod.service_account),
            None => format!("any of service account {}/{}", pod.namespace, pod.service_account),
        };
        let mut lines = vec![format!("pod         {who}")];
        if !pod.labels.is_empty() {
            let labels: Vec<String> =
                pod.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            lines.push(format!("labels      {}", labels.join(", ")));
        }
        let upstream = self.connection.map(|connection| {
            let database = connection.postgres.as_ref().map_or("", |postgres| &postgres.database);
            format!(": {}:{}, database {database}", connection.upstream.host, connection.upstream.port)
        });
        lines.push(format!("connection  {}{}", self.key, upstream.unwrap_or_default()));
        let (governing, others) = self.policies();
        lines.push(format!("policies    {}", join_or_none(&governing)));
        if !others.is_empty() {
            lines.push(format!("            not for this pod and Connection: {}", others.join(", ")));
        }
        lines.extend(self.names.into_iter().flat_map(about_names));
        lines
    }

    /// The policies that govern, and the others beside them.
    fn policies(&self) -> (Vec<String>, Vec<String>) {
        let governing: Vec<String> =
            self.connection.iter().flat_map(|c| &c.policies).map(|policy| policy.name.clone()).collect();
        let mut others = self.resources.policies_beside(self.key);
        others.retain(|name| !governing.contains(name));
        (governing, others)
    }

    fn assumed(&self) -> Option<&Assumed> {
        self.names.and_then(Names::assumptions)
    }

    /// What to do about a refusal.
    fn advice(&self) -> Vec<String> {
        if self.answer.outcome != Outcome::Refused {
            return Vec::new();
        }
        let suggestion = suggest(&self.answer.statements);
        let mut lines: Vec<String> =
            suggestion.steps.iter().map(|step| format!("  to allow it: {}", plain(step))).collect();
        if !suggestion.rules.is_empty() {
            lines.push(format!("  to allow it, add to an AccessPolicy for the Connection `{}`:", self.key));
            for rule in &suggestion.rules {
                lines.push(format!("    - {}", plain(&flow(rule))));
            }
        }
        lines
    }

    fn notes(&self) -> Vec<String> {
        let resources = self.resources;
        let more = resources.not_ready(self.key).into_iter().chain(resources.unusable_policies(self.key));
        resources.notes.iter().cloned().chain(more).collect()
    }

    fn json(&self) -> Value {
        let pod = &self.resources.pod;
        let (governing, others) = self.policies();
        let suggestion = suggest(&self.answer.statements);
        let statements =
            self.answer.statements.iter().map(
                |decisions| json!({ "accesses": decisions.iter().map(access_json).collect::<Vec<_>>() }),
            );
        json!({
            "verdict": self.answer.outcome.word(),
            "reasons": self.answer.reasons,
            "text": self.text,
            "pod": {
                "namespace": pod.namespace,
                "name": self.resources.pod_name,
                "serviceAccount": pod.service_account,
                "labels": pod.labels,
            },
            "connection": self.key,
            "policies": governing,
            "otherPolicies": others,
            "names": self.names.map(names_json),
            "statements": statements.collect::<Vec<_>>(),
            "toAllow": { "steps": suggestion.steps, "rules": suggestion.rules },
            "notes": self.notes(),
        })
    }
}

fn join_or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What the answer rests on.
fn about_names(names: &Names) -> Vec<String> {
    let path = names.search_path.join(", ");
    let Some(assumed) = names.assumptions() else {
        return vec![
            format!("names       asked of PostgreSQL {}, database {}", names.version, names.database),
            format!("            search path {path} (of {}; a sidecar has that of its own role)", names.user),
        ];
    };
    let mut lines = vec![
        format!(
            "names       ASSUMED, as on PostgreSQL {}, search path {path}: no database was asked",
            names.version
        ),
        "            views, partitions, triggers and checks are not seen; --catalog-from asks a database"
            .to_owned(),
    ];
    let pairs = |what: &str, names: &std::collections::BTreeSet<(String, String)>| {
        let all: Vec<String> = names.iter().map(|(schema, name)| format!("{schema}.{name}")).collect();
        (!all.is_empty()).then(|| format!("            taken for {what}: {}", plain(&all.join(", "))))
    };
    lines.extend(pairs("plain tables", &assumed.relations));
    lines.extend(pairs("functions", &assumed.functions));
    lines.extend(pairs("types without checks", &assumed.types));
    let columns: Vec<&str> = assumed.columns.union(&assumed.bare_columns).map(String::as_str).collect();
    if !columns.is_empty() {
        lines.push(format!("            taken for columns: {}", plain(&columns.join(", "))));
    }
    lines
}

fn names_json(names: &Names) -> Value {
    let shown = |names: &std::collections::BTreeSet<(String, String)>| -> Vec<String> {
        names.iter().map(|(schema, name)| format!("{schema}.{name}")).collect()
    };
    json!({
        "assumed": names.assumptions().is_some(),
        "version": names.version.major(),
        "searchPath": names.search_path,
        "takenFor": names.assumptions().map(|assumed| json!({
            "tables": shown(&assumed.relations),
            "functions": shown(&assumed.functions),
            "types": shown(&assumed.types),
            "columns": assumed.columns.union(&assumed.bare_columns).collect::<Vec<_>>(),
        })),
    })
}

/// One line per access; overloads of one function that nothing tells apart are one.
fn accesses(decisions: &[Decision]) -> Vec<String> {
    let mut lines: BTreeMap<(usize, String, String), (usize, String)> = BTreeMap::new();
    for decision in decisions {
        let (order, verdict) = match &decision.verdict {
            Ok(rules) if rules.is_empty() => (2, "baseline".to_owned()),
            Ok(rules) => (1, rules.iter().map(RuleRef::to_string).collect::<Vec<_>>().join(", ")),
            Err(denial) => (0, denial.detail()),
        };
        let what = described(&decision.access);
        let Access { verb, object, via, .. } = &decision.access;
        let general = if let (Object::Function(name), true) = (object, via.is_empty()) {
            format!("{verb} {}.{}", name.schema, name.name)
        } else {
            what.clone()
        };
        lines.entry((order, general, verdict)).or_insert((0, what)).0 += 1;
    }
    if lines.is_empty() {
        return vec!["it touches nothing: possible wherever any rule allows anything".to_owned()];
    }
    let shown = lines.into_iter().map(|((order, general, verdict), (count, what))| {
        let word = if order == 0 { "refused" } else { "allowed" };
        let what = if count > 1 { format!("{general} ({count} overloads)") } else { what };
        format!("  {word}  {}  [{}]", plain(&what), plain(&verdict))
    });
    shown.collect()
}

fn described(access: &Access) -> String {
    let mut text = access.describe();
    for step in &access.via {
        let kind = match step.kind {
            ViaKind::View => "view",
            ViaKind::Parent => "parent",
        };
        text += &format!(", by {kind} {}", step.relation);
    }
    text
}

fn access_json(decision: &Decision) -> Value {
    let Decision { access, verdict } = decision;
    let columns = match &access.columns {
        policy::Columns::All => json!("*"),
        policy::Columns::Set(set) => json!(set),
    };
    let via: Vec<String> = access.via.iter().map(|step| step.relation.to_string()).collect();
    let (allowed, rules, reason) = match verdict {
        Ok(rules) => (true, rules.iter().map(RuleRef::to_string).collect(), None),
        Err(denial) => {
            (false, denial.rule().iter().map(ToString::to_string).collect::<Vec<_>>(), Some(denial.detail()))
        }
    };
    json!({
        "verb": access.verb.name(),
        "object": access.object.to_string(),
        "columns": columns,
        "via": via,
        "allowed": allowed,
        "baseline": allowed && rules.is_empty(),
        "rules": rules,
        "reason": reason,
    })
}

/// YAML on one line, as people write rules.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let inside: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{{}}}", inside.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        // A JSON string is a YAML string.
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
