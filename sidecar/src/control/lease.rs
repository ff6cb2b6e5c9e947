//! Leases: one stream per Connection of the document in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use channel::v1::{LeaseRequest, lease_response};
use secrecy::SecretSlice;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::{Link, LinkError, Pause};
use crate::{
    credentials::{Credentials, Lease},
    policy::Documents,
};

/// Starts and ends streams as Connections come and go.
pub(super) async fn follow(link: Link, documents: Documents, credentials: Credentials) {
    let mut changed = documents.changed();
    let mut streams: BTreeMap<String, JoinHandle<()>> = BTreeMap::new();
    loop {
        let wanted: BTreeSet<String> = documents.current().map_or_else(BTreeSet::new, |current| {
            let leased = current.document.connections.iter().filter(|connection| connection.has_credential());
            leased.map(|connection| connection.name.clone()).collect()
        });
        streams.retain(|name, stream| {
            let keep = wanted.contains(name);
            if !keep {
                stream.abort();
            }
            keep
        });
        credentials.retain(&wanted);
        for name in wanted {
            let stream = || tokio::spawn(follow_one(link.clone(), name.clone(), credentials.clone()));
            streams.entry(name.clone()).or_insert_with(stream);
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

async fn follow_one(link: Link, connection: String, credentials: Credentials) {
    let mut pause = Pause::new();
    loop {
        let mut received = false;
        let ended = stream(&link, &connection, &credentials, &mut received).await;
        if received {
            pause.reset();
        }
        match ended {
            Ok(()) => {}
            Err(error) if pause.is_first() => {
                warn!(connection, error = %error, "the lease stream broke; the last lease stays in use");
            }
            Err(error) => debug!(connection, error = %error, "the lease stream is not back yet"),
        }
        pause.rest().await;
    }
}

async fn stream(
    link: &Link,
    connection: &str,
    credentials: &Credentials,
    received: &mut bool,
) -> Result<(), LinkError> {
    let request = link.request(LeaseRequest { connection: connection.to_owned() })?;
    let mut responses = link.connect().await?.lease(request).await?.into_inner();
    while let Some(response) = responses.message().await? {
        *received = true;
        match response.kind {
            Some(lease_response::Kind::Credential(credential)) => {
                let seconds = credential.valid_for_seconds;
                let lease = Lease {
                    version: credential.version,
                    username: credential.username,
                    password: SecretSlice::from(credential.password),
                    valid_for: (seconds > 0).then(|| Duration::from_secs(seconds)),
                };
                credentials.publish(connection, lease);
            }
            Some(lease_response::Kind::Unavailable(reason)) => credentials.withdraw(connection, &reason),
            None => return Err(LinkError::Answer("a lease of an unknown kind")),
        }
    }
    Ok(())
}
