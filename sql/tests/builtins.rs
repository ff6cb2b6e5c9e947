//! The built-ins that are compiled in, against the review lists and against real servers.
//!
//! Real servers: those of every version that is installed or cached, and at least one. With
//! `CHAPERONE_POSTGRES=all` the others are fetched. Servers run in single-user mode in a temporary folder.

#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use chaperone_sql::builtins::{
    ALL_VERSIONS, Class, Version, Why, all_functions, function_by_oid, relation, relations, type_by_oid,
};

const CATALOG: &str = include_str!("../builtins/catalog.tsv");
const HARMLESS: &str = include_str!("../builtins/harmless.txt");
const REFUSED: &str = include_str!("../builtins/refused.txt");
const ALLOW: &str = include_str!("../builtins/catalog-allow.txt");

/// The lines of a list by section.
fn sections(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut section = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => section = name,
            None => sections.entry(section).or_default().extend(line.split_whitespace()),
        }
    }
    sections
}

/// The functions of a version as the lists may name them: `name` and `name(type,type)`.
fn names(version: Version) -> BTreeSet<String> {
    let functions = all_functions(version).flat_map(|function| {
        let of = |oid: &u32| type_by_oid(version, *oid).map_or("?", |of| of.name);
        let arguments: Vec<&str> = function.arguments.iter().map(of).collect();
        [function.name.to_owned(), format!("{}({})", function.name, arguments.join(","))]
    });
    functions.collect()
}

#[test]
fn every_function_of_every_version_is_reviewed() {
    for version in ALL_VERSIONS {
        let unreviewed: Vec<&str> = all_functions(version)
            .filter(|function| function.class == Class::Refused(Why::Unreviewed))
            .map(|function| function.name)
            .collect();
        assert!(
            unreviewed.is_empty(),
            "PostgreSQL {version}: add to harmless.txt or refused.txt: {unreviewed:?}"
        );
        assert!(all_functions(version).filter(|function| function.harmless()).count() > 2_000);
    }
}

#[test]
fn no_function_is_in_both_lists_or_twice_or_unknown() {
    let known: BTreeSet<String> = ALL_VERSIONS.into_iter().flat_map(names).collect();
    let mut seen = BTreeSet::new();
    for text in [HARMLESS, REFUSED] {
        for name in sections(text).into_values().flatten() {
            assert!(known.contains(name), "`{name}` is listed, but no version has it");
            assert!(seen.insert(name), "`{name}` is listed twice");
        }
    }
    for name in &seen {
        let plain = name.split('(').next().unwrap();
        assert!(
            *name == plain || !seen.contains(plain) || !same_list(name, plain),
            "`{name}` says what `{plain}` says"
        );
    }
}

fn same_list(one: &str, other: &str) -> bool {
    let has = |text, name| sections(text).into_values().flatten().any(|listed| listed == name);
    has(HARMLESS, one) == has(HARMLESS, other)
}

/// A name in `harmless.txt` must not be overruled for some overloads by what their types tell: such a name is to
/// be listed by overload.
#[test]
fn what_a_name_says_is_true_for_all_its_overloads() {
    let harmless: BTreeSet<&str> = sections(HARMLESS).into_values().flatten().collect();
    let refused: BTreeSet<&str> = sections(REFUSED).into_values().flatten().collect();
    for version in ALL_VERSIONS {
        for function in all_functions(version) {
            assert!(!harmless.contains(function.name) || function.harmless(), "{version}: {}", function.name);
            assert!(!refused.contains(function.name) || !function.harmless(), "{version}: {}", function.name);
        }
    }
}

/// An independent opinion: what the server itself keeps from PUBLIC cannot be harmless.
#[test]
fn what_the_server_keeps_from_everybody_is_refused() {
    let mut kept = 0;
    for version in ALL_VERSIONS {
        for line in committed(version) {
            let fields: Vec<&str> = line.split('\t').collect();
            let ["f", name, _, _, oid, form] = fields.as_slice() else { continue };
            if form.contains('!') {
                kept += 1;
                let function = function_by_oid(version, oid.parse().unwrap());
                assert!(
                    function.is_some_and(|function| !function.harmless()),
                    "PostgreSQL {version}: {name}"
                );
            }
        }
    }
    assert!(kept > 200);
}

#[test]
fn what_acts_is_refused() {
    let cases = [
        ("query_to_xml", Why::SqlText),
        ("ts_stat", Why::SqlText),
        ("table_to_xml", Why::SqlText),
        ("pg_read_file", Why::File),
        ("pg_ls_dir", Why::File),
        ("pg_terminate_backend", Why::OtherSession),
        ("pg_stat_get_activity", Why::OtherSession),
        ("set_config", Why::Setting),
        ("lo_import", Why::LargeObject),
        ("loread", Why::LargeObject),
        ("nextval", Why::Sequence),
        ("pg_advisory_lock", Why::Lock),
        ("pg_drop_replication_slot", Why::Replication),
        ("pg_sleep", Why::Waits),
        ("pg_notify", Why::Notifies),
        ("pg_reload_conf", Why::Server),
        ("txid_current", Why::Writes),
        ("pg_hba_file_rules", Why::ShowsHidden),
        ("RI_FKey_check_ins", Why::TriggerOnly),
        ("domain_in", Why::Internal),
        ("bthandler", Why::Internal),
    ];
    for version in ALL_VERSIONS {
        for (name, why) in cases {
            let found: Vec<_> = all_functions(version).filter(|function| function.name == name).collect();
            assert!(!found.is_empty(), "PostgreSQL {version} has no {name}");
            assert!(found.iter().all(|function| function.class == Class::Refused(why)), "{version}: {name}");
        }
    }
}

/// What psql's backslash commands, pg_dump and the drivers' metadata queries call.
#[test]
fn what_tools_call_is_harmless() {
    let tools = "pg_get_viewdef pg_get_indexdef pg_get_constraintdef pg_get_expr pg_get_functiondef pg_get_userbyid \
        format_type pg_table_is_visible pg_function_is_visible obj_description col_description shobj_description \
        pg_relation_is_publishable pg_encoding_to_char array_to_string quote_ident current_schemas current_schema \
        pg_total_relation_size pg_size_pretty pg_backend_pid version current_setting has_table_privilege \
        has_schema_privilege pg_get_serial_sequence pg_get_partkeydef pg_get_statisticsobjdef pg_tablespace_location \
        pg_is_in_recovery acldefault array_remove unnest generate_subscripts pg_options_to_table to_regclass \
        pg_advisory_unlock_all pg_listening_channels set_masklen count min row_number";
    for version in ALL_VERSIONS {
        for name in tools.split_whitespace() {
            let mut found = all_functions(version).filter(|function| function.name == name).peekable();
            assert!(found.peek().is_some(), "PostgreSQL {version} has no {name}");
            assert!(found.all(|function| function.harmless()), "{version}: {name}");
        }
    }
}

#[test]
fn the_allow_list_was_made_for_every_relation_and_column() {
    let sections = sections(ALLOW);
    let mut named: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut columns: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut partial = "";
    for (section, words) in &sections {
        let schema = section.split(' ').next().unwrap();
        for word in words {
            match word.strip_suffix(':') {
                Some(name) => (partial, *named.entry((schema, name)).or_default()) = (name, 1),
                None if *section == "pg_catalog columns" => columns.entry(partial).or_default().push(word),
                None => *named.entry((schema, word)).or_default() += 1,
            }
        }
    }
    for version in ALL_VERSIONS {
        for relation in relations(version) {
            let times = named.get(&(relation.schema, relation.name));
            assert_eq!(times, Some(&1), "PostgreSQL {version}: {}.{}", relation.schema, relation.name);
            let Some(listed) = columns.get(relation.name).filter(|_| relation.schema == "pg_catalog") else {
                continue;
            };
            for (column, _) in &relation.columns {
                let times = listed.iter().filter(|name| *name == column).count();
                assert_eq!(times, 1, "PostgreSQL {version}: {}.{column}", relation.name);
            }
        }
    }
    for (schema, name) in named.into_keys().filter(|(schema, _)| !schema.is_empty()) {
        let exists = ALL_VERSIONS.into_iter().any(|version| relation(version, schema, name).is_some());
        assert!(exists, "`{schema}.{name}` is listed, but no version has it");
    }
}

/// The lines of the committed catalog that a version has, as `dump.sh` prints them.
fn committed(version: Version) -> BTreeSet<String> {
    let lines = CATALOG.lines().filter(|line| !line.starts_with('#'));
    let of_version = lines.filter_map(|line| {
        let Some((rest, last)) = line.rsplit_once('\t') else { return Some(line) };
        let Some((first, end)) = last.split_once('-') else { return Some(line) };
        let (Ok(first), Ok(end)) = (first.parse::<u32>(), end.parse::<u32>()) else { return Some(line) };
        (first..=end).contains(&version.major()).then_some(rest)
    });
    of_version.map(str::to_owned).collect()
}

/// What a real server has built in; nothing where there is none and none may be fetched.
fn asked(version: Version, fetch: bool) -> Option<BTreeSet<String>> {
    let mut dump = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/builtins/dump.sh"));
    if !fetch {
        dump.arg("--cached");
    }
    let output = dump.arg(version.to_string()).output().unwrap();
    if output.status.code() == Some(3) {
        return None;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "PostgreSQL {version} could not be asked: {said}");
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn real_servers_have_what_is_compiled_in() {
    let fetch = std::env::var("CHAPERONE_POSTGRES").is_ok_and(|value| value == "all");
    let mut compared = 0;
    for version in ALL_VERSIONS {
        let Some(server) = asked(version, fetch) else { continue };
        compared += 1;
        let committed = committed(version);
        let new: Vec<_> = server.difference(&committed).take(20).collect();
        let gone: Vec<_> = committed.difference(&server).take(20).collect();
        assert!(
            new.is_empty() && gone.is_empty(),
            "PostgreSQL {version} is not as catalog.tsv says; run generate.sh and review: new {new:#?}, gone {gone:#?}"
        );
    }
    assert!(
        compared > 0,
        "no PostgreSQL is installed or cached: install postgresql-15, or set CHAPERONE_POSTGRES=all"
    );
}
