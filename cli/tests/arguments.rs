//! What cannot be meant is refused with what to write instead, before anything is read.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

#[path = "support/plugin.rs"]
mod plugin;

use plugin::plugin;
use rstest::rstest;

#[rstest]
#[case(&[], "Usage: kubectl chaperone")]
#[case(&["chekc"], "similar subcommand exists: 'check'")]
#[case(&["grant"], "<NAME>")]
#[case(&["grant", "Orders"], "write lower-case letters, digits, `-` and `.`, as in `orders-ro`")]
#[case(&["grant", "a/b"], "write lower-case letters")]
#[case(&["grant", "orders-ro", "--kind", "configmap"], "[possible values: secret, config-map]")]
#[case(&["grant", "orders-ro", "-n", "Shop"], "write lower-case letters")]
#[case(&["audit", "tail", "--last", "many"], "invalid digit")]
#[case(&["audit", "verify", "--json"], "unexpected argument '--json'")]
#[case(&["check", "-o", "yaml"], "[possible values: text, json]")]
#[case(&["explain", "SELECT 1"], "<--pod <POD>|--service-account <NAME>>")]
#[case(&["explain", "--service-account", "planner"], "<STATEMENT>")]
#[case(&["explain", "SELECT 1", "--pod", "p", "--service-account", "s"], "cannot be used with '--service-account <NAME>'")]
#[case(&["explain", "SELECT 1", "--pod", "p", "--labels", "a=b"], "cannot be used with")]
#[case(&["explain", "SELECT 1", "--pod", "p", "--file", "x.yaml"], "cannot be used with '--file <PATH>'")]
#[case(&["explain", "SELECT 1", "--service-account", "s", "--labels", "a"], "write a label as KEY=VALUE")]
#[case(&["explain", "SELECT 1", "--service-account", "s", "--connection", "a/b/c"], "write the Connection as `orders-db`, or as `shop/orders-db`")]
#[case(&["explain", "SELECT 1", "--service-account", "s", "--search-path", "a,"], "write schemas by name, separated by commas")]
#[case(&["explain", "SELECT 1", "--service-account", "s", "--server-version", "12"], "a number from 13 to 18")]
#[case(&["explain", "SELECT 1", "--service-account", "s", "--catalog-from", "host=h"], "write it as postgres://USER@HOST:PORT/DATABASE")]
#[case(&["explain", "SELECT 1", "--service-account", "s", "--catalog-from", "postgres://h/d", "--server-version", "15"], "cannot be used with")]
fn bad_arguments_say_what_to_write(#[case] arguments: &[&str], #[case] expected: &str) {
    let said = plugin(arguments, None);
    assert_eq!(said.code, 2, "{arguments:?}");
    assert!(said.err.contains(expected), "{arguments:?}: {}", said.err);
}

#[rstest]
#[case(&["check"], 1, "there is no kubeconfig to read: set KUBECONFIG")]
#[case(&["grant", "orders-ro"], 1, "there is no kubeconfig to read: set KUBECONFIG")]
#[case(&["audit", "verify"], 1, "there is no kubeconfig to read: set KUBECONFIG")]
#[case(&["audit", "verify", "--dir", "/nonexistent"], 1, "reading `/nonexistent`")]
#[case(&["explain", "SELECT 1", "--pod", "p"], 2, "there is no kubeconfig to read: set KUBECONFIG")]
#[case(&["explain", "SELECT 1", "--service-account", "s", "-f", "/nonexistent"], 2, "`/nonexistent` cannot be read")]
fn what_is_not_there_is_named(#[case] arguments: &[&str], #[case] code: i32, #[case] expected: &str) {
    let said = plugin(arguments, None);
    assert_eq!((said.code, said.out.as_str()), (code, ""), "{arguments:?}: {}", said.err);
    assert!(said.err.starts_with("error: ") && said.err.contains(expected), "{arguments:?}: {}", said.err);
}

#[test]
fn a_printed_grant_is_a_role_for_that_name_alone_and_needs_no_cluster() {
    for (more, resource, name) in [
        (&[][..], "secrets", "chaperone-read-secret-orders-ro"),
        (&["--kind", "config-map"][..], "configmaps", "chaperone-read-configmap-orders-ro"),
    ] {
        let arguments = [&["grant", "orders-ro", "-n", "shop"], more].concat();
        let said = plugin(&arguments, None);
        assert_eq!(said.code, 0, "{}", said.err);
        let objects: Vec<serde_json::Value> = said
            .out
            .split("---\n")
            .filter(|part| !part.is_empty())
            .map(|part| serde_saphyr::from_str(part).unwrap())
            .collect();
        let [role, binding] = objects.as_slice() else { panic!("two objects are expected: {}", said.out) };
        assert_eq!(role["metadata"], serde_json::json!({"name": name, "namespace": "shop"}));
        assert_eq!(
            role["rules"],
            serde_json::json!([{"apiGroups": [""], "resources": [resource], "resourceNames": ["orders-ro"],
                "verbs": ["get", "list", "watch"]}])
        );
        assert_eq!(binding["roleRef"]["name"], name);
        assert_eq!(
            binding["subjects"],
            serde_json::json!([{"kind": "ServiceAccount", "name": "chaperone-operator", "namespace": "chaperone-system"}])
        );
    }
}
