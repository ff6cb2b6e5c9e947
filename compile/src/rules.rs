//! One rule of a resource to one rule of a document.

use std::collections::BTreeSet;

use api::{
    FieldError,
    v1alpha1::{self as v1, Sql},
};
use policy::{
    FunctionPattern, Matches, NamePattern, PatternError, RelationPattern, Rule, RuleVerdict, SqlRule, Verb,
    VerbGroup,
};

/// Compiles a rule; every error is found, not only the first. `path` is the rule's place.
pub(crate) fn compile(rule: &v1::Rule, path: &str) -> Result<Rule, Vec<FieldError>> {
    let v1::Rule { name, verdict, sql, opaque, message } = rule;
    let verdict = match verdict {
        v1::RuleVerdict::Allow => RuleVerdict::Allow,
        v1::RuleVerdict::Deny => RuleVerdict::Deny,
    };
    let matches = match (sql, opaque) {
        (Some(sql), None) => Matches::Sql(compile_statements(sql, verdict, path)?),
        (None, Some(_)) => Matches::Opaque,
        (Some(_), Some(_)) | (None, None) => {
            let message = "set exactly one of `sql: {verbs: [...], ...}` and `opaque: {}`";
            return Err(vec![FieldError::new(path, message)]);
        }
    };
    Ok(Rule { name: name.clone(), verdict, matches, message: message.clone() })
}

fn compile_statements(sql: &Sql, verdict: RuleVerdict, path: &str) -> Result<SqlRule, Vec<FieldError>> {
    let mut errors = Vec::new();
    let compiled = compile_sql(sql, &format!("{path}.sql"), &mut errors);
    let deny = verdict == RuleVerdict::Deny;
    if deny && sql.where_clause.is_some() {
        errors.push(FieldError::new(
            format!("{path}.sql.where"),
            "`where` narrows an Allow; a Deny cannot have it: leave it out",
        ));
    }
    if deny && sql.relations.is_some() && sql.functions.is_some() && !is_everything(&compiled) {
        errors.push(FieldError::new(
            format!("{path}.sql"),
            "a Deny names `relations` or `functions`, not both: write two rules",
        ));
    }
    if errors.is_empty() { Ok(compiled) } else { Err(errors) }
}

fn is_everything(rule: &SqlRule) -> bool {
    rule.verbs.len() == Verb::ALL.len()
}

fn compile_sql(sql: &Sql, path: &str, errors: &mut Vec<FieldError>) -> SqlRule {
    let Sql { verbs, relations, columns, functions, settings, channels, schemas, where_clause } = sql;
    let at = |field: &str| format!("{path}.{field}");
    let compiled = SqlRule {
        verbs: compile_verbs(verbs, &at("verbs"), errors),
        relations: patterns(relations.as_ref(), &at("relations"), RelationPattern::parse, errors),
        columns: columns
            .as_ref()
            .map(|list| patterns(Some(list), &at("columns"), NamePattern::parse, errors)),
        functions: patterns(functions.as_ref(), &at("functions"), FunctionPattern::parse, errors),
        settings: patterns(settings.as_ref(), &at("settings"), NamePattern::parse, errors),
        channels: patterns(channels.as_ref(), &at("channels"), NamePattern::parse, errors),
        schemas: patterns(schemas.as_ref(), &at("schemas"), NamePattern::parse, errors),
        where_required: where_clause.is_some(),
    };
    check_lists(sql, &compiled.verbs, path, errors);
    compiled
}

fn compile_verbs(names: &[String], path: &str, errors: &mut Vec<FieldError>) -> BTreeSet<Verb> {
    if names.is_empty() {
        errors.push(FieldError::new(
            path,
            "is empty; name verbs such as `Select`, groups such as `Read`, or `*`",
        ));
    }
    let mut verbs = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        match (Verb::from_name(name), VerbGroup::from_name(name)) {
            (Some(verb), _) => verbs.extend([verb]),
            (None, Some(group)) => verbs.extend(group.verbs()),
            (None, None) => errors.push(FieldError::new(
                format!("{path}[{index}]"),
                format!("`{name}` is no verb; write one of {}, or Read, Write, *", verb_names()),
            )),
        }
    }
    verbs
}

fn verb_names() -> String {
    Verb::ALL.map(Verb::name).join(", ")
}

fn patterns<T>(
    list: Option<&Vec<String>>,
    path: &str,
    parse: impl Fn(&str) -> Result<T, PatternError>,
    errors: &mut Vec<FieldError>,
) -> Vec<T> {
    if list.is_some_and(Vec::is_empty) {
        errors.push(FieldError::new(path, "is empty; name something, or write `*`"));
    }
    let mut found = Vec::new();
    for (index, text) in list.into_iter().flatten().enumerate() {
        match parse(text) {
            Ok(pattern) => found.push(pattern),
            Err(error) => errors.push(FieldError::new(format!("{path}[{index}]"), error.to_string())),
        }
    }
    found
}

/// The list that a verb needs, if it needs one.
const fn list_of(verb: Verb) -> &'static [&'static str] {
    match verb {
        Verb::Select
        | Verb::Insert
        | Verb::Update
        | Verb::Delete
        | Verb::CopyTo
        | Verb::CopyFrom
        | Verb::Explain
        | Verb::Lock
        | Verb::Truncate => &["relations"],
        Verb::Execute | Verb::Call => &["functions"],
        Verb::Create | Verb::Alter | Verb::Drop | Verb::Grant | Verb::Revoke | Verb::Maintain => {
            &["relations", "functions", "schemas"]
        }
        Verb::Set => &["settings"],
        Verb::Listen | Verb::Notify => &["channels"],
        Verb::Do
        | Verb::SetRole
        | Verb::TwoPhase
        | Verb::Admin
        | Verb::Transaction
        | Verb::Show
        | Verb::Cursor
        | Verb::Discard => &[],
    }
}

/// Every verb has a list to speak about, and every list a verb that speaks about it. `*` needs one list of any
/// kind: it means all verbs on what is listed.
fn check_lists(sql: &Sql, verbs: &BTreeSet<Verb>, path: &str, errors: &mut Vec<FieldError>) {
    let lists = [
        ("relations", sql.relations.is_some()),
        ("functions", sql.functions.is_some()),
        ("settings", sql.settings.is_some()),
        ("channels", sql.channels.is_some()),
        ("schemas", sql.schemas.is_some()),
    ];
    let given = |name: &str| lists.iter().any(|(list, given)| *list == name && *given);
    let all = verbs.len() == Verb::ALL.len();
    if all && !lists.iter().any(|(_, given)| *given) {
        errors.push(FieldError::new(path, "`*` needs at least one list, for example `relations: [\"*.*\"]`"));
    }
    for verb in verbs.iter().filter(|_| !all) {
        let needed = list_of(*verb);
        if !needed.is_empty() && !needed.iter().any(|list| given(list)) {
            let lists = needed.join("`, `");
            errors.push(FieldError::new(
                path,
                format!("the verb `{verb}` needs `{lists}`; `[\"*\"]` means any"),
            ));
        }
    }
    for (list, _) in lists.iter().filter(|(_, given)| *given) {
        if !verbs.is_empty() && !verbs.iter().any(|verb| list_of(*verb).contains(list)) {
            let message = format!("no verb of this rule speaks about `{list}`; leave it out or add the verb");
            errors.push(FieldError::new(format!("{path}.{list}"), message));
        }
    }
    if sql.columns.is_some() && sql.relations.is_none() {
        errors.push(FieldError::new(
            format!("{path}.columns"),
            "are columns of `relations`, which are not given",
        ));
    }
}
