//! `explain`: what a statement does, and whether a pod may send it.
//!
//! ```text
//!  resources (cluster or files) ── compile ──> document ─┐
//!  statement ── sql ──> facts ───────────────────────────┴─ decide ──> answer
//!                 ^ names: a database that is asked, or assumptions that are shown
//! ```
//! The same crates as in operator and sidecar: what is said here is what would happen.

pub(crate) mod database;
mod judge;
mod names;
mod print;
mod resolve;
mod resources;
mod suggest;
mod tls;

use std::{io::Read, process::ExitCode};

use anyhow::{Context, bail};
use policy::{ConnectionDocument, Document, UpstreamProtocol};
use sql::Syntax;

use crate::{
    args::{ClusterArguments, ExplainArguments},
    output::complain,
};
use judge::{Answer, Outcome};
use names::Names;
use print::Printed;
use resolve::Resolved;
use resources::Resources;

/// Statements longer than this are no statements of people.
const STATEMENT_LIMIT: u64 = 16 * 1024 * 1024;
/// Neither allowed nor refused: not decided, or something failed on the way.
const UNDECIDED: u8 = 2;

pub(crate) async fn run(
    cluster: &ClusterArguments,
    arguments: &ExplainArguments,
) -> anyhow::Result<ExitCode> {
    let outcome = match explain(cluster, arguments).await {
        Ok(outcome) => outcome,
        Err(error) => {
            complain(&error);
            Outcome::Undecided
        }
    };
    Ok(match outcome {
        Outcome::Allowed => ExitCode::SUCCESS,
        Outcome::Refused => ExitCode::FAILURE,
        Outcome::Undecided => ExitCode::from(UNDECIDED),
    })
}

async fn explain(cluster: &ClusterArguments, arguments: &ExplainArguments) -> anyhow::Result<Outcome> {
    let text = statement(arguments)?;
    let resources = Resources::read(cluster, arguments).await?;
    let document = resources.document();
    let key = connection(&resources, &document, arguments)?;
    let found = document.connection(&key);
    let (answer, names) = match found {
        None => (judge::without_facts(Outcome::Refused, resources.why_not(&key)), None),
        Some(connection) if connection.protocol == UpstreamProtocol::Opaque => {
            bail!(
                "the Connection `{key}` is Opaque: its bytes pass without being looked at, no statement is decided"
            );
        }
        Some(connection) => answer(connection, &text, arguments).await?,
    };
    let printed = Printed {
        text: &text,
        resources: &resources,
        key: &key,
        connection: found,
        names: names.as_ref(),
        answer: &answer,
    };
    printed.print(arguments.output)?;
    Ok(answer.outcome)
}

fn statement(arguments: &ExplainArguments) -> anyhow::Result<String> {
    if arguments.statement != "-" {
        return Ok(arguments.statement.clone());
    }
    let mut text = String::new();
    let read = std::io::stdin().take(STATEMENT_LIMIT).read_to_string(&mut text);
    read.context("standard input cannot be read as text")?;
    Ok(text)
}

/// Which Connection is meant, as `namespace/name`.
fn connection(
    resources: &Resources,
    document: &Document,
    arguments: &ExplainArguments,
) -> anyhow::Result<String> {
    if let Some(name) = &arguments.connection {
        let qualified = name.contains('/');
        return Ok(if qualified { name.clone() } else { format!("{}/{name}", resources.pod.namespace) });
    }
    let names: Vec<&str> = document.connections.iter().map(|connection| connection.name.as_str()).collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => bail!("this pod sees no Connection; name one with --connection to learn why"),
        several => {
            bail!("this pod sees several Connections; name one with --connection: {}", several.join(", "))
        }
    }
}

async fn answer(
    connection: &ConnectionDocument,
    text: &str,
    arguments: &ExplainArguments,
) -> anyhow::Result<(Answer, Option<Names>)> {
    let Syntax { statements } = match sql::parse(text) {
        Ok(syntax) => syntax,
        Err(error) => {
            let reason = format!("the statement cannot be read: {error}");
            return Ok((judge::without_facts(Outcome::Refused, reason), None));
        }
    };
    if statements.is_empty() {
        bail!("there is no statement in the text");
    }
    let mut names = match &arguments.catalog_from {
        Some(url) => Names::of_database(url, &arguments.search_path).await?,
        None => {
            let database = connection.postgres.as_ref().map_or("", |postgres| &postgres.database);
            Names::assumed(arguments.server_version, &arguments.search_path, database)
        }
    };
    let answer = match resolve::resolve(&mut names, &statements).await? {
        Resolved::Facts(facts) => match names.assumptions() {
            Some(assumed) => judge::assumed(connection, &facts, assumed),
            None => judge::known(connection, &facts),
        },
        Resolved::Refused(reason) => judge::without_facts(Outcome::Refused, reason),
        Resolved::Unknown(reason) => judge::without_facts(Outcome::Undecided, reason),
    };
    Ok((answer, Some(names)))
}
