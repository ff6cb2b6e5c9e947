//! Which Connection a client came to: by configuration, never by looking at what it sends, but for the
//! database where several Connections share one address.

use policy::{ConnectionDocument, Document};

use crate::{capture::Arrival, error::NoSession};

/// The Connection that is meant.
///
/// # Errors
/// When there is none, when several are meant, or when it cannot be used.
pub(super) fn connection<'a>(
    document: &'a Document,
    arrival: &Arrival,
    database: Option<&str>,
) -> Result<&'a ConnectionDocument, NoSession> {
    let there: Vec<_> = document.connections.iter().filter(|c| is_there(c, arrival)).collect();
    let found = match there.as_slice() {
        [] => return Err(NoSession::NoConnection),
        [only] => *only,
        several => by_database(several, database)?,
    };
    match &found.problem {
        Some(problem) => Err(NoSession::Problem { connection: found.name.clone(), problem: problem.clone() }),
        None => Ok(found),
    }
}

fn is_there(connection: &ConnectionDocument, arrival: &Arrival) -> bool {
    match arrival {
        Arrival::Explicit { connection: name } => connection.name == *name,
        Arrival::Captured { destination } => {
            let address = connection.address.map(std::net::IpAddr::V4);
            address == Some(destination.ip().to_canonical()) && connection.upstream.port == destination.port()
        }
    }
}

fn by_database<'a>(
    several: &[&'a ConnectionDocument],
    database: Option<&str>,
) -> Result<&'a ConnectionDocument, NoSession> {
    let named = |c: &ConnectionDocument, wanted: &str| databases(c).any(|database| database == wanted);
    let mut matching = several.iter().filter(|c| database.is_some_and(|wanted| named(c, wanted)));
    match (matching.next(), matching.next()) {
        (Some(only), None) => Ok(only),
        _ => {
            let all = several.iter().flat_map(|c| databases(c)).map(|database| format!("`{database}`"));
            Err(NoSession::Ambiguous(all.collect()))
        }
    }
}

fn databases(connection: &ConnectionDocument) -> impl Iterator<Item = &str> {
    let postgres = connection.postgres.iter();
    postgres.flat_map(|p| std::iter::once(&p.database).chain(&p.extra_databases)).map(String::as_str)
}
