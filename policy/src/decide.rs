//! `decide`: the one function that says yes or no.

use crate::{
    Access, Allow, Baseline, Caller, Columns, ConnectionDocument, Denial, Generation, Matches, Missing,
    Object, PolicyDocument, Rule, RuleRef, RuleVerdict, Scope, SqlRule, Verb, Verdict, Via, ViaKind,
};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The generation of the document that decides.
    pub generation: Generation,
    /// The scope that the accesses were resolved in.
    pub scope: Scope,
    /// Who asks.
    pub caller: Caller,
    /// What is to be done.
    pub action: Action<'a>,
}

/// What a frame would do.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Run statements with these accesses: all of them must be allowed.
    Statement(&'a [Access]),
    /// Only move the protocol along.
    Protocol(Protocol),
    /// Pass bytes that nobody looks at.
    Opaque,
}

/// Frames without a statement of their own. They are meaningful only about statements that were decided,
/// so they are allowed wherever any rule allows anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Sync or Flush.
    Boundary,
    /// Describe of a statement or portal that was decided.
    Describe,
    /// Close of a statement or portal.
    Close,
    /// Data, end or failure of a COPY that was allowed.
    CopyData,
    /// The end of the session.
    Terminate,
}

/// Decides a request on one Connection.
#[must_use]
pub fn decide(connection: &ConnectionDocument, request: &Request<'_>) -> Verdict {
    if let Some(denial) = closed(connection) {
        return Verdict::Deny(denial);
    }
    let mut rules = Vec::new();
    match request.action {
        Action::Statement(accesses) => {
            for access in accesses {
                match decide_access(connection, access) {
                    Ok(allowed) => rules.extend(allowed),
                    Err(refused) => return Verdict::Deny(refused.denial(access)),
                }
            }
        }
        Action::Protocol(_) => {}
        Action::Opaque => match decide_opaque(connection) {
            Ok(allowed) => rules = allowed,
            Err(missing) => return Verdict::Deny(Denial { access: None, missing }),
        },
    }
    rules.sort();
    rules.dedup();
    Verdict::Allow(Allow::new(request.generation, request.scope, request.caller, rules))
}

/// Why nothing at all is possible on this Connection, if so.
fn closed(connection: &ConnectionDocument) -> Option<Denial> {
    let deny = |missing| Some(Denial { access: None, missing });
    if let Some(problem) = &connection.problem {
        return deny(Missing::Connection(problem.clone()));
    }
    let broken = connection
        .policies
        .iter()
        .find_map(|policy| policy.broken.as_ref().map(|reason| (policy.name.clone(), reason.clone())));
    if let Some((policy, reason)) = broken {
        return deny(Missing::BrokenPolicy { policy, reason });
    }
    let mut rules = connection.policies.iter().flat_map(|policy| &policy.rules);
    if !rules.any(|rule| rule.verdict == RuleVerdict::Allow) {
        return deny(Missing::AnyAllow);
    }
    None
}

/// Why one access fails, and which of its columns are to blame when not all are.
struct Refused {
    missing: Missing,
    columns: Option<Columns>,
}

impl From<Missing> for Refused {
    fn from(missing: Missing) -> Self {
        Self { missing, columns: None }
    }
}

impl Refused {
    /// Names only what is to blame: what the client should ask for.
    fn denial(self, access: &Access) -> Denial {
        let columns = self.columns.unwrap_or_else(|| access.columns.clone());
        Denial { access: Some(Box::new(Access { columns, ..access.clone() })), missing: self.missing }
    }
}

/// The rules that allow sessions whose bytes nobody looks at. A rule about statements says nothing about them.
fn decide_opaque(connection: &ConnectionDocument) -> Result<Vec<RuleRef>, Missing> {
    let about = |verdict| {
        let rules = connection.policies.iter().flat_map(|p| p.rules.iter().map(move |rule| (p, rule)));
        rules.filter(move |(_, rule)| rule.verdict == verdict && rule.matches == Matches::Opaque)
    };
    if let Some((policy, rule)) = about(RuleVerdict::Deny).next() {
        return Err(Missing::Rule { rule: reference(policy, rule), message: rule.message.clone() });
    }
    let allowed: Vec<RuleRef> =
        about(RuleVerdict::Allow).map(|(policy, rule)| reference(policy, rule)).collect();
    if allowed.is_empty() { Err(Missing::Allow) } else { Ok(allowed) }
}

/// The rules that allow one access, or what is missing.
fn decide_access(connection: &ConnectionDocument, access: &Access) -> Result<Vec<RuleRef>, Refused> {
    for (policy, rule, sql) in rules_of(connection, RuleVerdict::Deny) {
        if denies(sql, access) {
            let rule_ref = reference(policy, rule);
            return Err(Missing::Rule { rule: rule_ref, message: rule.message.clone() }.into());
        }
    }
    if access.baseline && connection.policies.iter().all(|p| p.baseline == Baseline::Standard) {
        return Ok(Vec::new());
    }
    if let Some(rules) = covering_step(connection, access) {
        return Ok(rules);
    }
    allow_directly(connection, access)
}

/// The rules about statements with this verdict.
fn rules_of(
    connection: &ConnectionDocument,
    verdict: RuleVerdict,
) -> impl Iterator<Item = (&PolicyDocument, &Rule, &SqlRule)> {
    let pairs =
        connection.policies.iter().flat_map(|policy| policy.rules.iter().map(move |rule| (policy, rule)));
    pairs.filter_map(move |(policy, rule)| match &rule.matches {
        Matches::Sql(sql) if rule.verdict == verdict => Some((policy, rule, sql)),
        Matches::Sql(_) | Matches::Opaque => None,
    })
}

fn reference(policy: &PolicyDocument, rule: &Rule) -> RuleRef {
    RuleRef { policy: policy.name.clone(), rule: rule.name.clone() }
}

/// Allows that match the object; their columns unite until they cover the access.
fn allow_directly(connection: &ConnectionDocument, access: &Access) -> Result<Vec<RuleRef>, Refused> {
    let mut used = Vec::new();
    let mut unfiltered = None;
    let mut open = OpenColumns::of(&access.columns);
    let mut matched = false;
    for (policy, rule, sql) in rules_of(connection, RuleVerdict::Allow) {
        if !grants(sql, access) {
            continue;
        }
        if lacks_where(sql, access) {
            unfiltered = Some(reference(policy, rule));
            continue;
        }
        if open.cover(sql) {
            matched = true;
            used.push(reference(policy, rule));
        }
        if matched && open.is_empty() {
            return Ok(used);
        }
    }
    let missing = unfiltered.map_or(Missing::Allow, Missing::Where);
    Err(Refused { missing, columns: if matched { open.left() } else { None } })
}

const fn lacks_where(rule: &SqlRule, access: &Access) -> bool {
    rule.where_required && matches!(access.verb, Verb::Update | Verb::Delete) && !access.filtered
}

/// The part of an access's columns that no rule has allowed yet.
enum OpenColumns<'a> {
    All,
    Some(Vec<&'a str>),
}

impl<'a> OpenColumns<'a> {
    fn of(columns: &'a Columns) -> Self {
        match columns {
            Columns::All => Self::All,
            Columns::Set(set) => Self::Some(set.iter().map(String::as_str).collect()),
        }
    }

    /// Takes out what the rule allows; says whether the rule allowed anything of it.
    fn cover(&mut self, rule: &SqlRule) -> bool {
        let Some(patterns) = &rule.columns else {
            *self = Self::Some(Vec::new());
            return true;
        };
        if patterns.iter().any(crate::NamePattern::is_any) {
            *self = Self::Some(Vec::new());
            return true;
        }
        match self {
            Self::All => false,
            Self::Some(open) if open.is_empty() => true,
            Self::Some(open) => {
                let before = open.len();
                open.retain(|column| !patterns.iter().any(|pattern| pattern.matches(column)));
                open.len() < before
            }
        }
    }

    /// What no rule allowed.
    fn left(&self) -> Option<Columns> {
        match self {
            Self::All => None,
            Self::Some(open) => Some(Columns::Set(open.iter().map(|column| (*column).to_owned()).collect())),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Some(open) if open.is_empty())
    }
}

/// A view that is allowed by exact name, or a parent that is allowed at all, covers what lies behind it.
/// Functions are never covered.
fn covering_step(connection: &ConnectionDocument, access: &Access) -> Option<Vec<RuleRef>> {
    if !matches!(access.object, Object::Relation(_)) {
        return None;
    }
    access.via.iter().find_map(|step| {
        rules_of(connection, RuleVerdict::Allow)
            .find(|(_, _, sql)| covers(sql, step, access))
            .map(|(policy, rule, _)| vec![reference(policy, rule)])
    })
}

fn covers(rule: &SqlRule, step: &Via, access: &Access) -> bool {
    let by_pattern = match step.kind {
        ViaKind::View => false,
        ViaKind::Parent => true,
    };
    let mut named = rule.relations.iter().filter(|p| by_pattern || p.is_exact());
    grants_verb(rule, access.verb) && !lacks_where(rule, access) && named.any(|p| p.matches(&step.relation))
}

fn grants_verb(rule: &SqlRule, verb: Verb) -> bool {
    rule.verbs.iter().any(|granted| verb.included_in(*granted))
}

/// For an Allow: verb and object of the access are the rule's.
fn grants(rule: &SqlRule, access: &Access) -> bool {
    if !grants_verb(rule, access.verb) {
        return false;
    }
    if unrestricted(rule) {
        return true;
    }
    match &access.object {
        // The first are about nothing that a rule could list.
        Object::Session => {
            matches!(
                access.verb,
                Verb::Transaction | Verb::Show | Verb::Cursor | Verb::Discard | Verb::CopyTo
            ) || speaks_of_session(rule, access.verb)
        }
        Object::Unresolved(_) => false,
        Object::Relation(_)
        | Object::Function(_)
        | Object::Setting(_)
        | Object::Channel(_)
        | Object::Schema(_) => lists(rule, &access.object),
    }
}

/// For a Deny: verb and object are the rule's, and any column of the access is among its columns. What is not known
/// may be anything.
fn denies(rule: &SqlRule, access: &Access) -> bool {
    let of_ancestor = access.ancestors.iter().any(|name| rule.relations.iter().any(|p| p.matches(name)));
    let object = match &access.object {
        Object::Session => speaks_of_session(rule, access.verb),
        Object::Unresolved(_) => true,
        Object::Relation(_)
        | Object::Function(_)
        | Object::Setting(_)
        | Object::Channel(_)
        | Object::Schema(_) => lists(rule, &access.object) || of_ancestor,
    };
    if !rule.verbs.contains(&access.verb) || !(object || unrestricted(rule)) {
        return false;
    }
    match (&rule.columns, &access.columns) {
        (None, _) | (Some(_), Columns::All) => true,
        (Some(patterns), Columns::Set(set)) => {
            set.iter().any(|column| patterns.iter().any(|pattern| pattern.matches(column)))
        }
    }
}

/// Whether a rule over some objects means the session, or the database as a whole, with a verb of its own. `*` means
/// all verbs on what is listed, and a verb on objects means the whole where it means any object.
fn speaks_of_session(rule: &SqlRule, verb: Verb) -> bool {
    let on_objects = matches!(verb, Verb::Grant | Verb::Revoke | Verb::Maintain | Verb::CopyTo);
    let any = rule.relations.iter().any(crate::RelationPattern::is_any);
    rule.verbs.len() < Verb::ALL.len() && (any || !on_objects)
}

/// Whether an object is among those that a rule lists.
fn lists(rule: &SqlRule, object: &Object) -> bool {
    match object {
        Object::Relation(name) => rule.relations.iter().any(|pattern| pattern.matches(name)),
        Object::Function(name) => rule.functions.iter().any(|pattern| pattern.matches(name)),
        Object::Setting(name) => rule.settings.iter().any(|pattern| pattern.matches(name)),
        Object::Channel(name) => rule.channels.iter().any(|pattern| pattern.matches(name)),
        Object::Schema(name) => rule.schemas.iter().any(|pattern| pattern.matches(name)),
        Object::Session | Object::Unresolved(_) => false,
    }
}

/// A rule over every verb, relation and function reaches everything, system schemas too.
fn unrestricted(rule: &SqlRule) -> bool {
    rule.verbs.len() == Verb::ALL.len()
        && rule.relations.iter().any(crate::RelationPattern::is_any)
        && rule.functions.contains(&crate::FunctionPattern::Any)
        && rule.columns.is_none()
}
