//! What must hold for all rules and accesses, whatever they are.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use chaperone_policy::{
    Access, Action, Baseline, Caller, Columns, ConnectionDocument, Generation, Matches, NamePattern, Object,
    PolicyDocument, Recording, RelationName, RelationPattern, Request, Rule, RuleVerdict, Scope, SqlRule,
    TlsDocument, TlsMode, Upstream, UpstreamProtocol, Verb, Verdict, Via, ViaKind, decide,
};
use proptest::{prelude::*, sample::select};

fn relation_pattern() -> impl Strategy<Value = RelationPattern> {
    select(vec!["*.*", "public.*", "public.a", "public.b", "s.a", "pg_catalog.pg_class"])
        .prop_map(|text| RelationPattern::parse(text).expect("a pattern"))
}

fn rule() -> impl Strategy<Value = Rule> {
    let verbs = prop::collection::btree_set(select(Verb::ALL.to_vec()), 1..4);
    let columns = prop::option::of(prop::collection::vec(select(vec!["x", "y", "*"]), 1..3));
    let verdict = select(vec![RuleVerdict::Allow, RuleVerdict::Deny]);
    let relations = prop::collection::vec(relation_pattern(), 0..3);
    (verbs, columns, verdict, relations, any::<bool>()).prop_map(
        |(verbs, columns, verdict, relations, filter)| {
            let columns =
                columns.map(|c| c.into_iter().map(|t| NamePattern::parse(t).expect("a pattern")).collect());
            let sql = SqlRule { verbs, relations, columns, where_required: filter, ..SqlRule::default() };
            Rule { name: "r".to_owned(), verdict, matches: Matches::Sql(sql), message: None }
        },
    )
}

fn access() -> impl Strategy<Value = Access> {
    let names = vec![("public", "a"), ("public", "b"), ("s", "a"), ("pg_catalog", "pg_class")];
    let columns = prop::collection::btree_set(select(vec!["x".to_owned(), "y".to_owned()]), 0..3);
    let verb = select(Verb::ALL.to_vec());
    let other =
        prop::option::weighted(0.3, select(vec![Object::Session, Object::Unresolved("u".to_owned())]));
    let name = select(names).prop_map(|(schema, name)| RelationName::new(schema, name));
    let kind = select(vec![ViaKind::View, ViaKind::Parent]);
    let via = prop::collection::vec((kind, name.clone()), 0..3);
    let ancestors = prop::collection::vec(name.clone(), 0..2);
    (verb, (name, other), columns, via, ancestors, any::<[bool; 3]>()).prop_map(
        |(verb, (name, other), set, via, ancestors, flags)| {
            let columns = if flags[0] { Columns::All } else { Columns::Set(set) };
            let via = via.into_iter().map(|(kind, relation)| Via { kind, relation }).collect();
            let access = Access::new(verb, other.unwrap_or(Object::Relation(name)));
            Access { columns, via, ancestors, baseline: flags[1], filtered: flags[2], ..access }
        },
    )
}

fn connection(rules: Vec<Rule>) -> ConnectionDocument {
    let policy = PolicyDocument {
        name: "ns/p".to_owned(),
        generation: 1,
        baseline: Baseline::Standard,
        recording: Recording::default(),
        rules,
        broken: None,
    };
    let tls = TlsDocument { mode: TlsMode::Disable, ca_bundle: None };
    ConnectionDocument {
        name: "ns/c".to_owned(),
        protocol: UpstreamProtocol::Postgres,
        upstream: Upstream { host: "h".to_owned(), port: 1, tls },
        address: None,
        agent_port: None,
        postgres: None,
        problem: None,
        policies: vec![policy],
    }
}

fn allows(connection: &ConnectionDocument, accesses: &[Access]) -> bool {
    let request = Request {
        generation: Generation::default(),
        scope: Scope(0),
        caller: Caller(0),
        action: Action::Statement(accesses),
    };
    matches!(decide(connection, &request), Verdict::Allow(_))
}

proptest! {
    #[test]
    fn the_order_of_rules_never_matters(
        rules in prop::collection::vec(rule(), 0..6),
        accesses in prop::collection::vec(access(), 0..4),
    ) {
        let forward = allows(&connection(rules.clone()), &accesses);
        let backward = allows(&connection(rules.into_iter().rev().collect()), &accesses);
        prop_assert_eq!(forward, backward);
    }

    #[test]
    fn adding_a_deny_never_allows_more(
        rules in prop::collection::vec(rule(), 0..6),
        extra in rule(),
        accesses in prop::collection::vec(access(), 0..4),
    ) {
        let before = allows(&connection(rules.clone()), &accesses);
        let deny = Rule { verdict: RuleVerdict::Deny, ..extra };
        let after = allows(&connection(rules.into_iter().chain([deny]).collect()), &accesses);
        prop_assert!(before || !after);
    }

    #[test]
    fn a_second_policy_never_cancels_a_deny(
        rules in prop::collection::vec(rule(), 0..6),
        other in prop::collection::vec(rule(), 0..6),
        access in access(),
    ) {
        let denies = rules.iter().any(|rule| rule.verdict == RuleVerdict::Deny);
        let only_denies: Vec<Rule> = rules.iter().filter(|r| r.verdict == RuleVerdict::Deny).cloned().collect();
        let everything = Rule {
            name: "all".to_owned(),
            verdict: RuleVerdict::Allow,
            message: None,
            matches: Matches::Sql(SqlRule {
                verbs: Verb::ALL.into_iter().collect::<BTreeSet<_>>(),
                relations: vec![RelationPattern::parse("*.*").expect("a pattern")],
                functions: vec![chaperone_policy::FunctionPattern::Any],
                ..SqlRule::default()
            }),
        };
        let with_everything = |rules: Vec<Rule>| connection(rules.into_iter().chain([everything.clone()]).collect());
        let denied = denies && !allows(&with_everything(only_denies), std::slice::from_ref(&access));
        let mut both = with_everything(rules);
        both.policies.push(PolicyDocument { name: "ns/q".to_owned(), rules: other, ..both.policies[0].clone() });
        prop_assert!(!denied || !allows(&both, &[access]));
    }

    #[test]
    fn what_a_deny_names_is_never_allowed(
        rules in prop::collection::vec(rule(), 0..6),
        access in access(),
    ) {
        let Object::Relation(name) = &access.object else { return Ok(()) };
        let names = std::iter::once(name).chain(&access.ancestors);
        for denied in names {
            let pattern = RelationPattern::parse(&format!("{}.{}", denied.schema, denied.name)).expect("a pattern");
            let sql = SqlRule { verbs: BTreeSet::from([access.verb]), relations: vec![pattern], ..SqlRule::default() };
            let matches = Matches::Sql(sql);
            let deny = Rule { name: "d".to_owned(), verdict: RuleVerdict::Deny, matches, message: None };
            let connection = connection(rules.iter().cloned().chain([deny]).collect());
            prop_assert!(!allows(&connection, std::slice::from_ref(&access)));
        }
    }

    #[test]
    fn a_way_through_something_that_no_rule_names_helps_nothing(
        rules in prop::collection::vec(rule(), 0..6),
        access in access(),
    ) {
        let elsewhere = RelationName::new("pg_toast", "nowhere");
        let kinds = [ViaKind::View, ViaKind::Parent];
        let way = |kind| vec![Via { kind, relation: elsewhere.clone() }];
        let plain = Access { via: Vec::new(), ..access };
        let connection = connection(rules);
        for kind in kinds {
            let through = Access { via: way(kind), ..plain.clone() };
            let allowed = allows(&connection, std::slice::from_ref(&plain));
            prop_assert_eq!(allows(&connection, &[through]), allowed);
        }
    }

    #[test]
    fn more_accesses_never_help(
        rules in prop::collection::vec(rule(), 0..6),
        accesses in prop::collection::vec(access(), 1..5),
    ) {
        let connection = connection(rules);
        let all = allows(&connection, &accesses);
        let fewer = allows(&connection, &accesses[1..]);
        prop_assert!(fewer || !all);
    }

    #[test]
    fn patterns_match_as_their_regular_expression_would(pattern in "[ab*]{1,6}", name in "[ab]{0,6}") {
        let compiled = NamePattern::parse(&pattern).expect("a pattern");
        prop_assert_eq!(compiled.matches(&name), naive(pattern.as_bytes(), name.as_bytes()));
    }
}

/// The definition, without a thought for speed.
fn naive(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            naive(rest, name) || name.split_first().is_some_and(|(_, tail)| naive(pattern, tail))
        }
        (Some((a, rest)), Some((b, tail))) => a == b && naive(rest, tail),
        _ => false,
    }
}
