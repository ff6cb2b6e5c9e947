//! What the names of a statement are resolved in: a database that is asked, or assumptions that are shown.

use std::{future::Future, time::Duration};

use anyhow::{Context, bail};
use sql::{Assumed, Catalog, Needs, builtins::Version};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{
    database::{Trust, Url, reason},
    tls::Tls,
};

/// How long the database may take for all answers together.
const PATIENCE: Duration = Duration::from_secs(30);
/// Effective search path as JSON, user, database, version. Every name in it is qualified, so that no search path
/// can change its meaning.
const SCOPE: &str = "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(true))::pg_catalog.text, \
     CURRENT_USER::pg_catalog.text, pg_catalog.current_database()::pg_catalog.text, \
     pg_catalog.current_setting('server_version_num')";

/// What names are resolved in.
pub(super) struct Names {
    pub(super) version: Version,
    pub(super) search_path: Vec<String>,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) catalog: Catalog,
    pub(super) source: Source,
}

/// Who answers.
pub(super) enum Source {
    /// Nobody: names are what they look like.
    Assumed(Assumed),
    /// A session of the person's own, that only reads.
    Database(Session),
}

/// A session that was asked.
pub(super) struct Session {
    client: Client,
}

type Rows = Vec<Vec<Option<String>>>;

impl Names {
    /// Nothing is asked; unqualified names belong to the first of these schemas.
    pub(super) fn assumed(version: Version, schemas: &[String], database: &str) -> Self {
        let own = if schemas.is_empty() { vec!["public".to_owned()] } else { schemas.to_vec() };
        let implied = (!own.iter().any(|schema| schema == "pg_catalog")).then(|| "pg_catalog".to_owned());
        Self {
            version,
            search_path: implied.into_iter().chain(own).collect(),
            user: String::new(),
            database: database.to_owned(),
            catalog: Catalog::new(version),
            source: Source::Assumed(Assumed::default()),
        }
    }

    /// Opens a session that can only read.
    pub(super) async fn of_database(url: &Url, schemas: &[String]) -> anyhow::Result<Self> {
        let (config, trust) = url.complete(|name| std::env::var(name).ok())?;
        let client = within(Box::pin(connect(&config, &trust))).await?;
        let session = Session { client };
        session.run("BEGIN TRANSACTION READ ONLY").await?;
        if !schemas.is_empty() {
            let quoted: Vec<String> = schemas.iter().map(|schema| format!("\"{schema}\"")).collect();
            session.run(&format!("SET LOCAL search_path TO {}", quoted.join(", "))).await?;
        }
        let rows = session.run(SCOPE).await?;
        let Some([Some(path), Some(user), Some(database), Some(version)]) = rows.first().map(Vec::as_slice)
        else {
            bail!("the database does not say what its session is");
        };
        let number = version.parse().context("the database does not say its version")?;
        let version = Version::from_num(number)?;
        Ok(Self {
            version,
            search_path: serde_json::from_str(path).context("the search path cannot be read")?,
            user: user.clone(),
            database: database.clone(),
            catalog: Catalog::new(version),
            source: Source::Database(session),
        })
    }

    /// Finds out what is needed.
    pub(super) async fn look_up(&mut self, needs: &Needs) -> anyhow::Result<()> {
        match &mut self.source {
            Source::Assumed(assumed) => self.catalog.assume(needs, assumed),
            Source::Database(session) => {
                for question in needs.questions() {
                    let rows = session.run(question.sql()).await.context("the catalog cannot be read")?;
                    self.catalog.answer(&question, &rows)?;
                }
            }
        }
        Ok(())
    }
}

impl Session {
    async fn run(&self, text: &str) -> anyhow::Result<Rows> {
        let messages = within(async {
            let answered = self.client.simple_query(text).await;
            answered.map_err(|error| anyhow::anyhow!("the database answers: {}", reason(&error)))
        });
        let rows = messages.await?.into_iter().filter_map(|message| {
            let SimpleQueryMessage::Row(row) = message else { return None };
            Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
        });
        Ok(rows.collect())
    }
}

async fn connect(config: &tokio_postgres::Config, trust: &Trust) -> anyhow::Result<Client> {
    let failed = |error: &tokio_postgres::Error| {
        anyhow::anyhow!("the database of --catalog-from cannot be reached: {}", reason(error))
    };
    if *trust == Trust::Plain {
        let (client, connection) = config.connect(NoTls).await.map_err(|error| failed(&error))?;
        // Ends with the client.
        tokio::spawn(connection);
        return Ok(client);
    }
    let (client, connection) = config.connect(Tls::new(trust)?).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    Ok(client)
}

async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    timeout(PATIENCE, work).await.context("the database does not answer in time")?
}
