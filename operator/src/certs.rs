//! The operator's own certificates.
//!
//! One Secret in the operator's namespace holds the roots; replicas agree on it by
//! compare-and-swap. Each replica issues its own short-lived leaf from them, in memory, and renews it
//! while it serves. A root is followed by the next one a year before it signs, so that sidecars know
//! it in time, and stays trusted until it expires.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use authority::{Authority, Leaf};

pub mod authority;
pub mod bundle;
mod root;
mod store;

/// How often a replica looks whether the Secret or its own leaf is due.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How many may ask at once for a look at the Secret.
const ASKING: usize = 64;

/// What went wrong with a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// Making or signing failed.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// The TLS library does not take it.
    #[error("a certificate cannot be used")]
    Use(#[from] rustls::Error),
    /// The Secret holds something else.
    #[error(
        "the secret `{secret}` has no readable `{key}`; restore it, or delete the secret and create all injected pods again"
    )]
    Unreadable {
        /// Its name.
        secret: String,
        /// The key in its data.
        key: &'static str,
    },
    /// The API server did not answer as needed.
    #[error("the secret `{secret}` cannot be {action}")]
    Api {
        /// Its name.
        secret: String,
        /// What was tried.
        action: &'static str,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// Other replicas changed it each time.
    #[error("the secret `{secret}` changed at each attempt")]
    Contended {
        /// Its name.
        secret: String,
    },
}

/// Where the roots are and for whom certificates are made.
#[derive(Debug, Clone)]
pub struct Place {
    /// The operator's namespace.
    pub namespace: String,
    /// The Secret with the roots.
    pub secret: String,
    /// DNS names (and addresses) under which the operator is reached.
    pub names: Vec<String>,
}

/// The certificates in use; cheap to clone.
#[derive(Debug, Clone)]
pub struct Certs {
    leaf: watch::Receiver<Leaf>,
    roots: watch::Receiver<Arc<str>>,
    look: mpsc::Sender<oneshot::Sender<()>>,
}

/// Keeps [`Certs`] fresh.
#[derive(Debug)]
pub struct Keeper {
    store: store::Store,
    names: Vec<String>,
    authority: Authority,
    leaf: watch::Sender<Leaf>,
    roots: watch::Sender<Arc<str>>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Certs {
    /// Reads the roots, or makes them, and issues a leaf.
    pub async fn open(client: &Client, place: Place) -> Result<(Self, Keeper), CertsError> {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &place.namespace);
        let store = store::Store::new(secrets, place.secret);
        let authority = store.current(None, Timestamp::now()).await?;
        let leaf = watch::Sender::new(authority.issue(&place.names, Timestamp::now())?);
        let roots = watch::Sender::new(authority.bundle().into());
        let (look, asked) = mpsc::channel(ASKING);
        let certs = Self { leaf: leaf.subscribe(), roots: roots.subscribe(), look };
        Ok((certs, Keeper { store, names: place.names, authority, leaf, roots, asked }))
    }

    /// The roots of now, as PEM.
    #[must_use]
    pub fn bundle(&self) -> Arc<str> {
        Arc::clone(&self.roots.borrow())
    }

    /// When the root that signs ends.
    #[must_use]
    pub fn signing_ends(&self) -> Option<Timestamp> {
        // It is the first one.
        root::ends(&self.bundle())
    }

    /// Has the Secret looked at now, since another replica may have changed it. Returns when that is done, or
    /// cannot be.
    pub async fn refresh(&self) {
        let (done, looked) = oneshot::channel();
        // Who is not answered goes on with what there is.
        if self.look.send(done).await.is_ok() {
            drop(looked.await);
        }
    }

    /// The roots by which others know the operator, as PEM; it changes when they are rotated.
    pub fn roots(&self) -> watch::Receiver<Arc<str>> {
        self.roots.clone()
    }

    /// Answers with the newest leaf.
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Resolver { leaf: self.leaf.clone() })
    }

    /// TLS of the given versions for these application protocols, such as `h2`.
    pub fn server_config(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Result<Arc<ServerConfig>, CertsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(self.resolver());
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

impl Keeper {
    /// Renews until it is dropped. What fails is tried again; the old certificates stay meanwhile.
    pub async fn run(mut self) {
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                Some(done) = self.asked.recv() => waiting.push(done),
            }
            // One look answers everybody who waits.
            waiting.extend(std::iter::from_fn(|| self.asked.try_recv().ok()));
            if let Err(error) = self.renew(Timestamp::now()).await {
                warn!(error = &error as &dyn std::error::Error, "certificates not renewed");
            }
            for done in waiting {
                // It may have given up.
                done.send(()).ok();
            }
        }
    }

    async fn renew(&mut self, now: Timestamp) -> Result<(), CertsError> {
        let authority = self.store.current(Some(&self.authority), now).await?;
        let changed = authority != self.authority;
        if changed || self.leaf.borrow().is_due(now) {
            self.leaf.send_replace(authority.issue(&self.names, now)?);
            info!(roots.changed = changed, "serving certificate renewed");
        }
        if changed {
            self.roots.send_replace(authority.bundle().into());
            self.authority = authority;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Resolver {
    leaf: watch::Receiver<Leaf>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.leaf.borrow().key())
    }
}

#[cfg(test)]
mod tests;
