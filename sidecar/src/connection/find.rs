//! Which Connection a client came to: by configuration, never by looking at what it sends, but for the
//! database where several Connections share one address.

use std::net::IpAddr;

use policy::{ConnectionDocument, Document, UpstreamProtocol};

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

/// Whether a client came to what nobody looks at: then nothing is read of it to find out more.
pub(super) fn is_opaque(document: &Document, arrival: &Arrival) -> bool {
    let mut there = document.connections.iter().filter(|c| is_there(c, arrival)).peekable();
    there.peek().is_some() && there.all(|c| c.protocol == UpstreamProtocol::Opaque)
}

/// Whether any Connection is where a client came to.
pub(super) fn is_known(document: &Document, arrival: &Arrival) -> bool {
    document.connections.iter().any(|c| is_there(c, arrival))
}

fn is_there(connection: &ConnectionDocument, arrival: &Arrival) -> bool {
    match arrival {
        Arrival::Explicit { connection: name } => connection.name == *name,
        Arrival::Captured { destination } => {
            let wanted = destination.ip().to_canonical();
            let virtual_address = connection.address.map(IpAddr::V4);
            // A raw address leads to the Connection that is written with it.
            let raw = connection.upstream.host.parse().ok().map(|host: IpAddr| host.to_canonical());
            (virtual_address == Some(wanted) || raw == Some(wanted))
                && connection.upstream.port == destination.port()
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
