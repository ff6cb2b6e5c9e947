//! The database that is asked what names mean: how it is reached. Options are checked here, before anything is
//! opened.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// What `--catalog-from` says. Its Debug shows no password.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    config: Config,
    tls: Option<String>,
    root: Option<String>,
}

/// How the server is known to be the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// No TLS: the server is on this machine, or the person said so.
    Plain,
    /// TLS with the system's roots.
    System,
    /// TLS with the roots of a PEM file.
    File(PathBuf),
}

impl Url {
    /// Reads `postgres://USER@HOST:PORT/DATABASE?sslmode=...&sslrootcert=...`.
    ///
    /// # Errors
    /// When it is none; the text says what to write, and repeats nothing that may be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("write it as postgres://USER@HOST:PORT/DATABASE".to_owned());
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut tls, mut root, mut others) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => tls = Some(mode.to_owned()),
                Some(("sslrootcert", file)) => root = Some(file.to_owned()),
                _ => others.push(pair),
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let config = rest.parse().map_err(|error: tokio_postgres::Error| reason(&error))?;
        Ok(Self { config, tls, root })
    }

    /// Completes it from the environment, as libpq does.
    pub(super) fn complete(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<(Config, Trust)> {
        let value = |name| environment(name).filter(|value| !value.is_empty());
        let mut config = self.config.clone();
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            let host = value("PGHOST").context("--catalog-from names no host: write it, or set PGHOST")?;
            config.host(host);
        }
        if let (true, Some(port)) = (config.get_ports().is_empty(), value("PGPORT")) {
            config.port(port.parse().with_context(|| format!("PGPORT is `{port}`; write a port"))?);
        }
        if config.get_user().is_none() {
            config.user(value("PGUSER").context("--catalog-from names no user: write it, or set PGUSER")?);
        }
        if let (true, Some(database)) = (config.get_dbname().is_none(), value("PGDATABASE")) {
            config.dbname(database);
        }
        if let (true, Some(password)) = (config.get_password().is_none(), value("PGPASSWORD")) {
            config.password(password);
        }
        let root = self.root.clone().or_else(|| value("PGSSLROOTCERT"));
        let trust = trust(self.tls.clone().or_else(|| value("PGSSLMODE")), root, &config)?;
        let mode = if trust == Trust::Plain { SslMode::Disable } else { SslMode::Require };
        config.ssl_mode(mode).connect_timeout(CONNECT).application_name("kubectl-chaperone");
        Ok((config, trust))
    }
}

/// TLS that does not know whom it speaks to protects no password: it is not offered.
fn trust(mode: Option<String>, root: Option<String>, config: &Config) -> anyhow::Result<Trust> {
    let verified = || match root.filter(|file| file != "system") {
        Some(file) => Trust::File(PathBuf::from(file)),
        None => Trust::System,
    };
    match mode.as_deref() {
        Some("disable") => Ok(Trust::Plain),
        // Verified in full: more than the first two ask for.
        Some("require" | "verify-ca" | "verify-full") => Ok(verified()),
        Some(other) => bail!(
            "sslmode is `{other}`; write verify-full (with sslrootcert=FILE for an authority of your own) or disable"
        ),
        None if is_local(config) => Ok(Trust::Plain),
        None => Ok(verified()),
    }
}

/// Whether nothing leaves this machine.
fn is_local(config: &Config) -> bool {
    let loopback = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(loopback) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

/// An error of the driver with what is behind it.
pub(super) fn reason(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn complete(url: &str, environment: &[(&str, &str)]) -> Result<(Config, Trust), String> {
        let value = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Url::parse(url)?.complete(value).map_err(|error| format!("{error:#}"))
    }

    #[rstest]
    #[case("shop", "write it as postgres://USER@HOST:PORT/DATABASE")]
    #[case("host=localhost user=ann", "write it as postgres://USER@HOST:PORT/DATABASE")]
    #[case("postgres://ann@h:port/shop", "invalid")]
    #[case("postgres://ann@h/shop?sslmode=prefer", "sslmode is `prefer`; write verify-full")]
    #[case("postgres://ann@/shop", "names no host: write it, or set PGHOST")]
    #[case("postgres://h/shop", "names no user: write it, or set PGUSER")]
    #[case("postgres://ann@h/shop?colour=red", "colour")]
    fn what_cannot_be_used_says_what_to_write(#[case] url: &str, #[case] expected: &str) {
        let error = complete(url, &[]).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[rstest]
    #[case("postgres://ann@localhost/shop", &[], Trust::Plain)]
    #[case("postgres://ann@127.0.0.1/shop", &[], Trust::Plain)]
    #[case("postgres://ann@%2Frun%2Fpostgresql/shop", &[], Trust::Plain)]
    #[case("postgres://ann@db.example.com/shop", &[], Trust::System)]
    #[case("postgres://ann@localhost/shop?sslmode=verify-full", &[], Trust::System)]
    #[case("postgres://ann@db.example.com/shop?sslmode=disable", &[], Trust::Plain)]
    #[case("postgres://ann@db.example.com/shop?sslrootcert=/ca.crt", &[], Trust::File("/ca.crt".into()))]
    #[case("postgres://ann@h/s", &[("PGSSLMODE", "require"), ("PGSSLROOTCERT", "/ca.crt")], Trust::File("/ca.crt".into()))]
    fn only_this_machine_is_spoken_to_in_the_clear_unasked(
        #[case] url: &str,
        #[case] environment: &[(&str, &str)],
        #[case] expected: Trust,
    ) {
        assert_eq!(complete(url, environment).unwrap().1, expected);
    }

    #[test]
    fn what_the_url_leaves_out_comes_from_the_environment() {
        let all = [
            ("PGHOST", "h"),
            ("PGPORT", "6000"),
            ("PGUSER", "ann"),
            ("PGDATABASE", "shop"),
            ("PGPASSWORD", "x"),
        ];
        let (config, _) = complete("postgres://", &all).unwrap();
        assert_eq!(config.get_hosts(), [Host::Tcp("h".to_owned())]);
        assert_eq!((config.get_ports(), config.get_user()), (&[6000][..], Some("ann")));
        assert_eq!((config.get_dbname(), config.get_password()), (Some("shop"), Some(&b"x"[..])));
        let (config, _) = complete("postgres://bob:y@other:7000/stock", &all).unwrap();
        assert_eq!(config.get_hosts(), [Host::Tcp("other".to_owned())]);
        assert_eq!((config.get_ports(), config.get_user()), (&[7000][..], Some("bob")));
        assert_eq!((config.get_dbname(), config.get_password()), (Some("stock"), Some(&b"y"[..])));
    }

    #[test]
    fn no_password_is_shown() {
        assert!(!format!("{:?}", Url::parse("postgres://ann:secret@h/shop").unwrap()).contains("secret"));
    }
}
