//! What makes a spec senseless, beyond what its schema can say. Every error is found, not only the first.

use std::{collections::BTreeSet, net::IpAddr};

use api::{
    AccessPolicySpec, ConnectionSpec, FieldError,
    v1alpha1::{
        CaBundle, Credential, LabelSelector, Postgres, Protocol, SecretCredential, TlsMode, Upstream,
        UpstreamTls,
    },
};

use crate::rules;

/// Errors of a Connection's spec.
#[must_use]
pub fn connection(spec: &ConnectionSpec) -> Vec<FieldError> {
    let ConnectionSpec { protocol, upstream, postgres, credential, agent, allowed_namespaces } = spec;
    let mut errors = Vec::new();
    upstream_errors(upstream, &mut errors);
    credential_errors(credential, &mut errors);
    match protocol {
        Protocol::Postgres => postgres_errors(postgres.as_ref(), credential, &mut errors),
        Protocol::Opaque => opaque_errors(spec, &mut errors),
    }
    let mut complain = |path: &str, message: &str| errors.push(FieldError::new(path, message));
    if agent.as_ref().is_some_and(|agent| agent.port == Some(0)) {
        complain("spec.agent.port", "must be between 1 and 65535, or be left out");
    }
    if allowed_namespaces.as_ref().is_some_and(|allowed| allowed.names.iter().any(|name| name == "*")) {
        complain("spec.allowedNamespaces.names", "`*` is not possible; name each namespace");
    }
    errors
}

fn upstream_errors(upstream: &Upstream, errors: &mut Vec<FieldError>) {
    let mut complain = |path: &str, message: &str| errors.push(FieldError::new(path, message));
    if !is_host(&upstream.host) {
        complain(
            "spec.upstream.host",
            "must be a fully qualified name such as `orders.prod.svc.cluster.local`, or an IP address",
        );
    }
    if upstream.port == 0 {
        complain("spec.upstream.port", "must be between 1 and 65535");
    }
    let Some(UpstreamTls { mode, ca_bundle: Some(CaBundle { config_map_ref, secret_ref }) }) = &upstream.tls
    else {
        return;
    };
    if config_map_ref.is_some() == secret_ref.is_some() {
        complain("spec.upstream.tls.caBundle", "set exactly one of `configMapRef` and `secretRef`");
    }
    if matches!(mode, TlsMode::Disable | TlsMode::Require) {
        complain(
            "spec.upstream.tls.caBundle",
            "is used only with `mode: VerifyCA` or `VerifyFull`; leave it out or change the mode",
        );
    }
}

fn credential_errors(credential: &Credential, errors: &mut Vec<FieldError>) {
    let Credential { secret_ref, none } = credential;
    let mut complain = |path: &str, message: &str| errors.push(FieldError::new(path, message));
    if secret_ref.is_some() == none.is_some() {
        complain("spec.credential", "set exactly one of `secretRef: {name: SECRET}` and `none: {}`");
    }
    let empty = |secret: &SecretCredential| {
        [&secret.name, &secret.username_key, &secret.password_key].into_iter().any(String::is_empty)
    };
    if secret_ref.as_ref().is_some_and(empty) {
        complain("spec.credential.secretRef", "has an empty `name`, `usernameKey` or `passwordKey`");
    }
}

fn postgres_errors(postgres: Option<&Postgres>, credential: &Credential, errors: &mut Vec<FieldError>) {
    match postgres {
        None => {
            errors.push(FieldError::new("spec.postgres", "is missing; write `postgres: {database: NAME}`"))
        }
        Some(postgres) => {
            if postgres.database.is_empty() || postgres.extra_databases.iter().any(String::is_empty) {
                errors.push(FieldError::new("spec.postgres", "has an empty database name"));
            }
        }
    }
    if credential.none.is_some() {
        errors.push(FieldError::new(
            "spec.credential.none",
            "is not possible with protocol Postgres; write `secretRef: {name: SECRET}`",
        ));
    }
}

/// What is opaque is passed as it is: there is nothing to log in with and nothing to encrypt.
fn opaque_errors(spec: &ConnectionSpec, errors: &mut Vec<FieldError>) {
    let mut complain = |path: &str, message: &str| errors.push(FieldError::new(path, message));
    if spec.postgres.is_some() {
        complain("spec.postgres", "is not possible with protocol Opaque; leave it out");
    }
    if spec.credential.secret_ref.is_some() {
        complain(
            "spec.credential.secretRef",
            "is not possible with protocol Opaque, which logs nobody in; write `none: {}`",
        );
    }
    if spec.upstream.tls.is_some() {
        complain(
            "spec.upstream.tls",
            "is not possible with protocol Opaque, which passes bytes as they are; leave it out, agents speak TLS themselves",
        );
    }
}

/// An IP address, or a DNS name with at least one dot, or `localhost`.
fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let qualified = name.contains('.') || name == "localhost";
    host.parse::<IpAddr>().is_ok() || (qualified && name.len() <= 253 && name.split('.').all(label))
}

/// Errors of an AccessPolicy's spec.
#[must_use]
pub fn policy(spec: &AccessPolicySpec) -> Vec<FieldError> {
    let AccessPolicySpec { subjects, connections, baseline: _, rules, recording: _ } = spec;
    let mut errors = Vec::new();
    if subjects.is_empty() {
        errors.push(FieldError::new(
            "spec.subjects",
            "is empty; name at least one, for example `serviceAccounts: [planner]`",
        ));
    }
    for (index, subject) in subjects.iter().enumerate() {
        let path = format!("spec.subjects[{index}]");
        if subject.service_accounts.is_empty() {
            errors.push(FieldError::new(
                format!("{path}.serviceAccounts"),
                "is empty; `[\"*\"]` means all, and must be said",
            ));
        }
        if subject.namespaces.as_ref().is_some_and(|names| names.is_empty() || names.iter().any(|n| n == "*"))
        {
            errors.push(FieldError::new(
                format!("{path}.namespaces"),
                "name each namespace, or leave the list out for this one",
            ));
        }
        errors
            .extend(subject.pod_selector.as_ref().and_then(|s| selector(s, &format!("{path}.podSelector"))));
    }
    if connections.names.is_some() == connections.selector.is_some() {
        errors.push(FieldError::new(
            "spec.connections",
            "set exactly one of `names` and `selector`; an empty selector means all",
        ));
    }
    if connections
        .names
        .as_ref()
        .is_some_and(|names| names.is_empty() || names.iter().any(|n| n.contains('/')))
    {
        errors.push(FieldError::new(
            "spec.connections.names",
            "are names of Connections of this namespace, without a slash",
        ));
    }
    if rules.is_empty() {
        errors.push(FieldError::new("spec.rules", "is empty; without a rule a policy says nothing"));
    }
    let mut names = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        if !names.insert(&rule.name) {
            errors.push(FieldError::new(
                format!("{path}.name"),
                format!("`{}` is the name of two rules", rule.name),
            ));
        }
        errors.extend(rules::compile(rule, &path).err().unwrap_or_default());
    }
    errors
}

fn selector(selector: &LabelSelector, path: &str) -> Option<FieldError> {
    let empty = selector.match_labels.is_empty();
    empty.then(|| {
        FieldError::new(format!("{path}.matchLabels"), "is empty; leave `podSelector` out to mean all pods")
    })
}
