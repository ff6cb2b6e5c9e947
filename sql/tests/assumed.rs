//! What statements do by their names alone, where there is no server to ask.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail this way")]

use std::sync::Arc;

use chaperone_sql::builtins::Version;
use chaperone_sql::{Assumed, Catalog, Doubt, Facts, Scope, SessionNames, Statement, Unready};
use policy::Columns;
use rstest::rstest;

fn facts(statement: &Arc<Statement>, path: &[&str]) -> Facts {
    let path: Vec<String> = path.iter().map(|schema| (*schema).to_owned()).collect();
    let names = SessionNames::default();
    let (mut assumed, mut catalog) = (Assumed::default(), Catalog::new(Version::V15));
    for _ in 0..50 {
        let scope = Scope {
            version: Version::V15,
            search_path: &path,
            temp_schema: None,
            catalog: &catalog,
            session: &names,
            parameter_types: &[],
            user: "app",
            database: "shop",
            doubt: Doubt::default(),
        };
        match chaperone_sql::facts(statement, &scope) {
            Ok(facts) if assumed.learn(&facts.unresolved, &path) => catalog = Catalog::new(Version::V15),
            Ok(facts) => return facts,
            Err(Unready::Needs(needs)) => catalog.assume(&needs, &mut assumed),
            Err(Unready::Refused(refused)) => panic!("{refused:?}"),
        }
    }
    panic!("the same names are needed again and again");
}

fn lines(sql: &str, path: &[&str]) -> Vec<String> {
    let statement = Arc::clone(chaperone_sql::parse(sql).unwrap().statements.first().unwrap());
    let facts = facts(&statement, path);
    let unresolved = facts.unresolved.iter().map(|name| format!("unresolved {}", name.name));
    let accesses = facts.accesses.iter().filter(|access| !access.baseline).map(|access| {
        let columns = match &access.columns {
            Columns::All => " (*)".to_owned(),
            Columns::Set(set) if set.is_empty() => String::new(),
            Columns::Set(set) => format!(" ({})", set.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        format!(
            "{} {}{columns}{}",
            access.verb,
            access.object,
            if access.filtered { " filtered" } else { "" }
        )
    });
    let mut lines: Vec<String> =
        accesses.filter(|line| !line.contains(" the columns of")).chain(unresolved).collect();
    lines.sort();
    lines
}

#[rstest]
#[case("SELECT id, o.status FROM orders o WHERE o.amount > 10", &["Select public.orders (amount, id, status)"])]
#[case("SELECT * FROM shop.orders", &["Select shop.orders (*)"])]
#[case("SELECT o FROM orders o", &["Select public.orders (*)"])]
#[case("SELECT o.count FROM orders o", &["Select public.orders (count)"])]
#[case("SELECT count(*) AS n FROM orders GROUP BY status ORDER BY n", &["Select public.orders (status)"])]
#[case("WITH x AS (SELECT id FROM orders) SELECT id FROM x", &["Select public.orders (id)"])]
#[case("SELECT o.id FROM orders o JOIN items i USING (id)", &["Select public.items (id)", "Select public.orders (id)"])]
#[case("SELECT name FROM a, b", &["Select public.a (name)", "Select public.b (name)"])]
#[case("UPDATE orders SET status = 'x' WHERE id = 1", &["Select public.orders (id)", "Update public.orders (status) filtered"])]
#[case("INSERT INTO orders (id) VALUES (1) RETURNING id", &["Insert public.orders (id)", "Select public.orders (id)"])]
#[case("DELETE FROM orders", &["Delete public.orders"])]
#[case("DROP TABLE orders", &["Drop public.orders"])]
#[case("SELECT next_invoice(1), lower(name) FROM orders", &["Execute public.next_invoice(...)", "Select public.orders (name)"])]
#[case("SELECT billing.total(id) FROM orders", &["Execute billing.total(...)", "Select public.orders (id)"])]
#[case("CALL archive(1)", &["Call public.archive(...)"])]
#[case("SELECT status::mood FROM orders", &["Select public.orders (status)"])]
fn names_are_what_they_look_like(#[case] sql: &str, #[case] expected: &[&str]) {
    assert_eq!(lines(sql, &["pg_catalog", "public"]), expected, "{sql}");
}

#[rstest]
#[case("SELECT * FROM a NATURAL JOIN b", "unresolved the columns of NATURAL JOIN")]
#[case("SELECT x FROM orders AS o (x, y)", "unresolved o.(x, y)")]
#[case("SELECT 1 @#@ 2", "unresolved @#@")]
#[case("SELECT x.id FROM orders", "unresolved x.id")]
fn what_only_the_server_knows_stays_unresolved(#[case] sql: &str, #[case] expected: &str) {
    let lines = lines(sql, &["pg_catalog", "public"]);
    assert!(lines.iter().any(|line| line == expected), "{sql}: {lines:?}");
}

#[test]
fn unqualified_names_belong_to_the_first_schema_of_the_path() {
    assert_eq!(lines("SELECT id FROM orders", &["pg_catalog", "app", "public"]), ["Select app.orders (id)"]);
    assert_eq!(
        lines("SELECT id FROM public.orders", &["pg_catalog", "app", "public"]),
        ["Select public.orders (id)"]
    );
}
