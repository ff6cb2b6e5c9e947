//! Truth tables: statements and the accesses that they make, resolved against a real server that holds
//! `cases/schema.sql`. `UPDATE=1` rewrites the tables; review the difference.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail this way")]
#[expect(dead_code, reason = "each test uses a part of it")]
#[path = "support/server.rs"]
mod server;

use chaperone_sql::builtins::Version;
use chaperone_sql::{Doubt, Effect, Facts};
use policy::{Access, Columns, ViaKind};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Table {
    /// What the table is about.
    about: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
struct Case {
    sql: String,
    /// Statements that ran in the session before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
    /// Accesses outside the baseline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accesses: Vec<String>,
    /// Accesses that the baseline covers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    baseline: Vec<String>,
    /// Never forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

fn line(access: &Access) -> String {
    let mut line = format!("{} {}", access.verb, access.object);
    match &access.columns {
        Columns::All => line += " (*)",
        Columns::Set(set) if set.is_empty() => {}
        Columns::Set(set) => line += &format!(" ({})", set.iter().cloned().collect::<Vec<_>>().join(", ")),
    }
    for ancestor in &access.ancestors {
        line += &format!(" of {ancestor}");
    }
    if access.filtered {
        line += " filtered";
    }
    for via in &access.via {
        let kind = match via.kind {
            ViaKind::View => "view",
            ViaKind::Parent => "parent",
        };
        line += &format!(" via {kind} {}", via.relation);
    }
    if let policy::Object::Function(policy::FunctionName { extension: Some(extension), .. }) = &access.object
    {
        line += &format!(" of extension {extension}");
    }
    line
}

fn lines(facts: &Facts, baseline: bool) -> Vec<String> {
    let mut lines: Vec<String> = facts.accesses.iter().filter(|a| a.baseline == baseline).map(line).collect();
    lines.sort();
    lines
}

#[test]
fn statements_make_the_accesses_of_the_truth_tables() {
    let mut wrong = Vec::new();
    for (at, server) in server::Server::start_all().iter().enumerate() {
        server.script(include_str!("cases/schema.sql"));
        wrong.extend(check(server, at == 0));
    }
    let update = std::env::var_os("UPDATE").is_some();
    // What differs between versions is wrong even while the tables are rewritten.
    let update = update && wrong.iter().all(|line| line.starts_with("V15"));
    assert!(update || wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Checks every table on one server. Which built-in functions a call may mean differs between versions: what the
/// baseline covers is compared on the first only.
fn check(server: &server::Server, first: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "yaml")) {
        let mut table: Table = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for case in &mut table.cases {
            let seen = resolve(server, case);
            if case.sql.starts_with("MERGE") && server.version < Version::V15 {
                assert_eq!(seen.refused.as_deref(), Some("NewerThanServer: MERGE is newer than the server"));
                continue;
            }
            let same = (&seen.accesses, &seen.refused) == (&case.accesses, &case.refused)
                && (!first || seen.baseline == case.baseline);
            if !same {
                wrong.push(format!(
                    "{:?} {}\n  now:  {:?} baseline {:?} refused {:?}\n  file: {:?} baseline {:?} refused {:?}",
                    server.version,
                    case.sql,
                    seen.accesses,
                    seen.baseline,
                    seen.refused,
                    case.accesses,
                    case.baseline,
                    case.refused
                ));
                *case = seen;
            }
        }
        if first && std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, serde_saphyr::to_string(&table).unwrap()).unwrap();
        }
    }
    wrong
}

fn resolve(server: &server::Server, case: &Case) -> Case {
    let mut session = server.connect();
    for before in &case.after {
        let syntax = chaperone_sql::parse(before).unwrap();
        for statement in &syntax.statements {
            let facts = session.facts(statement, Doubt::default()).unwrap();
            remember(&mut session, facts);
        }
        session.run(before);
    }
    let syntax = chaperone_sql::parse(&case.sql).unwrap_or_else(|e| panic!("{e}: {}", case.sql));
    let facts = session.facts(&syntax.statements[0], Doubt::default());
    let mut seen = Case {
        sql: case.sql.clone(),
        after: case.after.clone(),
        accesses: Vec::new(),
        baseline: Vec::new(),
        refused: None,
    };
    match facts {
        Ok(facts) => (seen.accesses, seen.baseline) = (lines(&facts, false), lines(&facts, true)),
        Err(refused) => seen.refused = Some(format!("{:?}: {}", refused.reason, refused.message)),
    }
    seen
}

fn remember(session: &mut server::Session, facts: Facts) {
    let facts = std::sync::Arc::new(facts);
    for effect in &facts.effects {
        if let Effect::Prepare { name, statement, types } = effect {
            let (statement, types) = (statement.clone(), types.clone());
            session.names.statements.insert(name.clone(), chaperone_sql::Prepared { statement, types });
        }
        if let Effect::DeclareCursor { name, .. } = effect {
            session.names.cursors.insert(name.clone(), facts.clone());
        }
    }
}
