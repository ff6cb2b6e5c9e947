//! What Connections refer to, looked up: credentials, roots, addresses. No client.

use std::{collections::BTreeMap, net::Ipv4Addr};

use api::{
    ConnectionSpec,
    condition::{RESOLVED_REFS, Say},
    v1alpha1::SecretCredential,
};

use super::{Operator, fetch, fetch::World};
use crate::{
    addresses::Addresses,
    leases::Lease,
    references::{Kind, Known, Reference, References},
};

/// A Connection with everything that it refers to.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) address: Option<Ipv4Addr>,
    pub(super) ca_bundle: Option<String>,
    pub(super) lease: Lease,
    /// What the condition ResolvedRefs says; none while it is not known yet.
    pub(super) references: Option<Say>,
}

/// Looks up what every Connection refers to, by `namespace/name`.
pub(super) fn all(
    world: &World,
    references: &References,
    addresses: &Addresses,
    operator: &Operator,
) -> BTreeMap<String, Resolved> {
    let resolved = world.connections.iter().map(|connection| {
        let resolved = match &connection.spec {
            Ok(spec) => resolve_one(connection, spec, references, addresses, operator),
            Err(error) => Resolved {
                address: None,
                ca_bundle: None,
                lease: Lease::Unavailable(error.to_string()),
                references: Some(no("Invalid", "the spec cannot be read".to_owned())),
            },
        };
        (connection.key(), resolved)
    });
    resolved.collect()
}

fn resolve_one(
    connection: &fetch::Connection,
    spec: &ConnectionSpec,
    references: &References,
    addresses: &Addresses,
    operator: &Operator,
) -> Resolved {
    let host = spec.upstream.host.trim_end_matches('.').to_ascii_lowercase();
    let address = addresses.of(&host);
    let credential = fetch::secret(connection, spec)
        .map(|(reference, keys)| credential(&reference, keys, &references.known(&reference), operator));
    let bundle = fetch::ca_bundle(connection, spec)
        .map(|(reference, key)| ca_bundle(&reference, &key, &references.known(&reference), operator));
    // Without its roots an upstream cannot be verified, so nobody logs in.
    match (credential.transpose(), bundle.transpose()) {
        (Ok(lease), Ok(ca_bundle)) => Resolved {
            address,
            ca_bundle,
            lease: lease.unwrap_or_else(|| Lease::Unavailable("the Connection logs nobody in".to_owned())),
            references: Some(Say::yes(RESOLVED_REFS, "Resolved", "everything it names was found")),
        },
        (Err(Missing::Pending), _) | (_, Err(Missing::Pending)) => {
            Resolved { address, ca_bundle: None, lease: Lease::Pending, references: None }
        }
        (Err(Missing::Known(say)), _) | (_, Err(Missing::Known(say))) => {
            let lease = Lease::Unavailable(say.message.clone());
            Resolved { address, ca_bundle: None, lease, references: Some(say) }
        }
    }
}

/// Why something that is named is not there.
enum Missing {
    /// It has not been looked at yet.
    Pending,
    /// This is why.
    Known(Say),
}

impl From<Say> for Missing {
    fn from(say: Say) -> Self {
        Self::Known(say)
    }
}

fn no(reason: &'static str, message: String) -> Say {
    Say::no(RESOLVED_REFS, reason, message)
}

/// The Role that must be applied, in one line.
fn grant(reference: &Reference, operator: &Operator) -> String {
    let Reference { kind, namespace, name } = reference;
    let flag = match kind {
        Kind::Secret => "",
        Kind::ConfigMap => " --kind config-map",
    };
    format!(
        "the operator may not read {} `{name}` in namespace `{namespace}`; apply the Role that \
         `kubectl chaperone grant {name} -n {namespace}{flag}` prints (verbs get, list, watch on resourceNames \
         [\"{name}\"], bound to service account `chaperone-operator` of namespace `{}`)",
        kind.name(),
        operator.namespace
    )
}

/// The data of something that is there.
fn data<'a>(
    reference: &Reference,
    known: &'a Known,
    (missing, forbidden): (&'static str, &'static str),
    operator: &Operator,
) -> Result<&'a BTreeMap<String, zeroize::Zeroizing<Vec<u8>>>, Missing> {
    let Reference { kind, namespace, name } = reference;
    match known {
        Known::Pending => Err(Missing::Pending),
        Known::Missing => {
            Err(no(missing, format!("there is no {} `{name}` in namespace `{namespace}`", kind.name()))
                .into())
        }
        Known::Forbidden => Err(no(forbidden, grant(reference, operator)).into()),
        Known::Present(data) => Ok(data),
    }
}

fn credential(
    reference: &Reference,
    keys: &SecretCredential,
    known: &Known,
    operator: &Operator,
) -> Result<Lease, Missing> {
    let name = &reference.name;
    let data = data(reference, known, ("SecretNotFound", "SecretForbidden"), operator)?;
    let value = |key: &String| {
        data.get(key).ok_or_else(|| no("SecretKeyMissing", format!("Secret `{name}` has no key `{key}`")))
    };
    let (username, password) = (value(&keys.username_key)?, value(&keys.password_key)?);
    let version = compile::digest(&[username.as_slice(), b"\0", password].concat());
    let username = String::from_utf8(username.to_vec()).map_err(|_| {
        no("SecretKeyMissing", format!("key `{}` of Secret `{name}` is no text", keys.username_key))
    })?;
    Ok(Lease::Credential { version: hex::encode(version), username, password: password.clone() })
}

fn ca_bundle(
    reference: &Reference,
    key: &str,
    known: &Known,
    operator: &Operator,
) -> Result<String, Missing> {
    let (kind, name) = (reference.kind.name(), &reference.name);
    let data = data(reference, known, ("CaBundleNotFound", "CaBundleForbidden"), operator)?;
    let pem =
        data.get(key).ok_or_else(|| no("CaBundleNotFound", format!("{kind} `{name}` has no key `{key}`")))?;
    let text =
        String::from_utf8(pem.to_vec()).ok().filter(|text| text.contains("-----BEGIN CERTIFICATE-----"));
    let invalid =
        || no("CaBundleInvalid", format!("key `{key}` of {kind} `{name}` holds no PEM certificate"));
    Ok(text.ok_or_else(invalid)?)
}
