//! Reading the records as an auditor does: from every replica, by port-forward.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use audit::{Event, PodRef, Record, Segment, Statement, Verifier};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;

use crate::{agent::Agent, operator, wait::eventually};

/// The loopback port of the record API.
const PORT: u16 = 8081;

#[derive(Deserialize)]
struct Page {
    names: Vec<String>,
    more: bool,
}

/// The records of one pod, as far as they have arrived.
pub struct Records {
    client: Client,
    pod: String,
    /// By replica: the last segment that was read.
    seen: BTreeMap<String, String>,
    found: Vec<Record>,
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records").field("pod", &self.pod).field("found", &self.found).finish_non_exhaustive()
    }
}

impl Records {
    /// Of an agent, from now on: segments that are stored already are not read.
    ///
    /// # Errors
    /// When a replica does not answer.
    pub async fn of(agent: &Agent) -> Result<Self> {
        Self::from(&agent.space.client, &agent.uid).await
    }

    /// Of whatever pod has this UID.
    ///
    /// # Errors
    /// When a replica does not answer.
    pub async fn from(client: &Client, uid: &str) -> Result<Self> {
        let mut records =
            Self { client: client.clone(), pod: uid.to_owned(), seen: BTreeMap::new(), found: Vec::new() };
        for replica in operator::replicas(client).await? {
            let names = names_after(client, &replica.name_any(), "").await?;
            if let Some(last) = names.last() {
                records.seen.insert(replica.name_any(), last.clone());
            }
        }
        Ok(records)
    }

    /// Waits for a record.
    ///
    /// # Errors
    /// When it never comes.
    pub async fn find(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        eventually(&format!("a record of {what}"), async || {
            Box::pin(self.read()).await?;
            Ok(self.found.iter().map(|record| &record.event).find(|event| wanted(event)).cloned())
        })
        .await
    }

    /// Waits for the record of a statement whose text contains a marker.
    ///
    /// # Errors
    /// When it never comes.
    pub async fn statement(&mut self, marker: &str) -> Result<Statement> {
        let wanted = |event: &Event| matches!(event, Event::Statement(found) if text(found).contains(marker));
        let found = self.find(&format!("`{marker}`"), wanted).await?;
        let Event::Statement(statement) = found else { bail!("no statement: {found:?}") };
        Ok(statement)
    }

    /// Everything that has been found so far.
    #[must_use]
    pub fn found(&self) -> &[Record] {
        &self.found
    }

    async fn read(&mut self) -> Result<()> {
        for replica in operator::replicas(&self.client).await? {
            let replica = replica.name_any();
            let after = self.seen.get(&replica).cloned().unwrap_or_default();
            for name in names_after(&self.client, &replica, &after).await? {
                let segment = get(&self.client, &replica, &format!("/v1/segments/{name}")).await?;
                for (pod, record) in records(&segment)? {
                    if pod.uid == self.pod {
                        self.found.push(record);
                    }
                }
                self.seen.insert(replica.clone(), name);
            }
        }
        Ok(())
    }
}

/// A statement's text as far as it is recorded.
#[must_use]
pub fn text(statement: &Statement) -> &str {
    match &statement.text {
        audit::StatementText::Full(text) | audit::StatementText::Fingerprint(text) => text,
    }
}

/// Reads all that every replica holds and verifies it.
///
/// # Errors
/// When a replica does not answer.
pub async fn verify(client: &Client) -> Result<audit::Report> {
    let mut verifier = Verifier::new();
    for (name, bytes) in all(client).await? {
        verifier.add(&name, &bytes);
    }
    Ok(verifier.report())
}

/// All segments, by replica and name.
///
/// # Errors
/// When a replica does not answer.
pub async fn all(client: &Client) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for replica in operator::replicas(client).await? {
        let replica = replica.name_any();
        for name in names_after(client, &replica, "").await? {
            let bytes = get(client, &replica, &format!("/v1/segments/{name}")).await?;
            found.push((format!("{replica}/{name}"), bytes));
        }
    }
    Ok(found)
}

fn records(segment: &[u8]) -> Result<Vec<(PodRef, Record)>> {
    let mut found = Vec::new();
    for batch in Segment::open(segment)?.batches {
        let batch = batch?;
        found.extend(batch.records.into_iter().map(|record| (batch.header.pod.clone(), record)));
    }
    Ok(found)
}

async fn names_after(client: &Client, replica: &str, after: &str) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let last = names.last().map_or(after, String::as_str);
        let page = get(client, replica, &format!("/v1/segments?after={last}")).await?;
        let page: Page = serde_json::from_slice(&page)?;
        names.extend(page.names);
        if !page.more {
            return Ok(names);
        }
    }
}

async fn get(client: &Client, replica: &str, path: &str) -> Result<Vec<u8>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), operator::NAMESPACE);
    let mut forward = pods.portforward(replica, &[PORT]).await?;
    let stream = forward.take_stream(PORT).context("the port-forward has no stream")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driver.abort();
    if !status.is_success() {
        bail!("`{replica}` answers {status} to {path}");
    }
    Ok(body.to_vec())
}
