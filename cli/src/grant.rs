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
    cluster::{self, Cluster},
    output::line,
};

/// The operator's service account, as the chart names it.
const OPERATOR: &str = "chaperone-operator";
const GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) async fn run(arguments: &ClusterArguments, grant: &GrantArguments) -> anyhow::Result<ExitCode> {
    let namespace = cluster::namespace(arguments).await?;
    let (role, binding) = objects(&namespace, &arguments.operator_namespace, grant);
    if grant.apply {
        apply(arguments, &namespace, role, binding).await?;
        let (kind, name) = (grant.kind.name(), &grant.name);
        line(&format!("the operator may read {kind} `{name}` in namespace `{namespace}`"))?;
    } else {
        for object in [serde_json::to_value(role)?, serde_json::to_value(binding)?] {
            line("---")?;
            line(serde_saphyr::to_string(&object)?.trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn apply(
    arguments: &ClusterArguments,
    namespace: &str,
    role: Role,
    binding: RoleBinding,
) -> anyhow::Result<()> {
    let client = Cluster::connect(arguments).await?.client;
    let name = role.metadata.name.clone().unwrap_or_default();
    let params = PatchParams::apply("kubectl-chaperone");
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    roles.patch(&name, &params, &Patch::Apply(role)).await.context("applying the Role")?;
    let bindings: Api<RoleBinding> = Api::namespaced(client, namespace);
    bindings.patch(&name, &params, &Patch::Apply(binding)).await.context("applying the RoleBinding")?;
    Ok(())
}

impl GrantKind {
    /// As people write it.
    const fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// As RBAC names it.
    const fn resource(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }
}

fn objects(namespace: &str, operator: &str, grant: &GrantArguments) -> (Role, RoleBinding) {
    let GrantArguments { name, kind, apply: _ } = grant;
    let metadata = ObjectMeta {
        // The kind is in the name: a Secret and a ConfigMap may be called the same.
        name: Some(format!("chaperone-read-{}-{name}", kind.name().to_ascii_lowercase())),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![kind.resource().to_owned()]),
        resource_names: Some(vec![name.clone()]),
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
