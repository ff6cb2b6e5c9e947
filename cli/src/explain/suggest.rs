//! What would have to be allowed, as rules to paste. No I/O.

use std::collections::BTreeMap;

use policy::{Access, Columns, Missing, Object, Verb};
use serde_json::{Map, Value, json};
use sql::Assumed;

use super::judge::Decision;

/// What a person could do about a refusal.
#[derive(Default)]
pub(super) struct Suggestion {
    /// In words.
    pub(super) steps: Vec<String>,
    /// Rules that would allow what no rule allows.
    pub(super) rules: Vec<Value>,
}

/// What would have to change.
pub(super) fn suggest(statements: &[Vec<Decision>]) -> Suggestion {
    let mut suggestion = Suggestion::default();
    let mut wanted: BTreeMap<String, (Map<String, Value>, Vec<&str>)> = BTreeMap::new();
    for decision in statements.iter().flatten() {
        let Err(denial) = &decision.verdict else { continue };
        let step = match &denial.missing {
            Missing::Rule { rule, .. } => {
                Some(format!("no Allow lifts a Deny: narrow or remove the rule `{rule}`"))
            }
            Missing::Where(rule) => Some(format!(
                "add a WHERE on a column of `{}`: the rule `{rule}` asks for it",
                decision.access.object
            )),
            Missing::BrokenPolicy { policy, .. } => Some(format!("mend the AccessPolicy `{policy}`")),
            Missing::Connection(_) => None,
            Missing::Allow | Missing::AnyAllow if decision.access.baseline => Some(
                "`baseline: None` leaves out what comes with any Allow: remove it, or allow each".to_owned(),
            ),
            Missing::Allow | Missing::AnyAllow => {
                // Only what is to blame, where that is known.
                let access = denial.access.as_deref().unwrap_or(&decision.access);
                want(access, &mut wanted)
            }
        };
        suggestion.steps.extend(step);
    }
    suggestion.steps.sort();
    suggestion.steps.dedup();
    for (number, (mut object, verbs)) in (1..).zip(wanted.into_values()) {
        object.insert("verbs".to_owned(), json!(verbs));
        suggestion
            .rules
            .push(json!({ "name": format!("allow-{number}"), "verdict": "Allow", "sql": object }));
    }
    suggestion
}

/// Notes a rule for an access, united with others on the same object; or says in words what it takes.
fn want(access: &Access, wanted: &mut BTreeMap<String, (Map<String, Value>, Vec<&str>)>) -> Option<String> {
    let mut lists = Map::new();
    let mut list = |name: &str, item: String| lists.insert(name.to_owned(), json!([item]));
    match &access.object {
        Object::Relation(name) => {
            list("relations", name.to_string());
            if let Columns::Set(columns) = &access.columns
                && !columns.is_empty()
            {
                lists.insert("columns".to_owned(), json!(columns));
            }
        }
        Object::Function(name) => {
            let schema =
                if name.schema == "pg_catalog" { String::new() } else { format!("{}.", name.schema) };
            let arguments = match name.arguments.as_slice() {
                [only] if only == Assumed::ARGUMENTS => String::new(),
                all => format!("({})", all.join(", ")),
            };
            list("functions", format!("{schema}{}{arguments}", name.name));
        }
        Object::Setting(name) => drop(list("settings", name.clone())),
        Object::Channel(name) => drop(list("channels", name.clone())),
        Object::Schema(name) => drop(list("schemas", name.clone())),
        Object::Session if stands_alone(access.verb) => {}
        Object::Session => {
            let verb = access.verb;
            return Some(format!("it takes a rule with the verb `{verb}`, on any of its lists"));
        }
        Object::Unresolved(_) => return None,
    }
    let entry = wanted.entry(Value::Object(lists.clone()).to_string()).or_insert((lists, Vec::new()));
    if !entry.1.contains(&access.verb.name()) {
        entry.1.push(access.verb.name());
    }
    None
}

/// Verbs that need no list beside them.
const fn stands_alone(verb: Verb) -> bool {
    matches!(
        verb,
        Verb::Do
            | Verb::SetRole
            | Verb::TwoPhase
            | Verb::Admin
            | Verb::Transaction
            | Verb::Show
            | Verb::Cursor
            | Verb::Discard
    )
}
