//! The Secret that holds the roots; replicas change it by compare-and-swap.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};

use super::{CertsError, authority::Authority};

/// Replicas that start together get in each other's way a few times at most.
const ATTEMPTS: usize = 8;
const CONFLICT: u16 = 409;

#[derive(Debug)]
pub(super) struct Store {
    secrets: Api<Secret>,
    name: String,
}

impl Store {
    pub(super) const fn new(secrets: Api<Secret>, name: String) -> Self {
        Self { secrets, name }
    }

    /// What the Secret holds, made or brought up to date where due. A Secret that somebody deleted is
    /// restored from `held`.
    pub(super) async fn current(
        &self,
        held: Option<&Authority>,
        now: Timestamp,
    ) -> Result<Authority, CertsError> {
        for _ in 0..ATTEMPTS {
            let found = self.secrets.get_opt(&self.name).await.map_err(|error| self.api("read", error))?;
            let (wanted, stored) = match found {
                None => {
                    let wanted = held.map_or_else(|| Authority::generate(now), |held| Ok(held.clone()))?;
                    let stored = self.create(&wanted).await;
                    (wanted, stored)
                }
                Some(secret) => {
                    let authority = self.read(&secret)?;
                    let Some(advanced) = authority.advanced(now)? else { return Ok(authority) };
                    let stored = self.replace(secret, &advanced).await;
                    (advanced, stored)
                }
            };
            match stored {
                Ok(()) => return Ok(wanted),
                Err(kube::Error::Api(status)) if status.code == CONFLICT => {}
                Err(error) => return Err(self.api("written", error)),
            }
        }
        Err(CertsError::Contended { secret: self.name.clone() })
    }

    fn read(&self, secret: &Secret) -> Result<Authority, CertsError> {
        let none = BTreeMap::new();
        Authority::read(secret.data.as_ref().unwrap_or(&none))
            .map_err(|key| CertsError::Unreadable { secret: self.name.clone(), key })
    }

    async fn create(&self, authority: &Authority) -> Result<(), kube::Error> {
        let secret = Secret {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..Default::default() },
            data: Some(authority.write()),
            type_: Some("Opaque".to_owned()),
            ..Default::default()
        };
        self.secrets.create(&PostParams::default(), &secret).await.map(|_created| ())
    }

    /// Only while it is the one that was read.
    async fn replace(&self, mut secret: Secret, authority: &Authority) -> Result<(), kube::Error> {
        secret.data = Some(authority.write());
        let name = secret.name_any();
        self.secrets.replace(&name, &PostParams::default(), &secret).await.map(|_replaced| ())
    }

    fn api(&self, action: &'static str, error: kube::Error) -> CertsError {
        CertsError::Api { secret: self.name.clone(), action, source: Box::new(error) }
    }
}
