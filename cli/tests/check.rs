//! `check` and `explain` against an API server that answers from a table.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail this way")]

#[path = "support/api_server.rs"]
mod api_server;
#[path = "support/plugin.rs"]
mod plugin;

use api_server::World;
use jiff::{Timestamp, ToSpan};
use plugin::{Said, plugin};
use serde_json::{Value, json};

const SYSTEM: &str = "/api/v1/namespaces/chaperone-system";
const OPERATORS: &str = "/api/v1/namespaces/chaperone-system/pods?app.kubernetes.io/name=chaperone,app.kubernetes.io/component=operator";
const LEADERS: &str = "/api/v1/namespaces/chaperone-system/pods?chaperone.dev/leader";
const SET: &str = "/apis/apps/v1/namespaces/chaperone-system/statefulsets/chaperone-operator";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/chaperone-system/leases/chaperone-leader";
const CHANNEL: &str = "/apis/discovery.k8s.io/v1/namespaces/chaperone-system/endpointslices?kubernetes.io/service-name=chaperone-channel";
const WEBHOOK: &str = "/apis/discovery.k8s.io/v1/namespaces/chaperone-system/endpointslices?kubernetes.io/service-name=chaperone-webhook";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/chaperone";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/chaperone";
const NAMESPACES: &str = "/api/v1/namespaces?chaperone.dev/injection";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const INJECTED: &str = "/api/v1/pods?chaperone.dev/injected=true";
const CONNECTIONS: &str = "/apis/chaperone.dev/v1alpha1/connections";
const POLICIES: &str = "/apis/chaperone.dev/v1alpha1/accesspolicies";
const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/connections.chaperone.dev";
const TRIAL: &str = "POST /api/v1/namespaces/shop/pods";

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn slice(pods: &[&str]) -> Value {
    let endpoints = pods.iter().map(|pod| {
        json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": pod}})
    });
    json!([{"metadata": {"name": "slice"}, "addressType": "IPv4", "endpoints": endpoints.collect::<Vec<_>>()}])
}

fn webhooks() -> Value {
    json!({
        "metadata": {"name": "chaperone"},
        "webhooks": [{
            "name": "inject-namespaces.chaperone.dev",
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "chaperone-webhook", "namespace": "chaperone-system"}, "caBundle": "cm9vdA=="},
        }],
    })
}

fn injected(name: &str) -> Value {
    json!({"metadata": {
        "name": name, "namespace": "shop", "labels": {"chaperone.dev/injected": "true"},
        "annotations": {"chaperone.dev/version": version(), "chaperone.dev/admitted-labels": "{\"team\":\"blue\"}"},
    }})
}

fn ready(status: &str, reason: &str, message: &str) -> Value {
    json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": status, "reason": reason,
        "message": message, "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
}

fn connection() -> Value {
    json!({
        "metadata": {"name": "orders-db", "namespace": "shop", "generation": 1},
        "spec": {
            "protocol": "Postgres",
            "upstream": {"host": "orders.prod.svc.cluster.local", "port": 5432,
                "tls": {"caBundle": {"configMapRef": {"name": "orders-ca", "key": "ca.crt"}}}},
            "postgres": {"database": "orders"},
            "credential": {"secretRef": {"name": "orders-ro"}},
        },
        "status": ready("True", "Ready", "everything is in place"),
    })
}

fn policy() -> Value {
    json!({
        "metadata": {"name": "planners", "namespace": "shop", "generation": 1},
        "spec": {
            "subjects": [{"serviceAccounts": ["planner"], "podSelector": {"matchLabels": {"team": "blue"}}}],
            "connections": {"names": ["orders-db"]},
            "rules": [{"name": "read", "verdict": "Allow", "sql": {"verbs": ["Read"], "relations": ["public.orders"]}}],
        },
        "status": ready("True", "Ready", "everything is in place"),
    })
}

/// An installation in which everything is as it should be.
fn healthy() -> World {
    let mut world = World::default();
    world.set(
        "/version",
        json!({"major": "1", "minor": "33+", "gitVersion": "v1.33.4", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
    );
    for (_, mut definition) in api::custom_resource_definitions().unwrap() {
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        definition["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
        world.set(&format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"), definition);
    }
    world.set(SET, json!({"metadata": {"name": "chaperone-operator", "labels": {"app.kubernetes.io/version": version()}},
        "spec": {"replicas": 2, "selector": {}, "serviceName": "", "template": {}}, "status": {"replicas": 2, "readyReplicas": 2}}));
    let operator = |name: &str| json!({"metadata": {"name": name}, "status": {"phase": "Running"}});
    world.list(OPERATORS, json!([operator("chaperone-operator-0"), operator("chaperone-operator-1")]));
    world.list(LEADERS, json!([{"metadata": {"name": "chaperone-operator-1"}}]));
    world.set(
        LEASE,
        json!({"metadata": {"name": "chaperone-leader"}, "spec": {"holderIdentity": "chaperone-operator-1",
        "renewTime": format!("{:.6}", Timestamp::now())}}),
    );
    world.list(CHANNEL, slice(&["chaperone-operator-1"]));
    world.list(WEBHOOK, slice(&["chaperone-operator-0", "chaperone-operator-1"]));
    world.set(MUTATING, webhooks());
    world.set(VALIDATING, webhooks());
    world.list(
        NAMESPACES,
        json!([{"metadata": {"name": "shop", "labels": {"chaperone.dev/injection": "enabled"}}}]),
    );
    world.list(PODS, json!([injected("planner-0")]));
    world.list(INJECTED, json!([injected("planner-0")]));
    world.set(TRIAL, json!({"metadata": {"name": "chaperone-check-x", "labels": {"chaperone.dev/injected": "true"}},
        "spec": {"initContainers": [{"name": "chaperone-fence"}, {"name": "chaperone-sidecar"}], "containers": []}}));
    world.list(CONNECTIONS, json!([connection()]));
    world.list(POLICIES, json!([policy()]));
    for replica in ["chaperone-operator-0", "chaperone-operator-1"] {
        world.refuse(&format!("{SYSTEM}/pods/{replica}/portforward"), 403, "pods is forbidden");
    }
    world
}

fn check(world: &World) -> Said {
    let server = world.serve();
    plugin(&["check"], Some(server.kubeconfig()))
}

#[test]
fn a_healthy_installation_passes_and_what_may_not_be_seen_is_a_warning() {
    let said = check(&healthy());
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    for part in [
        "OK    the API server is Kubernetes v1.33.4",
        "OK    the definition `connections.chaperone.dev` is there and of this version",
        "OK    2 of 2 replicas are ready",
        "OK    `chaperone-operator-1` leads",
        "OK    `chaperone-operator-1` carries the label `chaperone.dev/leader`",
        "OK    the Service `chaperone-channel` has the leader behind it",
        "OK    the ValidatingWebhookConfiguration `chaperone` is there, fails closed and has its caBundle",
        "OK    the Service `chaperone-webhook` has 2 endpoints",
        "OK    a pod in namespace `shop` would get its sidecar (dry run)",
        "OK    namespace `shop` (enabled): 1 pods with a sidecar, 0 that declined",
        "OK    all 1 injected pods are of version",
        "OK    all Connections are Ready: 1",
        "OK    all AccessPolicies are Ready: 1",
        "WARN  the records of `chaperone-operator-0` cannot be read: port-forward",
        "WARN  the certificate of `chaperone-operator-1` was not looked at: port-forward",
        "do: get the right to pods/portforward in namespace `chaperone-system`",
        "nothing that was looked at failed: 4 warnings, 4 of them about what was not looked at",
    ] {
        assert!(said.out.contains(part), "{part} is not in\n{}", said.out);
    }
}

#[test]
fn the_trial_of_a_pod_is_a_dry_run_of_one_that_asks_for_a_sidecar() {
    let world = healthy();
    check(&world);
    let written = world.written.lock().unwrap();
    let [(what, pod)] = written.as_slice() else { panic!("{written:?}") };
    assert_eq!(what, "POST /api/v1/namespaces/shop/pods");
    assert_eq!(pod["metadata"]["annotations"], json!({"chaperone.dev/inject": "true"}));
}

#[test]
fn a_pod_is_tried_in_the_namespace_that_is_named() {
    let world = healthy();
    let server = world.serve();
    plugin(&["check", "-n", "stock"], Some(server.kubeconfig()));
    assert_eq!(world.written.lock().unwrap()[0].0, "POST /api/v1/namespaces/stock/pods");
}

/// A way in which an installation is not well, and what is said of it.
struct Case {
    world: fn(&mut World),
    level: &'static str,
    says: &'static str,
    hint: &'static str,
}

fn old_lease() -> String {
    format!("{:.6}", Timestamp::now() - 90.seconds())
}

const CLUSTER: &[Case] = &[
    Case {
        world: |world| world.change("/version", "/minor", json!("31")),
        level: "FAIL",
        says: "the API server is Kubernetes",
        hint: "upgrade the cluster to 1.33 or newer",
    },
    Case {
        world: |world| world.remove(CRD),
        level: "FAIL",
        says: "the definition `connections.chaperone.dev` is missing",
        hint: "helm upgrade --install chaperone-crds",
    },
    Case {
        world: |world| {
            let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
            world.change(CRD, &format!("{properties}/agent/properties"), json!({}));
        },
        level: "FAIL",
        says: "is of another version: it lacks v1alpha1 spec.agent.environment",
        hint: "helm upgrade --install chaperone-crds",
    },
    Case {
        world: |world| {
            let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
            let more =
                json!({"port": {"type": "integer"}, "environment": {"enum": ["Standard", "None", "All"]}});
            world.change(CRD, &format!("{properties}/agent/properties"), more);
        },
        level: "WARN",
        says: "is newer than this plugin: it has v1alpha1 spec.agent.environment=All",
        hint: "install the plugin of the operator's version",
    },
    Case {
        world: |world| world.change(CRD, "/status/conditions/0/status", json!("False")),
        level: "FAIL",
        says: "the definition `connections.chaperone.dev` is not established",
        hint: "kubectl describe crd connections.chaperone.dev",
    },
    Case {
        world: |world| world.refuse(CRD, 403, "customresourcedefinitions is forbidden: User \"ann\""),
        level: "WARN",
        says: "not looked at, you may not: customresourcedefinitions is forbidden",
        hint: "ask for that right",
    },
];

const OPERATOR: &[Case] = &[
    Case {
        world: |world| world.remove(SET),
        level: "FAIL",
        says: "there is no operator in namespace `chaperone-system`",
        hint: "use --operator-namespace",
    },
    Case {
        world: |world| world.change(SET, "/status/readyReplicas", json!(1)),
        level: "WARN",
        says: "1 of 2 replicas are ready",
        hint: "kubectl -n chaperone-system describe pods",
    },
    Case {
        world: |world| world.change(SET, "/status/readyReplicas", json!(0)),
        level: "FAIL",
        says: "0 of 2 replicas are ready",
        hint: "describe pods",
    },
    Case {
        world: |world| {
            world.change(SET, "/spec/replicas", json!(1));
            world.change(SET, "/status/readyReplicas", json!(1));
        },
        level: "WARN",
        says: "1 of 1 replicas are ready: while it restarts",
        hint: "--set replicas=2",
    },
    Case {
        world: |world| world.change(SET, "/metadata/labels", json!({"app.kubernetes.io/version": "9.9.9"})),
        level: "WARN",
        says: "version 9.9.9, while this plugin is",
        hint: "install the plugin of version 9.9.9",
    },
    Case {
        world: |world| world.change(LEASE, "/spec/holderIdentity", json!("")),
        level: "FAIL",
        says: "nobody leads",
        hint: "kubectl -n chaperone-system logs",
    },
    Case {
        world: |world| world.change(LEASE, "/spec/renewTime", json!(old_lease())),
        level: "FAIL",
        says: "`chaperone-operator-1` has not renewed the Lease `chaperone-leader` for 9",
        hint: "set this machine's clock",
    },
    Case {
        world: |world| world.list(LEADERS, json!([])),
        level: "FAIL",
        says: "no pod carries the label `chaperone.dev/leader`",
        hint: "read its log",
    },
    Case {
        world: |world| world.list(LEADERS, json!([{"metadata": {"name": "chaperone-operator-0"}}])),
        level: "FAIL",
        says: "`chaperone-operator-1` leads, but the label `chaperone.dev/leader` is on: chaperone-operator-0",
        hint: "read its log",
    },
    Case {
        world: |world| world.list(CHANNEL, slice(&[])),
        level: "FAIL",
        says: "the Service `chaperone-channel` has 0 endpoints",
        hint: "get endpointslices,pods --show-labels",
    },
];

const WEBHOOKS: &[Case] = &[
    Case {
        world: |world| world.remove(MUTATING),
        level: "FAIL",
        says: "there is no MutatingWebhookConfiguration `chaperone`",
        hint: "helm upgrade --install chaperone charts/chaperone",
    },
    Case {
        world: |world| world.change(VALIDATING, "/webhooks/0/clientConfig", json!({})),
        level: "FAIL",
        says: "has no caBundle, so it cannot be called",
        hint: "the operator sets it",
    },
    Case {
        world: |world| world.change(MUTATING, "/webhooks/0/failurePolicy", json!("Ignore")),
        level: "FAIL",
        says: "lets pass what it cannot judge: failurePolicy is not Fail",
        hint: "helm upgrade",
    },
    Case {
        world: |world| world.change(MUTATING, "/webhooks/0/clientConfig/caBundle", json!("b3RoZXI=")),
        level: "FAIL",
        says: "the webhooks trust different root certificates",
        hint: "the operator mends it within seconds",
    },
    Case {
        world: |world| world.list(WEBHOOK, slice(&[])),
        level: "FAIL",
        says: "the Service `chaperone-webhook` has no endpoint",
        hint: "see the replicas above",
    },
    Case {
        world: |world| world.set(TRIAL, json!({"metadata": {"name": "x"}, "spec": {"containers": []}})),
        level: "FAIL",
        says: "that asks for a sidecar would get none (dry run)",
        hint: "helm upgrade",
    },
    Case {
        world: |world| {
            let message = "Internal error occurred: failed calling webhook \"inject-namespaces.chaperone.dev\": refused";
            world.refuse(TRIAL, 500, message);
        },
        level: "FAIL",
        says: "the API server cannot call the webhook: Internal error occurred: failed calling webhook",
        hint: "port 8443",
    },
    Case {
        world: |world| {
            let message = "admission webhook \"inject-namespaces.chaperone.dev\" denied the request: chaperone: no fence";
            world.refuse(TRIAL, 403, message);
        },
        level: "WARN",
        says: "the webhook answers, but refuses pods in namespace `shop`",
        hint: "do what it says",
    },
    Case {
        world: |world| {
            world.refuse(TRIAL, 403, "pods is forbidden: User \"ann\" cannot create resource \"pods\"")
        },
        level: "WARN",
        says: "the webhook was not tried in namespace `shop`: pods is forbidden",
        hint: "name a namespace in which you may create pods with -n",
    },
];

const WORKLOADS: &[Case] = &[
    Case {
        world: |world| world.list(NAMESPACES, json!([])),
        level: "WARN",
        says: "no namespace carries the label `chaperone.dev/injection`",
        hint: "kubectl label namespace NAMESPACE chaperone.dev/injection=enabled",
    },
    Case {
        world: |world| {
            let labels = json!({"chaperone.dev/injection": "yes"});
            world.change(NAMESPACES, "/items/0/metadata/labels", labels);
        },
        level: "FAIL",
        says: "namespace `shop`: the label `chaperone.dev/injection` is `yes`, so no pod can be created",
        hint: "kubectl label --overwrite namespace shop",
    },
    Case {
        world: |world| {
            let declined =
                json!({"metadata": {"name": "d", "annotations": {"chaperone.dev/inject": "false"}}});
            world.list(PODS, json!([injected("planner-0"), {"metadata": {"name": "old"}}, declined]));
        },
        level: "WARN",
        says: "namespace `shop` (enabled): 1 pods with a sidecar, 1 that declined, 1 WITHOUT: old",
        hint: "kubectl -n shop rollout restart deployment",
    },
    Case {
        world: |world| {
            let mut old = injected("planner-0");
            old["metadata"]["annotations"]["chaperone.dev/version"] = json!("0.0.1");
            world.list(INJECTED, json!([old]));
        },
        level: "WARN",
        says: "namespace `shop`: 1 pods have a sidecar of another version: planner-0",
        hint: "kubectl -n shop rollout restart deployment",
    },
];

const RESOURCES: &[Case] = &[
    Case {
        world: |world| {
            let status = ready("False", "SecretForbidden", "the operator may not read secrets `orders-ro`");
            world.change(CONNECTIONS, "/items/0/status", status);
        },
        level: "FAIL",
        says: "Connection `shop/orders-db` is not Ready: SecretForbidden: the operator may not read",
        hint: "kubectl chaperone grant orders-ro -n shop --apply",
    },
    Case {
        world: |world| {
            world.change(CONNECTIONS, "/items/0/status", ready("False", "CaBundleForbidden", "no"));
        },
        level: "FAIL",
        says: "CaBundleForbidden",
        hint: "kubectl chaperone grant orders-ca -n shop --kind config-map --apply",
    },
    Case {
        world: |world| world.change(CONNECTIONS, "/items/0/status", ready("False", "PodsStale", "2 pods")),
        level: "WARN",
        says: "Connection `shop/orders-db` is not Ready: PodsStale",
        hint: "kubectl -n shop describe connection orders-db",
    },
    Case {
        world: |world| {
            world.change(POLICIES, "/items/0/status", ready("False", "UnknownField", "spec.ruels"))
        },
        level: "FAIL",
        says: "AccessPolicy `shop/planners` is not Ready: UnknownField: spec.ruels",
        hint: "kubectl -n shop describe accesspolicy planners",
    },
    Case {
        world: |world| world.change(POLICIES, "/items/0/metadata/generation", json!(2)),
        level: "WARN",
        says: "AccessPolicy `shop/planners`: the operator has not looked at it yet",
        hint: "wait a moment",
    },
    Case {
        world: |world| world.refuse(CONNECTIONS, 500, "etcd is away"),
        level: "FAIL",
        says: "the Connections: cannot be read",
        hint: "kubectl get --raw /readyz?verbose",
    },
];

#[test]
fn what_is_not_well_is_said_with_what_to_do() {
    for case in [CLUSTER, OPERATOR, WEBHOOKS, WORKLOADS, RESOURCES].into_iter().flatten() {
        let mut world = healthy();
        (case.world)(&mut world);
        let said = check(&world);
        let lines: Vec<&str> = said.out.lines().collect();
        let at =
            lines.iter().position(|line| line.trim().starts_with(case.level) && line.contains(case.says));
        let Some(at) = at else { panic!("{} {} is not in\n{}", case.level, case.says, said.out) };
        let hint = lines[at + 1];
        assert!(hint.trim().starts_with("do: ") && hint.contains(case.hint), "{}: {hint}", case.says);
        assert_eq!(said.code, i32::from(case.level == "FAIL"), "{}\n{}", case.says, said.out);
    }
}

#[test]
fn an_api_server_that_is_not_there_is_one_failure() {
    let server = healthy().serve();
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let text = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["clusters"][0]["cluster"]["server"] = json!("http://127.0.0.1:1");
    std::fs::write(kubeconfig.path(), config.to_string()).unwrap();
    let said = plugin(&["check"], kubeconfig.path().to_str());
    assert_eq!(said.code, 1);
    assert!(said.out.contains("FAIL  the API server cannot be reached"), "{}", said.out);
    assert_eq!(said.out.matches("FAIL").count(), 1);
}

#[test]
fn json_tells_the_same() {
    let mut world = healthy();
    world.list(LEADERS, json!([]));
    let server = world.serve();
    let said = plugin(&["check", "-o", "json"], Some(server.kubeconfig()));
    assert_eq!(said.code, 1);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["result"], "FAIL");
    let checks = report["checks"].as_array().unwrap();
    let failed: Vec<&Value> = checks.iter().filter(|check| check["result"] == "FAIL").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["section"], "operator");
    assert!(failed[0]["hint"].as_str().unwrap().contains("logs"));
}

/// `healthy`, with the resources listed in their namespace and the pod to ask about.
fn explained() -> World {
    let mut world = healthy();
    for (kind, item) in [("connections", connection()), ("accesspolicies", policy())] {
        world.list(&format!("/apis/chaperone.dev/v1alpha1/namespaces/shop/{kind}"), json!([item]));
    }
    let mut pod = injected("planner-0");
    pod["spec"] = json!({"serviceAccountName": "planner", "containers": []});
    world.set("/api/v1/namespaces/shop/pods/planner-0", pod);
    world
}

fn explain(world: &World, arguments: &[&str]) -> Said {
    let server = world.serve();
    plugin(&[&["explain"], arguments].concat(), Some(server.kubeconfig()))
}

#[test]
fn a_pod_of_the_cluster_is_seen_with_its_labels_at_admission() {
    let said = explain(&explained(), &["SELECT id FROM orders", "--pod", "planner-0"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    for part in ["shop/planner-0, service account planner", "labels      team=blue", "[shop/planners:read]"] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(!said.out.contains("note:"), "{}", said.out);
    let other = explain(&explained(), &["SELECT id FROM orders", "--service-account", "planner"]);
    assert_eq!(other.code, 1, "without the label nothing is allowed: {}", other.out);
}

#[test]
fn a_pod_without_a_sidecar_and_a_connection_that_is_not_ready_are_noted() {
    let mut world = explained();
    let pod = json!({"metadata": {"name": "planner-0", "namespace": "shop", "labels": {"team": "blue"}},
        "spec": {"serviceAccountName": "planner", "containers": []}});
    world.set("/api/v1/namespaces/shop/pods/planner-0", pod);
    let connections = "/apis/chaperone.dev/v1alpha1/namespaces/shop/connections";
    world.change(connections, "/items/0/status", ready("False", "SecretForbidden", "no right"));
    let said = explain(&world, &["SELECT id FROM orders", "--pod", "planner-0"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("note: the pod `shop/planner-0` has no sidecar"), "{}", said.out);
    assert!(said.out.contains("is not Ready: SecretForbidden: no right"), "{}", said.out);
}

#[test]
fn an_unreadable_policy_allows_nothing_and_is_named_with_its_field() {
    let mut world = explained();
    let policies = "/apis/chaperone.dev/v1alpha1/namespaces/shop/accesspolicies";
    world.change(
        policies,
        "/items/0/spec/rules/0/sql",
        json!({"verbs": ["Read"], "relatoins": ["public.orders"]}),
    );
    let said = explain(&world, &["SELECT id FROM orders", "--pod", "planner-0"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let note = "note: the AccessPolicy `shop/planners` cannot be used until it is mended";
    assert!(said.out.contains(note) && said.out.contains("spec.rules[0].sql.relatoins"), "{}", said.out);
}

#[test]
fn what_cannot_be_read_in_the_cluster_is_said() {
    let said = explain(&explained(), &["SELECT 1", "--pod", "gone"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    let path = "/api/v1/namespaces/shop/pods/gone";
    assert_eq!(said.err, format!("error: the pod `shop/gone` cannot be read: {path} not found\n"));
}

#[test]
fn a_grant_is_applied_as_role_and_binding() {
    let world = World::default();
    let server = world.serve();
    let said = plugin(&["grant", "orders-ro", "--apply"], Some(server.kubeconfig()));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out, "the operator may read Secret `orders-ro` in namespace `shop`\n");
    let written = world.written.lock().unwrap();
    let paths: Vec<&str> = written.iter().map(|(path, _)| path.as_str()).collect();
    let of = |kind: &str| {
        format!(
            "PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/shop/{kind}/chaperone-read-secret-orders-ro"
        )
    };
    assert_eq!(paths, [of("roles"), of("rolebindings")]);
    assert_eq!(written[0].1["rules"][0]["resourceNames"], json!(["orders-ro"]));
}
