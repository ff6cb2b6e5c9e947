//! Truth tables that a security reviewer can read: `cases/*.yaml`.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path};

use chaperone_policy::{
    Access, Action, Baseline, Caller, Columns, ConnectionDocument, FunctionName, FunctionPattern, Generation,
    Matches, NamePattern, Object, PolicyDocument, Recording, RelationName, RelationPattern, Request, Rule,
    RuleVerdict, Scope, SqlRule, TlsDocument, TlsMode, Upstream, UpstreamProtocol, Verb, VerbGroup, Verdict,
    Via, ViaKind, decide,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    rules: Vec<CaseRule>,
    #[serde(default)]
    baseline: Baseline,
    #[serde(default)]
    broken: Option<String>,
    #[serde(default)]
    problem: Option<String>,
    /// Whether a session is asked for in which nothing is looked at.
    #[serde(default)]
    opaque: bool,
    #[serde(default)]
    accesses: Vec<CaseAccess>,
    expect: Expect,
    /// Must be part of the refusal's detail.
    #[serde(default)]
    because: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseRule {
    #[serde(default)]
    name: String,
    verdict: RuleVerdict,
    /// About sessions in which nothing is looked at, and not about statements.
    #[serde(default)]
    opaque: bool,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    relations: Vec<String>,
    #[serde(default)]
    columns: Option<Vec<String>>,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    settings: Vec<String>,
    #[serde(default)]
    channels: Vec<String>,
    #[serde(default)]
    schemas: Vec<String>,
    #[serde(default, rename = "where")]
    where_required: bool,
}

/// `relation: schema.name`, `function: schema.name(type)`, `setting`, `channel`, `schema`, `unresolved` or none
/// of them for the session.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseAccess {
    verb: Verb,
    #[serde(default)]
    relation: Option<String>,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    function: Option<String>,
    #[serde(default)]
    extension: Option<String>,
    #[serde(default)]
    setting: Option<String>,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    schema: Option<String>,
    #[serde(default)]
    unresolved: Option<String>,
    #[serde(default)]
    through_view: Option<String>,
    #[serde(default)]
    through_parent: Option<String>,
    #[serde(default)]
    ancestors: Vec<String>,
    #[serde(default)]
    baseline: bool,
    #[serde(default)]
    filtered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Expect {
    Allow,
    Deny,
}

fn relation(text: &str) -> RelationName {
    let (schema, name) = text.split_once('.').expect("schema.name");
    RelationName::new(schema, name)
}

fn function(text: &str, extension: Option<String>) -> FunctionName {
    let (path, rest) = text.split_once('(').expect("schema.name(types)");
    let (schema, name) = path.split_once('.').expect("schema.name");
    let types = rest.trim_end_matches(')').split(',').map(|t| t.trim().to_owned());
    FunctionName {
        schema: schema.to_owned(),
        name: name.to_owned(),
        arguments: types.filter(|t| !t.is_empty()).collect(),
        extension,
    }
}

fn names(texts: &[String]) -> Vec<NamePattern> {
    texts.iter().map(|text| NamePattern::parse(text).expect("a pattern")).collect()
}

impl CaseRule {
    fn compile(&self, index: usize) -> Rule {
        Rule {
            name: if self.name.is_empty() { format!("rule-{index}") } else { self.name.clone() },
            verdict: self.verdict,
            message: None,
            matches: if self.opaque { Matches::Opaque } else { Matches::Sql(self.sql()) },
        }
    }

    fn sql(&self) -> SqlRule {
        let verbs =
            self.verbs.iter().flat_map(|name| match (Verb::from_name(name), VerbGroup::from_name(name)) {
                (Some(verb), _) => vec![verb],
                (None, Some(group)) => group.verbs().to_vec(),
                (None, None) => panic!("`{name}` is no verb"),
            });
        SqlRule {
            verbs: verbs.collect::<BTreeSet<_>>(),
            relations: self.relations.iter().map(|t| RelationPattern::parse(t).expect("a pattern")).collect(),
            columns: self.columns.as_deref().map(names),
            functions: self.functions.iter().map(|t| FunctionPattern::parse(t).expect("a pattern")).collect(),
            settings: names(&self.settings),
            channels: names(&self.channels),
            schemas: names(&self.schemas),
            where_required: self.where_required,
        }
    }
}

impl CaseAccess {
    fn compile(&self) -> Access {
        let object = match self {
            Self { relation: Some(name), .. } => Object::Relation(relation(name)),
            Self { function: Some(name), .. } => Object::Function(function(name, self.extension.clone())),
            Self { setting: Some(name), .. } => Object::Setting(name.clone()),
            Self { channel: Some(name), .. } => Object::Channel(name.clone()),
            Self { schema: Some(name), .. } => Object::Schema(name.clone()),
            Self { unresolved: Some(name), .. } => Object::Unresolved(name.clone()),
            _ => Object::Session,
        };
        let columns = match self.columns.iter().any(|name| name == "*") {
            true => Columns::All,
            false => Columns::Set(self.columns.iter().cloned().collect()),
        };
        let view = self.through_view.iter().map(|name| Via { kind: ViaKind::View, relation: relation(name) });
        let parent =
            self.through_parent.iter().map(|name| Via { kind: ViaKind::Parent, relation: relation(name) });
        Access {
            columns,
            via: view.chain(parent).collect(),
            ancestors: self.ancestors.iter().map(|name| relation(name)).collect(),
            baseline: self.baseline,
            filtered: self.filtered,
            ..Access::new(self.verb, object)
        }
    }
}

fn connection(case: &Case) -> ConnectionDocument {
    let policy = PolicyDocument {
        name: "shop/case".to_owned(),
        generation: 1,
        baseline: case.baseline,
        recording: Recording::default(),
        rules: case.rules.iter().enumerate().map(|(index, rule)| rule.compile(index)).collect(),
        broken: case.broken.clone(),
    };
    let tls = TlsDocument { mode: TlsMode::Disable, ca_bundle: None };
    ConnectionDocument {
        name: "shop/orders".to_owned(),
        protocol: UpstreamProtocol::Postgres,
        upstream: Upstream { host: "orders".to_owned(), port: 5432, tls },
        address: None,
        agent_port: None,
        postgres: None,
        problem: case.problem.clone(),
        policies: vec![policy],
    }
}

fn verdict(case: &Case) -> Verdict {
    let accesses: Vec<Access> = case.accesses.iter().map(CaseAccess::compile).collect();
    let request = Request {
        generation: Generation { epoch: 1, sequence: 1 },
        scope: Scope(1),
        caller: Caller(1),
        action: if case.opaque { Action::Opaque } else { Action::Statement(&accesses) },
    };
    decide(&connection(case), &request)
}

#[test]
fn every_case_is_decided_as_the_table_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut count = 0;
    for file in fs::read_dir(dir).expect("the cases are there") {
        let path = file.expect("a file").path();
        let text = fs::read_to_string(&path).expect("reads");
        let cases: Vec<Case> =
            serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for case in cases {
            let (found, detail) = match verdict(&case) {
                Verdict::Allow(_) => (Expect::Allow, String::new()),
                Verdict::Deny(denial) => (Expect::Deny, denial.detail()),
            };
            assert_eq!(found, case.expect, "{}: {detail}", case.name);
            assert!(detail.contains(&case.because), "{}: {detail}", case.name);
            count += 1;
        }
    }
    assert!(count > 40, "only {count} cases were found");
}
