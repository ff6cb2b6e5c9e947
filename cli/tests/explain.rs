//! `explain` over files: by names alone, and with a real database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail this way")]

#[path = "support/plugin.rs"]
mod plugin;
#[path = "support/server.rs"]
mod server;

use plugin::{Said, plugin};
use serde::Deserialize;
use server::Server;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    sql: String,
    #[serde(default = "planner")]
    sender: Vec<String>,
    #[serde(default = "orders")]
    connection: String,
    #[serde(default)]
    options: Vec<String>,
    assumed: Expected,
    database: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    exit: i32,
    says: Vec<String>,
}

fn planner() -> Vec<String> {
    vec!["--service-account".to_owned(), "planner".to_owned()]
}

fn orders() -> String {
    "orders-db".to_owned()
}

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("explain/cases.yaml")).unwrap()
}

fn resources() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/explain/resources.yaml").to_owned()
}

impl Case {
    fn explain(&self, more: &[&str]) -> Said {
        let file = resources();
        let mut arguments = vec!["explain", &self.sql, "-f", &file, "--connection", &self.connection];
        arguments.extend(self.sender.iter().chain(&self.options).map(String::as_str));
        if !self.options.iter().any(|option| option == "-n") {
            arguments.extend(["-n", "shop"]);
        }
        arguments.extend(more);
        plugin(&arguments, None)
    }

    /// What is wrong, if anything.
    fn check(&self, expected: &Expected, more: &[&str]) -> Option<String> {
        let said = self.explain(more);
        let says = |part: &String| said.out.contains(part.as_str());
        if said.code == expected.exit && said.err.is_empty() && expected.says.iter().all(says) {
            return None;
        }
        let Said { code, out, err } = said;
        Some(format!(
            "--- {}: {}\nexit {code} for {}, says for {:?}\n{out}{err}",
            self.about, self.sql, expected.exit, expected.says
        ))
    }
}

fn none_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn names_alone_give_the_answers_of_the_table_and_say_what_was_assumed() {
    let wrong: Vec<String> = cases().iter().filter_map(|case| case.check(&case.assumed, &[])).collect();
    none_wrong(&wrong);
}

#[test]
fn a_database_gives_the_answers_of_the_table() {
    let server = Server::start(include_str!("explain/schema.sql"));
    let url = server.url();
    let more = ["--catalog-from", &url];
    let wrong: Vec<String> = cases().iter().filter_map(|case| case.check(&case.database, &more)).collect();
    none_wrong(&wrong);
    over_tls(&server);
}

/// The certificate counts, and its name; the same server as the table's.
fn over_tls(server: &Server) {
    let root = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(root.path(), &server.root).unwrap();
    let file = resources();
    let ask = |url: &str| {
        let arguments =
            ["explain", "SELECT id FROM orders", "-f", &file, "-n", "shop", "--service-account", "planner"];
        plugin(&[&arguments[..], &["--connection", "orders-db", "--catalog-from", url]].concat(), None)
    };
    let trusted = format!("?sslmode=verify-full&sslrootcert={}", root.path().display());
    let said = ask(&(server.tcp("localhost") + &trusted));
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    for (url, reason) in [
        (server.tcp("127.0.0.1") + &trusted, "certificate"),
        (server.tcp("localhost") + "?sslmode=verify-full", "certificate"),
        ("postgres://postgres@localhost:1/postgres?sslmode=disable".to_owned(), "cannot be reached"),
    ] {
        let said = ask(&url);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{url}: {}", said.err);
        assert!(said.err.contains(reason), "{url}: {}", said.err);
    }
}

#[test]
fn a_suggested_rule_makes_the_statement_allowed() {
    let text = std::fs::read_to_string(resources()).unwrap();
    for sql in [
        "SELECT ssn FROM customers",
        "INSERT INTO orders (id) VALUES (1)",
        "SELECT pg_sleep(1)",
        "LISTEN news",
        "SET work_mem = '1GB'",
        "CREATE TABLE archive (id int)",
        "DO 'BEGIN END'",
        "VACUUM orders",
    ] {
        let (code, answer) = json(sql, &text);
        assert_eq!(code, 1, "{sql}: {answer}");
        let rules = answer["toAllow"]["rules"].as_array().unwrap();
        assert!(!rules.is_empty(), "{sql}: {answer}");
        let added: String = rules.iter().map(|rule| format!("  - {rule}\n")).collect();
        let mended = text.replace("  - name: read-orders\n", &format!("{added}  - name: read-orders\n"));
        let (code, answer) = json(sql, &mended);
        assert_eq!((code, &answer["verdict"]), (0, &"allowed".into()), "{sql}: {answer}");
    }
}

fn json(sql: &str, resources: &str) -> (i32, serde_json::Value) {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), resources).unwrap();
    let said = plugin(
        &[
            "explain",
            sql,
            "-f",
            file.path().to_str().unwrap(),
            "-n",
            "shop",
            "--service-account",
            "planner",
            "--connection",
            "orders-db",
            "-o",
            "json",
        ],
        None,
    );
    (said.code, serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.err)))
}

#[test]
fn json_tells_everything_that_the_text_does() {
    let (code, answer) =
        json("SELECT id, ssn FROM customers", &std::fs::read_to_string(resources()).unwrap());
    assert_eq!(code, 1);
    assert_eq!(answer["verdict"], "refused");
    assert_eq!(answer["connection"], "shop/orders-db");
    assert_eq!(answer["names"]["assumed"], true);
    assert_eq!(answer["names"]["takenFor"]["tables"], serde_json::json!(["public.customers"]));
    let access = &answer["statements"][0]["accesses"][0];
    assert_eq!(access["verb"], "Select");
    assert_eq!(access["object"], "public.customers");
    assert_eq!(access["columns"], serde_json::json!(["id", "ssn"]));
    assert_eq!(access["allowed"], false);
    assert_eq!(access["reason"], "no rule allows Select public.customers.ssn");
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_line_and_field() {
    let text = std::fs::read_to_string(resources()).unwrap();
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    for (old, new, expected) in [
        ("verdict: Deny", "verdict: Never", "unknown variant `Never`"),
        ("relations: [public.customers]", "relatoins: [public.customers]", "relatoins"),
        (
            "connections: {names: [bare-db]}",
            "connections: {names: [bear-db]}",
            "there is no Connection `shop/bear-db`",
        ),
        ("kind: AccessPolicy", "kind: Policy", "write Connection or AccessPolicy"),
    ] {
        assert!(text.contains(old), "{old}");
        std::fs::write(file.path(), text.replace(old, new)).unwrap();
        let path = file.path().to_str().unwrap();
        let said =
            plugin(&["explain", "SELECT 1", "-f", path, "-n", "shop", "--service-account", "planner"], None);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{new}");
        assert!(said.err.contains(path) && said.err.contains(expected), "{new}: {}", said.err);
    }
}

#[test]
fn which_of_several_connections_is_meant_must_be_said() {
    let file = resources();
    let said =
        plugin(&["explain", "SELECT 1", "-f", &file, "-n", "shop", "--service-account", "planner"], None);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("name one with --connection: shop/bare-db, shop/orders-db"), "{}", said.err);
}
