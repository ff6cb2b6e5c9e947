//! Resources from YAML files: what standalone mode, `check` and the plugin read. The files' texts come in; nothing
//! is opened here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use api::{
    AccessPolicySpec, ConnectionSpec, FieldError, decode_spec,
    v1alpha1::{CaBundle, KeyRef},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    document::{ConnectionInput, PolicyInput},
    validate,
};

/// What is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FileError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The resource and the field, as `AccessPolicy shop/orders: spec.rules[0].verdict`.
    pub place: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, place, message } = self;
        write!(f, "{file}:{line}: {place}: {message}")
    }
}

/// The resources of some files, all of them sensible.
#[derive(Debug, Default)]
pub struct Files {
    connections: BTreeMap<String, (ConnectionSpec, BTreeMap<String, String>)>,
    policies: BTreeMap<String, AccessPolicySpec>,
    secrets: BTreeMap<String, BTreeMap<String, Zeroizing<Vec<u8>>>>,
    config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// The CA bundle of each Connection that names one.
    ca_bundles: BTreeMap<String, String>,
    raw: Value,
}

/// A username and a password.
pub struct Login {
    /// The username.
    pub username: String,
    /// The password.
    pub password: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Typed<T> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    #[serde(rename = "metadata")]
    _metadata: IgnoredAny,
    #[serde(rename = "spec")]
    _spec: T,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    string_data: BTreeMap<String, String>,
}

/// One YAML document of a file.
struct Part<'a> {
    file: &'a str,
    /// The line that it begins on, from 1.
    line: u64,
    text: &'a str,
}

/// Reads files, given as (name, text). Resources without a namespace belong to `namespace`.
///
/// # Errors
/// Everything that is wrong in any of them, not only the first.
pub fn read(files: &[(String, String)], namespace: &str) -> Result<Files, Vec<FileError>> {
    let (mut found, places) = gather(files, namespace)?;
    let mut errors = found.resolve_credentials(&places);
    errors.extend(found.resolve_policies(&places));
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// As [`read`], for those who decide but never log in: the Secrets and ConfigMaps that Connections name may be
/// missing.
///
/// # Errors
/// As [`read`].
pub fn read_rules(files: &[(String, String)], namespace: &str) -> Result<Files, Vec<FileError>> {
    let (found, places) = gather(files, namespace)?;
    let errors = found.resolve_policies(&places);
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Files and lines of resources, by kind and name.
type Places = BTreeMap<String, (String, u64)>;

/// Every resource by itself, and where it stands.
fn gather(files: &[(String, String)], namespace: &str) -> Result<(Files, Places), Vec<FileError>> {
    let mut found = Files { raw: Value::Null, ..Files::default() };
    let mut errors = Vec::new();
    let mut places = Places::new();
    for (file, text) in files {
        for part in parts(file, text) {
            match found.add(&part, namespace) {
                Ok(Some(place)) => {
                    places.insert(place, (file.clone(), part.line));
                }
                Ok(None) => {}
                Err(found) => errors.extend(found),
            }
        }
    }
    if errors.is_empty() { Ok((found, places)) } else { Err(errors) }
}

/// Cuts a file at its `---` lines.
fn parts<'a>(file: &'a str, text: &'a str) -> Vec<Part<'a>> {
    let mut found = Vec::new();
    let (mut start, mut line, mut offset) = (0, 1, 0);
    for (index, content) in (1_u64..).zip(text.split_inclusive('\n')) {
        if content.trim_end() == "---" || content.starts_with("--- ") {
            found.push(Part { file, line, text: text.get(start..offset).unwrap_or_default() });
            start = offset + content.len();
            line = index + 1;
        }
        offset += content.len();
    }
    found.push(Part { file, line, text: text.get(start..).unwrap_or_default() });
    let blank = |text: &str| text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'));
    found.retain(|part| !blank(part.text));
    found
}

impl Part<'_> {
    fn error(&self, place: &str, message: impl Into<String>) -> FileError {
        FileError {
            file: self.file.to_owned(),
            line: self.line,
            place: place.to_owned(),
            message: message.into(),
        }
    }

    fn parse<T: DeserializeOwned>(&self, place: &str) -> Result<T, FileError> {
        serde_saphyr::from_str(self.text).map_err(|error| {
            let mut failed = self.error(place, error.without_snippet().to_string());
            failed.line = self.line_of(&error);
            failed
        })
    }

    fn line_of(&self, error: &serde_saphyr::Error) -> u64 {
        error.location().map_or(self.line, |location| self.line + location.line().saturating_sub(1))
    }

    /// The spec, strictly: the field's path from one decoding, its line from another.
    fn spec<T: DeserializeOwned>(&self, place: &str) -> Result<T, Vec<FileError>> {
        let value: Value = self.parse(place).map_err(|error| vec![error])?;
        let Some(spec) = value.get("spec") else {
            return Err(vec![self.error(place, "has no `spec`")]);
        };
        let unknown = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let known = ["apiVersion", "kind", "metadata", "spec", "status"];
        if let Some(key) = unknown.into_iter().find(|key| !known.contains(key)) {
            return Err(vec![self.error(
                &format!("{place}: {key}"),
                "is an unknown field; resources have `metadata` and `spec`",
            )]);
        }
        decode_spec(spec).map_err(|error: FieldError| {
            let mut failed = self.error(&format!("{place}: {}", error.path), error.message);
            let typed: Result<Typed<T>, _> = serde_saphyr::from_str(self.text);
            failed.line = typed.err().map_or(self.line, |error| self.line_of(&error));
            vec![failed]
        })
    }
}

impl Files {
    /// Adds one resource; its place is returned when it is one whose references are checked later.
    fn add(&mut self, part: &Part<'_>, namespace: &str) -> Result<Option<String>, Vec<FileError>> {
        let Header { api_version, kind, metadata } = part.parse("resource").map_err(|error| vec![error])?;
        let place = format!("{kind} {}", metadata.name);
        if metadata.name.is_empty() {
            return Err(vec![part.error(&place, "has no `metadata.name`")]);
        }
        let key = format!("{}/{}", metadata.namespace.as_deref().unwrap_or(namespace), metadata.name);
        let twice = match (api_version.as_str(), kind.as_str()) {
            ("chaperone.dev/v1alpha1", "Connection") => {
                let spec: ConnectionSpec = part.spec(&place)?;
                sensible(part, &place, validate::connection(&spec))?;
                let twice = self.connections.insert(key.clone(), (spec, metadata.labels)).is_some();
                if !twice {
                    return Ok(Some(format!("Connection {key}")));
                }
                twice
            }
            ("chaperone.dev/v1alpha1", "AccessPolicy") => {
                let spec: AccessPolicySpec = part.spec(&place)?;
                sensible(part, &place, validate::policy(&spec))?;
                let twice = self.policies.insert(key.clone(), spec).is_some();
                if !twice {
                    return Ok(Some(format!("AccessPolicy {key}")));
                }
                twice
            }
            ("v1", "Secret") => self.secrets.insert(key.clone(), secret(part, &place)?).is_some(),
            ("v1", "ConfigMap") => {
                let Data { data, .. } = part.parse(&place).map_err(|error| vec![error])?;
                self.config_maps.insert(key.clone(), data).is_some()
            }
            _ => {
                let message = format!(
                    "`{kind}` of `{api_version}` is not read here; write Connection or AccessPolicy of \
                     `chaperone.dev/v1alpha1`, or Secret or ConfigMap of `v1`"
                );
                return Err(vec![part.error(&place, message)]);
            }
        };
        if twice { Err(vec![part.error(&place, format!("`{key}` is there twice"))]) } else { Ok(None) }
    }

    /// Looks up the credentials and CA bundles that Connections name.
    fn resolve_credentials(&mut self, places: &Places) -> Vec<FileError> {
        let mut errors = Vec::new();
        let mut bundles = BTreeMap::new();
        for (key, (spec, _)) in &self.connections {
            let mut complain =
                |field, message| errors.push(misses(places, ("Connection", key), field, message));
            if let Err(message) = self.login(key) {
                complain("spec.credential.secretRef", message);
            }
            let bundle = spec.upstream.tls.as_ref().and_then(|tls| tls.ca_bundle.as_ref());
            match bundle.map(|bundle| self.ca_bundle(key, bundle)) {
                Some(Ok(pem)) => drop(bundles.insert(key.clone(), pem)),
                Some(Err(message)) => complain("spec.upstream.tls.caBundle", message),
                None => {}
            }
        }
        self.ca_bundles = bundles;
        errors
    }

    /// Checks that the Connections that policies name are there.
    fn resolve_policies(&self, places: &Places) -> Vec<FileError> {
        let mut errors = Vec::new();
        for (key, spec) in &self.policies {
            let namespace = crate::select::split(key).0;
            for name in spec.connections.names.iter().flatten() {
                let wanted = format!("{namespace}/{name}");
                if !self.connections.contains_key(&wanted) {
                    let message = format!("there is no Connection `{wanted}`");
                    errors.push(misses(places, ("AccessPolicy", key), "spec.connections.names", message));
                }
            }
        }
        errors
    }

    fn ca_bundle(&self, key: &str, bundle: &CaBundle) -> Result<String, String> {
        let namespace = crate::select::split(key).0;
        let at = |reference: &KeyRef| (format!("{namespace}/{}", reference.name), reference.key.clone());
        if let Some(reference) = &bundle.config_map_ref {
            let (name, key) = at(reference);
            let text = self.config_maps.get(&name).and_then(|data| data.get(&key)).cloned();
            return text.ok_or_else(|| format!("there is no key `{key}` in a ConfigMap `{name}`"));
        }
        let (name, key) = bundle.secret_ref.as_ref().map(at).unwrap_or_default();
        let bytes = self.secrets.get(&name).and_then(|data| data.get(&key));
        let bytes = bytes.ok_or_else(|| format!("there is no key `{key}` in a Secret `{name}`"))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| format!("key `{key}` of Secret `{name}` is no text"))
    }

    /// The credential of a Connection; none when it needs none.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn login(&self, connection: &str) -> Result<Option<Login>, String> {
        let (spec, _) = self
            .connections
            .get(connection)
            .ok_or_else(|| format!("there is no Connection `{connection}`"))?;
        let Some(reference) = &spec.credential.secret_ref else { return Ok(None) };
        let name = format!("{}/{}", crate::select::split(connection).0, reference.name);
        let data = self.secrets.get(&name).ok_or_else(|| format!("there is no Secret `{name}`"))?;
        let value = |key: &str| data.get(key).ok_or_else(|| format!("Secret `{name}` has no key `{key}`"));
        let username = String::from_utf8(value(&reference.username_key)?.to_vec())
            .map_err(|_| format!("key `{}` of Secret `{name}` is no text", reference.username_key))?;
        Ok(Some(Login { username, password: value(&reference.password_key)?.clone() }))
    }

    /// The names of all Connections.
    pub fn connections(&self) -> impl Iterator<Item = &str> {
        self.connections.keys().map(String::as_str)
    }

    /// Everything as the inputs of documents. There are no virtual addresses without an operator.
    #[must_use]
    pub fn inputs(&self) -> (Vec<ConnectionInput<'_>>, Vec<PolicyInput<'_>>) {
        let connections = self.connections.iter().map(|(key, (spec, labels))| ConnectionInput {
            key,
            spec: Ok(spec),
            labels,
            address: None,
            ca_bundle: self.ca_bundles.get(key).map(String::as_str),
            problem: None,
        });
        let policies = self.policies.iter().map(|(key, spec)| PolicyInput {
            key,
            generation: 1,
            spec: Ok(spec),
            raw: &self.raw,
        });
        (connections.collect(), policies.collect())
    }

    /// The namespaces that resources are in.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<&str> {
        self.connections.keys().map(|key| crate::select::split(key).0).collect()
    }
}

/// A resource names what is not there.
fn misses(places: &Places, (kind, key): (&str, &str), field: &str, message: String) -> FileError {
    let place = format!("{kind} {key}");
    let (file, line) = places.get(&place).cloned().unwrap_or_default();
    FileError { file, line, place: format!("{place}: {field}"), message }
}

fn sensible(part: &Part<'_>, place: &str, errors: Vec<FieldError>) -> Result<(), Vec<FileError>> {
    let errors: Vec<FileError> =
        errors.into_iter().map(|e| part.error(&format!("{place}: {}", e.path), e.message)).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn secret(part: &Part<'_>, place: &str) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, Vec<FileError>> {
    let Data { data, string_data } = part.parse(place).map_err(|error| vec![error])?;
    let mut found = BTreeMap::new();
    for (key, text) in data {
        let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| {
            let message = "is not base64; write plain text under `stringData`";
            vec![part.error(&format!("{place}: data.{key}"), message)]
        })?;
        found.insert(key, Zeroizing::new(bytes));
    }
    found.extend(string_data.into_iter().map(|(key, text)| (key, Zeroizing::new(text.into_bytes()))));
    Ok(found)
}
