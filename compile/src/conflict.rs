//! Connections that a sidecar cannot tell apart.
//!
//! A captured session shows where it goes and, in PostgreSQL, the database that it names: so the key is (host,
//! port, database), and (host, port) alone for what is opaque. A session at a fixed port shows the port.

use std::collections::BTreeMap;

use policy::{ConnectionDocument, UpstreamProtocol};

/// What two Connections are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    /// Where captured sessions go, and the database that they name.
    Captured(String, u16, Option<&'a str>),
    /// The fixed loopback port.
    Port(u16),
}

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Captured(host, port, None) => write!(f, "{host}:{port}"),
            Self::Captured(host, port, Some(database)) => write!(f, "{host}:{port} database `{database}`"),
            Self::Port(port) => write!(f, "`agent.port` {port}"),
        }
    }
}

/// Why each of these Connections of one pod cannot be used together with the others; none where it can.
/// `named` says whether the pod names its Connections.
pub(crate) fn find(connections: &[&ConnectionDocument], named: bool) -> Vec<Option<String>> {
    let mut problems = vec![None; connections.len()];
    for (key, indices) in by_key(connections).into_iter().filter(|(_, indices)| indices.len() > 1) {
        for index in &indices {
            let Some(connection) = connections.get(*index) else { continue };
            // Reached at its own port, whatever else has its address.
            if connection.agent_port.is_some() && !matches!(key, Key::Port(_)) {
                continue;
            }
            let others = indices.iter().filter(|other| *other != index);
            let others: Vec<&str> =
                others.filter_map(|other| connections.get(*other)).map(|other| other.name.as_str()).collect();
            let hint = hint(&key, named);
            if let Some(problem) = problems.get_mut(*index) {
                let text = || format!("conflicts with `{}` on {key}: {hint}", others.join("`, `"));
                problem.get_or_insert_with(text);
            }
        }
    }
    problems
}

const fn hint(key: &Key<'_>, named: bool) -> &'static str {
    match (key, named) {
        (Key::Port(_), _) => "give each another `agent.port`",
        (Key::Captured(..), false) => {
            "name one of them in the pod's annotation `chaperone.dev/connections`, or give each its own `agent.port`"
        }
        (Key::Captured(..), true) => "give each its own `agent.port`, or name only one of them",
    }
}

/// The Connections that have each key. What is opaque has every key of its host and port.
fn by_key<'a>(connections: &[&'a ConnectionDocument]) -> BTreeMap<Key<'a>, Vec<usize>> {
    let mut keys: BTreeMap<Key<'a>, Vec<usize>> = BTreeMap::new();
    let mut opaque: BTreeMap<(String, u16), Vec<usize>> = BTreeMap::new();
    for (index, connection) in connections.iter().enumerate() {
        keys.entry(Key::Port(connection.agent_port.unwrap_or_default())).or_default().push(index);
        let (host, port) = (connection.upstream.host.to_ascii_lowercase(), connection.upstream.port);
        match connection.protocol {
            UpstreamProtocol::Opaque => opaque.entry((host, port)).or_default().push(index),
            UpstreamProtocol::Postgres => {
                let names =
                    connection.postgres.iter().flat_map(|p| p.extra_databases.iter().chain([&p.database]));
                for database in names.collect::<std::collections::BTreeSet<_>>() {
                    let key = Key::Captured(host.clone(), port, Some(database));
                    keys.entry(key).or_default().push(index);
                }
            }
        }
    }
    // No port is no key.
    keys.remove(&Key::Port(0));
    for ((host, port), indices) in opaque {
        let mut all = indices;
        for (key, others) in &keys {
            if matches!(key, Key::Captured(other, at, _) if *other == host && *at == port) {
                all.extend(others);
            }
        }
        all.sort_unstable();
        all.dedup();
        keys.insert(Key::Captured(host, port, None), all);
    }
    keys
}

#[cfg(test)]
mod tests {
    use policy::{PostgresDocument, TlsDocument, TlsMode, Upstream};

    use super::*;

    fn connection(
        name: &str,
        host: &str,
        database: Option<&str>,
        agent_port: Option<u16>,
    ) -> ConnectionDocument {
        let tls = TlsDocument { mode: TlsMode::Disable, ca_bundle: None };
        let postgres =
            database.map(|name| PostgresDocument { database: name.into(), extra_databases: vec![] });
        let protocol = if postgres.is_some() { UpstreamProtocol::Postgres } else { UpstreamProtocol::Opaque };
        ConnectionDocument {
            name: name.to_owned(),
            protocol,
            upstream: Upstream { host: host.to_owned(), port: 5432, tls },
            address: None,
            agent_port,
            postgres,
            problem: None,
            policies: Vec::new(),
        }
    }

    fn conflicted(connections: &[ConnectionDocument]) -> Vec<bool> {
        let connections: Vec<&ConnectionDocument> = connections.iter().collect();
        find(&connections, false).iter().map(Option::is_some).collect()
    }

    #[test]
    fn databases_tell_connections_of_one_server_apart() {
        let (a, b) = (connection("a", "H.x", Some("one"), None), connection("b", "h.x", Some("two"), None));
        assert_eq!(conflicted(&[a.clone(), b]), [false, false]);
        assert_eq!(conflicted(&[a, connection("b", "h.x", Some("one"), None)]), [true, true]);
    }

    #[test]
    fn what_is_opaque_has_its_port_for_itself() {
        let (a, b) = (connection("a", "h.x", None, None), connection("b", "h.x", Some("one"), None));
        let other = connection("c", "other.x", Some("one"), None);
        assert_eq!(conflicted(&[a.clone(), b, other]), [true, true, false]);
        assert_eq!(conflicted(&[a.clone(), a]), [true, true]);
    }

    #[test]
    fn a_port_of_its_own_ends_a_conflict_unless_it_is_shared() {
        let with = |port| connection("a", "h.x", Some("one"), Some(port));
        assert_eq!(conflicted(&[with(1), with(2)]), [false, false]);
        assert_eq!(conflicted(&[with(1), with(1)]), [true, true]);
        assert_eq!(conflicted(&[with(1), connection("b", "h.x", None, None)]), [false, true]);
    }
}
