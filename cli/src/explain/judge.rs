//! From facts to the answer: each access alone, as `decide` does, and what the whole comes to. No I/O.

use std::{collections::BTreeSet, sync::Arc};

use policy::{
    Access, Action, Caller, Columns, ConnectionDocument, Denial, FunctionPattern, Generation, Matches,
    Missing, Object, Request, RuleRef, RuleVerdict, Scope, Verb, Verdict, decide,
};
use sql::{Assumed, Facts};

/// What the whole comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Refused,
    Undecided,
}

impl Outcome {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Undecided => "not decided",
        }
    }
}

/// One access with what the rules say to it.
pub(super) struct Decision {
    pub(super) access: Access,
    pub(super) verdict: Result<Vec<RuleRef>, Denial>,
}

/// The answer.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// Why it is not allowed, one line each.
    pub(super) reasons: Vec<String>,
    /// What each statement does.
    pub(super) statements: Vec<Vec<Decision>>,
}

/// Decides one list of accesses.
fn ask(connection: &ConnectionDocument, accesses: &[Access]) -> Result<Vec<RuleRef>, Denial> {
    let request = Request {
        generation: Generation::default(),
        scope: Scope::default(),
        caller: Caller::default(),
        action: Action::Statement(accesses),
    };
    match decide(connection, &request) {
        Verdict::Allow(allow) => Ok(allow.rules().to_vec()),
        Verdict::Deny(denial) => Err(denial),
    }
}

/// Judges facts that a database answered for.
pub(super) fn known(connection: &ConnectionDocument, facts: &[Arc<Facts>]) -> Answer {
    let mut reasons: Vec<String> = denials(connection, facts);
    if !reasons.is_empty() {
        let missing = facts.iter().flat_map(|facts| &facts.unresolved).map(|name| match &name.suggestion {
            Some(close) => format!("the database has no `{}`; perhaps you meant `{close}`", name.name),
            None => format!("the database has no `{}`", name.name),
        });
        reasons.extend(missing);
    }
    let outcome = if reasons.is_empty() { Outcome::Allowed } else { Outcome::Refused };
    Answer { outcome, reasons, statements: each(connection, facts) }
}

/// Judges facts that rest on assumptions: refused where no catalog could make it otherwise, and not decided where
/// the answer hangs on what only a catalog knows.
pub(super) fn assumed(connection: &ConnectionDocument, facts: &[Arc<Facts>], assumed: &Assumed) -> Answer {
    let all: Vec<Access> = facts.iter().flat_map(|facts| facts.accesses.clone()).collect();
    let mut open: Vec<String> = Vec::new();
    let mut certain: Vec<Access> = Vec::new();
    let shared = shared_columns(&all, assumed);
    let mut rules = connection.policies.iter().flat_map(|policy| &policy.rules);
    let denies_nothing = rules.all(|rule| rule.verdict == RuleVerdict::Allow);
    for access in &all {
        match &access.object {
            // Only a rule over everything allows it; then it does not matter what it is.
            Object::Unresolved(_)
                if denies_nothing && ask(connection, std::slice::from_ref(access)).is_ok() => {}
            Object::Unresolved(name) => {
                open.push(format!("what `{name}` is cannot be seen from the statement"));
                continue;
            }
            Object::Function(name) if named_closely(connection, access, assumed) => {
                let name = format!("{}.{}", name.schema, name.name);
                open.push(format!(
                    "a rule names the arguments or the extension of `{name}`, which only the database knows"
                ));
                continue;
            }
            Object::Function(_)
            | Object::Relation(_)
            | Object::Setting(_)
            | Object::Channel(_)
            | Object::Schema(_)
            | Object::Session => {}
        }
        certain.push(without(access, &shared));
    }
    let refused = ask(connection, &certain).is_err();
    let allowed = ask(connection, &all).is_ok();
    if !refused && !allowed && open.is_empty() {
        let names: Vec<&str> = shared.iter().map(String::as_str).collect();
        open.push(format!(
            "several tables are in sight, and which of them has `{}` is not known: write `alias.column`",
            names.join("`, `")
        ));
    }
    if allowed && !assumed.cascades.is_empty() {
        open.push("what CASCADE reaches is only known to the database".to_owned());
    }
    let statements = each(connection, facts);
    open.dedup();
    match (refused, open.is_empty()) {
        (true, _) => Answer { outcome: Outcome::Refused, reasons: denials(connection, facts), statements },
        (false, true) => Answer { outcome: Outcome::Allowed, reasons: Vec::new(), statements },
        (false, false) => {
            open.push("ask the database: --catalog-from postgres://USER@HOST:PORT/DATABASE".to_owned());
            Answer { outcome: Outcome::Undecided, reasons: open, statements }
        }
    }
}

/// What is said where there are no facts.
pub(super) fn without_facts(outcome: Outcome, reason: String) -> Answer {
    Answer { outcome, reasons: vec![reason], statements: Vec::new() }
}

fn each(connection: &ConnectionDocument, facts: &[Arc<Facts>]) -> Vec<Vec<Decision>> {
    let decide_one = |access: &Access| Decision {
        access: access.clone(),
        verdict: ask(connection, std::slice::from_ref(access)),
    };
    facts.iter().map(|facts| facts.accesses.iter().map(decide_one).collect()).collect()
}

/// Why it is refused: every access that is, not only the first.
fn denials(connection: &ConnectionDocument, facts: &[Arc<Facts>]) -> Vec<String> {
    let mut found = Vec::new();
    let all: Vec<Access> = facts.iter().flat_map(|facts| facts.accesses.clone()).collect();
    for access in &all {
        if let Err(denial) = ask(connection, std::slice::from_ref(access)) {
            found.push(denied(&denial, access));
        }
    }
    // A statement without accesses may still be refused.
    if let (true, Err(denial)) = (found.is_empty(), ask(connection, &all)) {
        found.push(denial.detail());
    }
    found.dedup();
    found
}

/// One line that names the access.
fn denied(denial: &Denial, access: &Access) -> String {
    let detail = denial.detail();
    match &denial.missing {
        Missing::Rule { message: Some(message), .. } => format!("{}: {detail}: {message}", access.describe()),
        Missing::Rule { message: None, .. } | Missing::Where(_) => format!("{}: {detail}", access.describe()),
        Missing::AnyAllow | Missing::Allow | Missing::BrokenPolicy { .. } | Missing::Connection(_) => detail,
    }
}

/// Columns that stand alone while several assumed tables are in sight.
fn shared_columns(all: &[Access], assumed: &Assumed) -> BTreeSet<String> {
    let tables = |column: &str| {
        let having = all.iter().filter(|access| match (&access.object, &access.columns) {
            (Object::Relation(_), Columns::Set(set)) => set.contains(column),
            _ => false,
        });
        let names: BTreeSet<String> = having.map(|access| access.object.to_string()).collect();
        names.len()
    };
    assumed.bare_columns.iter().filter(|column| tables(column) > 1).cloned().collect()
}

/// The access without columns of which it is not known whether they are its own.
fn without(access: &Access, shared: &BTreeSet<String>) -> Access {
    let columns = match (&access.verb, &access.columns) {
        (Verb::Select, Columns::Set(set)) => Columns::Set(set.difference(shared).cloned().collect()),
        (_, columns) => columns.clone(),
    };
    Access { columns, ..access.clone() }
}

/// Whether the function is an assumed one, and a rule about it asks for more than its name.
fn named_closely(connection: &ConnectionDocument, access: &Access, assumed: &Assumed) -> bool {
    let Object::Function(function) = &access.object else { return false };
    if !assumed.functions.contains(&(function.schema.clone(), function.name.clone())) {
        return false;
    }
    let rules = connection.policies.iter().flat_map(|policy| &policy.rules);
    let mut patterns = rules.flat_map(|rule| match &rule.matches {
        Matches::Sql(sql) => sql.functions.as_slice(),
        Matches::Opaque => &[],
    });
    patterns.any(|pattern| match pattern {
        FunctionPattern::Extension(_) => true,
        FunctionPattern::Named { schema, name, arguments: Some(_) } => {
            schema.matches(&function.schema) && name.matches(&function.name)
        }
        FunctionPattern::Named { arguments: None, .. } | FunctionPattern::Any => false,
    })
}
