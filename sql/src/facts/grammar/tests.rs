use std::collections::BTreeSet;

use super::*;

/// The statements of the truth tables, by the lines that hold them.
fn cases() -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Table {
        cases: Vec<Case>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        sql: String,
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let read = |path| serde_saphyr::from_str::<Table>(&std::fs::read_to_string(path).unwrap()).unwrap();
    tables.flat_map(|path| read(path).cases).map(|case| case.sql).collect()
}

/// A node's kind, by the name of its variant.
fn kind(node: &NodeEnum) -> String {
    format!("{node:?}").split('(').next().unwrap_or_default().to_owned()
}

#[test]
fn every_statement_of_the_grammar_has_a_truth_table() {
    let (statements, _) = include_str!("../grammar.rs").split_once("=> Role::Administration").unwrap();
    let known: BTreeSet<String> =
        statements.split("N::").skip(1).map(|arm| arm.split('(').next().unwrap().to_owned()).collect();
    assert!(known.len() > 100, "{}", known.len());
    let mut seen = BTreeSet::new();
    for sql in cases() {
        for statement in crate::parse(&sql).unwrap().statements {
            let node = statement.node().unwrap();
            assert_ne!(role(node), Role::Part, "{sql}");
            seen.insert(kind(node));
        }
    }
    let missing: Vec<&String> = known.difference(&seen).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}
