//! Connections and AccessPolicies that make no sense are refused, and the refusal says what to write instead.

use anyhow::{Result, ensure};
use chaperone_e2e::{
    Space,
    fixture::{self, merged},
    wait::eventually,
    with_labels, with_namespace,
};
use serde_json::{Value, json};

fn connection(change: Value) -> Value {
    merged(fixture::connection("db.shop.svc.cluster.local"), json!({"spec": change}))
}

fn policy(change: Value) -> Value {
    merged(fixture::policy(&[fixture::read_orders()]), json!({"spec": change}))
}

fn rule(change: Value) -> Value {
    fixture::policy(&[merged(fixture::read_orders(), change)])
}

#[tokio::test]
async fn a_connection_that_makes_no_sense_is_refused() -> Result<()> {
    let both = json!({"configMapRef": {"name": "a", "key": "b"}, "secretRef": {"name": "a", "key": "b"}});
    let cases = [
        (connection(json!({"protocl": "Postgres"})), "protocl"),
        (connection(json!({"upstream": {"hots": "x"}})), "hots"),
        (connection(json!({"upstream": {"tls": {"mode": "disable"}}})), "Disable"),
        (connection(json!({"upstream": {"host": "db"}})), "fully qualified name"),
        (connection(json!({"upstream": {"port": 0}})), "port"),
        (
            connection(json!({"upstream": {"tls": {"mode": "VerifyFull", "caBundle": both}}})),
            "set exactly one of",
        ),
        (connection(json!({"protocol": "Oracle"})), "Postgres"),
        (connection(json!({"postgres": null})), "postgres: {database: NAME}"),
        (connection(json!({"credential": null})), "credential"),
        (connection(json!({"credential": {"secretRef": {"name": ""}}})), "name"),
        (connection(json!({"allowedNamespaces": {"names": ["*"]}})), "name each namespace"),
    ];
    with_namespace(async |space| refused(space, &cases).await).await
}

#[tokio::test]
async fn a_policy_that_makes_no_sense_is_refused() -> Result<()> {
    let selectors = json!({"connections": {"names": ["a"], "selector": {"matchLabels": {}}}});
    let cases = [
        (policy(json!({"subjcets": []})), "subjcets"),
        (policy(json!({"subjects": [{"serviceAccounts": ["a"], "namespace": ["b"]}]})), "namespace"),
        (policy(json!({"subjects": [{"namespaces": ["a"]}]})), "serviceAccounts"),
        (policy(selectors), "set exactly one of `names` and `selector`"),
        (policy(json!({"connections": {"names": null}})), "set exactly one of `names` and `selector`"),
        (policy(json!({"rules": []})), "rules"),
        (policy(json!({"baseline": "Some"})), "Standard"),
        (policy(json!({"recording": {"statement": "Full"}})), "statement"),
        (fixture::policy(&[fixture::read_orders(), fixture::read_orders()]), "read-orders"),
        (rule(json!({"when": "now < 8"})), "when"),
        (rule(json!({"verdict": "Permit"})), "Allow"),
        (rule(json!({"name": "Read Orders"})), "name"),
        (rule(json!({"sql": {"verbs": ["Selct"]}})), "Selct"),
        (rule(json!({"sql": {"verbs": ["Execute"], "relations": null}})), "functions"),
        (rule(json!({"sql": {"relations": ["orders"]}})), "schema"),
    ];
    with_namespace(async |space| refused(space, &cases).await).await
}

async fn refused(space: &Space, cases: &[(Value, &str)]) -> Result<()> {
    for (object, reason) in cases {
        let refusal = space.refusal(object.clone()).await?;
        assert!(refusal.contains(reason), "`{refusal}` should say `{reason}`, for {object}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_sends_a_secret_somewhere_must_be_able_to_read_it() -> Result<()> {
    with_namespace(async |space| {
        space.apply(fixture::secret("app", "unused")).await?;
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        let rule = |groups: &str, resource: &str, verbs: &[&str]| {
            json!({"apiGroups": [groups], "resources": [resource], "verbs": verbs})
        };
        let role = |rules: &[Value]| {
            json!({"apiVersion": version, "kind": "Role", "metadata": {"name": "author"}, "rules": rules})
        };
        let connections = rule("chaperone.dev", "connections", &["get", "create", "patch"]);
        let binding = json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": "author"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "author"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "author@example.com"}],
        });
        space.apply_all([role(std::slice::from_ref(&connections)), binding]).await?;
        let author = space.seen_by("author@example.com").await?;
        unreadable(&author, connection(json!({}))).await?;
        space.apply(role(&[connections, rule("", "secrets", &["get"])])).await?;
        eventually("the right to read the Secret counting", async || {
            author.apply(connection(json!({}))).await.map(Some)
        })
        .await?;
        // Without the right everything may be changed but where the credential goes.
        space.apply(role(&[rule("chaperone.dev", "connections", &["get", "create", "patch"])])).await?;
        unreadable(&author, connection(json!({"upstream": {"host": "evil.example.com"}}))).await?;
        author.apply(connection(json!({"postgres": {"database": "other"}}))).await?;
        Ok(())
    })
    .await
}

/// Waits until an author is refused for want of the right to the Secret: the API server knows of changed rights a
/// moment later.
async fn unreadable(author: &Space, connection: Value) -> Result<()> {
    eventually("the missing right being said", async || {
        let refusal = author.refusal(connection.clone()).await?;
        ensure!(refusal.contains("`author@example.com` may not read the secret"), "{refusal}");
        Ok(Some(()))
    })
    .await
}

#[tokio::test]
async fn the_label_required_is_not_taken_away_by_whoever_may_change_namespaces() -> Result<()> {
    with_labels(json!({"chaperone.dev/injection": "required"}), async |space| {
        let group = "rbac.authorization.k8s.io";
        let name = format!("e2e-{}", space.name);
        let rule = json!({
            "apiGroups": [""], "resources": ["namespaces"], "resourceNames": [space.name],
            "verbs": ["get", "patch", "update"],
        });
        let version = format!("{group}/v1");
        space
            .apply_cluster(json!({
                "apiVersion": version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule],
            }))
            .await?;
        space
            .apply_cluster(json!({
                "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": group, "kind": "User", "name": "namespaces@example.com"}],
            }))
            .await?;
        let somebody = space.seen_by("namespaces@example.com").await?;
        let namespace = |labels: Value| {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space.name, "labels": labels}})
        };
        // Other labels are theirs.
        let other = namespace(json!({"team": "growth", "chaperone.dev/injection": "required"}));
        eventually("the right to change the namespace counting", async || {
            somebody.apply_cluster(other.clone()).await.map(Some)
        })
        .await?;
        let weaker = namespace(json!({"chaperone.dev/injection": "enabled"}));
        let refusal = somebody.apply_cluster(weaker).await.err().map(|error| format!("{error:#}"));
        let refusal = refusal.unwrap_or_else(|| "it was taken away".to_owned());
        assert!(refusal.contains("verb `unprotect`"), "{refusal}");
        Ok(())
    })
    .await
}
