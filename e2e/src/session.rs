//! A driver's session through a sidecar.

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, error::SqlState};

use crate::{agent::Agent, fixture::AGENT_PORT};

/// An open session. tokio-postgres speaks the extended protocol, which psql does not.
#[derive(Debug)]
pub struct Session {
    /// The driver.
    pub client: Client,
}

/// Whether a statement went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered by the server.
    Allowed,
    /// The policy refused it, and the session lives on.
    Refused,
}

impl Session {
    pub(crate) async fn open(agent: &Agent) -> Result<Self> {
        let pods = agent.space.api::<Pod>();
        let mut forward = pods.portforward(&agent.name, &[AGENT_PORT]).await.context("port-forward")?;
        let stream = forward.take_stream(AGENT_PORT).context("the port-forward has no stream")?;
        let mut config = Config::new();
        config.user("planner").dbname("shop").application_name("e2e");
        let (client, connection) = config.connect_raw(stream, NoTls).await.context("login")?;
        tokio::spawn(async move {
            // Whoever uses the client sees that it ended.
            drop(connection.await);
            forward.abort();
        });
        Ok(Self { client })
    }

    /// One value of a statement's first row.
    ///
    /// # Errors
    /// When it is refused, or there is none.
    pub async fn value(&self, statement: &str) -> Result<String> {
        let messages = self.client.simple_query(statement).await?;
        let row = messages.iter().find_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            Some(row)
        });
        let value = row.and_then(|row| row.get(0)).context("no row")?;
        Ok(value.to_owned())
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When it fails for another reason than the policy.
    pub async fn attempt(&self, statement: &str) -> Result<Outcome> {
        outcome(self.client.simple_query(statement).await)
    }
}

/// Tells refusals from errors.
///
/// # Errors
/// When it failed for another reason than the policy.
pub fn outcome<T>(result: Result<T, tokio_postgres::Error>) -> Result<Outcome> {
    match result {
        Ok(_) => Ok(Outcome::Allowed),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(Outcome::Refused),
        Err(error) => bail!("{error:?}"),
    }
}
