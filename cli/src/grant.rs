//! `grant`: the right to read one Secret, for the operator and nobody else.

use std::process::ExitCode;

use anyhow::Context;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::{
    Api,
    api::{ObjectMeta, Patch, PatchParams},
};

use crate::{
    args::{ClusterArguments, GrantArguments, GrantKind},
    cluster::Cluster,
    output::line,
};

/// The operator's service account, as the chart names it.
const OPERATOR: &str = "chaperone-operator";
const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) async fn run(cluster: &ClusterArguments, arguments: GrantArguments) -> anyhow::Result<ExitCode> {
    if !arguments.apply && cluster.namespace.is_some() {
        let namespace = cluster.namespace.as_deref().unwrap_or_default();
        let (role, binding) = grant(namespace, &cluster.operator_namespace, &arguments);
        for object in [serde_json::to_value(role)?, serde_json::to_value(binding)?] {
            line("---")?;
            line(&serde_saphyr::to_string(&object)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let connected = Cluster::connect(cluster).await?;
    let (role, binding) = grant(&connected.namespace, &connected.operator_namespace, &arguments);
    if !arguments.apply {
        for object in [serde_json::to_value(role)?, serde_json::to_value(binding)?] {
            line("---")?;
            line(&serde_saphyr::to_string(&object)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let name = role.metadata.name.clone().unwrap_or_default();
    let apply = PatchParams::apply("kubectl-chaperone");
    let namespace = &connected.namespace;
    let roles: Api<Role> = Api::namespaced(connected.client.clone(), namespace);
    roles.patch(&name, &apply, &Patch::Apply(role)).await.context("applying the Role")?;
    let bindings: Api<RoleBinding> = Api::namespaced(connected.client.clone(), namespace);
    bindings.patch(&name, &apply, &Patch::Apply(binding)).await.context("applying the RoleBinding")?;
    line(&format!(
        "the operator may read {} `{}` in namespace `{namespace}`",
        kind(&arguments),
        arguments.secret
    ))?;
    Ok(ExitCode::SUCCESS)
}

const fn kind(arguments: &GrantArguments) -> &'static str {
    match arguments.kind {
        GrantKind::Secret => "secrets",
        GrantKind::ConfigMap => "configmaps",
    }
}

const fn singular(arguments: &GrantArguments) -> &'static str {
    match arguments.kind {
        GrantKind::Secret => "secret",
        GrantKind::ConfigMap => "configmap",
    }
}

fn grant(namespace: &str, operator: &str, arguments: &GrantArguments) -> (Role, RoleBinding) {
    let metadata = ObjectMeta {
        // The kind is in the name: a Secret and a ConfigMap may be called the same.
        name: Some(format!("chaperone-read-{}-{}", singular(arguments), arguments.secret)),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![kind(arguments).to_owned()]),
        resource_names: Some(vec![arguments.secret.clone()]),
        verbs: ["get", "list", "watch"].map(str::to_owned).to_vec(),
        ..PolicyRule::default()
    };
    let role = Role { metadata: metadata.clone(), rules: Some(vec![rule]) };
    let role_ref = RoleRef {
        api_group: GROUP.to_owned(),
        kind: "Role".to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
    };
    let subject = Subject {
        kind: "ServiceAccount".to_owned(),
        name: OPERATOR.to_owned(),
        namespace: Some(operator.to_owned()),
        ..Subject::default()
    };
    (role, RoleBinding { metadata, role_ref, subjects: Some(vec![subject]) })
}
