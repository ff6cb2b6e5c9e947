//! The roots: the one that signs, the one that will, and those that did.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};

use super::{
    CertsError,
    root::{Root, ends, later},
};

/// This long before a root ends, the next one is made and told to everybody.
const NEXT_IS_KNOWN_DAYS: i64 = 2 * 365;
/// This long before a root ends, the next one signs in its place.
const NEXT_SIGNS_DAYS: i64 = 365;

const SIGNING: (&str, &str) = ("root.crt", "root.key");
const NEXT: (&str, &str) = ("next.crt", "next.key");
const RETIRED: &str = "retired.crt";

/// The roots of an installation. Its `Debug` shows no key.
#[derive(Debug, Clone, PartialEq)]
pub struct Authority {
    signing: Root,
    next: Option<Root>,
    retired: Vec<String>,
}

impl Authority {
    /// A new one, with one root.
    pub fn generate(now: Timestamp) -> Result<Self, CertsError> {
        Ok(Self { signing: Root::generate(now)?, next: None, retired: Vec::new() })
    }

    /// From a Secret's data; the key that cannot be read if one cannot.
    pub fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, &'static str> {
        let next = match data.contains_key(NEXT.0) {
            true => Some(root(data, NEXT)?),
            false => None,
        };
        let retired = match data.get(RETIRED) {
            Some(_) => text(data, RETIRED)?,
            None => String::new(),
        };
        let retired: Vec<String> =
            retired.split_inclusive("-----END CERTIFICATE-----\n").map(str::to_owned).collect();
        match retired.iter().all(|certificate| ends(certificate).is_some()) {
            true => Ok(Self { signing: root(data, SIGNING)?, next, retired }),
            false => Err(RETIRED),
        }
    }

    /// As a Secret's data.
    pub fn write(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::new();
        for ((certificate, key), root) in [(SIGNING, Some(&self.signing)), (NEXT, self.next.as_ref())] {
            let Some(root) = root else { continue };
            data.insert(certificate.to_owned(), ByteString(root.certificate.clone().into_bytes()));
            data.insert(key.to_owned(), ByteString(root.key().expose_secret().as_bytes().to_vec()));
        }
        if !self.retired.is_empty() {
            data.insert(RETIRED.to_owned(), ByteString(self.retired.concat().into_bytes()));
        }
        data
    }

    /// What it becomes as time passes; `None` if nothing is due.
    pub fn advanced(&self, now: Timestamp) -> Result<Option<Self>, CertsError> {
        let mut advanced = self.clone();
        advanced.retired.retain(|certificate| ends(certificate).is_some_and(|ends| ends > now));
        if advanced.next.is_none() && later(now, NEXT_IS_KNOWN_DAYS) > advanced.signing.ends {
            advanced.next = Some(Root::generate(now)?);
        }
        if later(now, NEXT_SIGNS_DAYS) > advanced.signing.ends
            && let Some(next) = advanced.next.take()
        {
            advanced.retired.push(std::mem::replace(&mut advanced.signing, next).certificate);
        }
        Ok((advanced != *self).then_some(advanced))
    }

    /// All that are to be trusted, as PEM.
    pub fn bundle(&self) -> String {
        let next = self.next.iter().map(|next| next.certificate.as_str());
        std::iter::once(self.signing.certificate.as_str())
            .chain(next)
            .chain(self.retired.iter().map(String::as_str))
            .collect()
    }

    /// A serving certificate for these names.
    pub fn issue(&self, names: &[String], now: Timestamp) -> Result<Leaf, CertsError> {
        let (key, due) = self.signing.issue(names, now)?;
        Ok(Leaf { key, due })
    }
}

/// A serving certificate with its key.
#[derive(Clone)]
pub struct Leaf {
    key: Arc<CertifiedKey>,
    due: Timestamp,
}

impl Leaf {
    /// As the TLS library takes it.
    pub fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    /// Whether it is to be replaced.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.due
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Leaf").field("due", &self.due).finish_non_exhaustive()
    }
}

fn root(
    data: &BTreeMap<String, ByteString>,
    (certificate, key): (&'static str, &'static str),
) -> Result<Root, &'static str> {
    Root::read(text(data, certificate)?, SecretString::from(text(data, key)?)).ok_or(certificate)
}

fn text(data: &BTreeMap<String, ByteString>, key: &'static str) -> Result<String, &'static str> {
    let bytes = data.get(key).ok_or(key)?;
    String::from_utf8(bytes.0.clone()).map_err(|_not_text| key)
}
