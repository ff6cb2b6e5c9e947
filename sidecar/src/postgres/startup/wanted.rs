//! What a client wants of a session, checked against the Connection that it came to.

use policy::{Access, Action, Caller, ConnectionDocument, Missing, Object, Request, Scope, Verb, Verdict};
use wire::postgres::startup::Version;

use super::{
    Opened, StartupError, options,
    settings::{self, Values},
};

const UNDEFINED_DATABASE: &str = "3D000";
const FORBIDDEN: &str = "42501";
const INVALID_VALUE: &str = "22023";
const INVALID_AUTHORIZATION: &str = "28000";
const UNSUPPORTED: &str = "0A000";

/// What a client wants of a session. All of it may be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The user that it claims to be; recorded, not believed.
    pub user: String,
    /// The database.
    pub database: String,
    /// What it calls itself.
    pub application: String,
    /// Its settings, by lower-case names, in order.
    pub settings: Vec<(String, String)>,
    /// The version that is spoken.
    pub version: Version,
    /// Whether the client wished for a newer one.
    pub negotiate: bool,
    /// Options of the protocol that are not known here.
    pub unknown_options: Vec<String>,
}

impl Wanted {
    /// Checks what a client sent.
    ///
    /// # Errors
    /// When something is missing or may not be had.
    pub fn new(opened: &Opened, connection: &ConnectionDocument) -> Result<Self, StartupError> {
        let spoken = opened.version.min(Version::V3_2);
        let mut wanted = Self {
            user: user(opened)?,
            database: database(opened, connection)?,
            application: String::new(),
            settings: Vec::new(),
            // 3.1 was never given out.
            version: if spoken < Version::V3_2 { Version::V3_0 } else { spoken },
            negotiate: opened.version > Version::V3_2,
            unknown_options: Vec::new(),
        };
        for (name, value) in &opened.parameters {
            wanted.take(name, value, connection)?;
        }
        let application = wanted.settings.iter().rev().find(|(name, _)| name == "application_name");
        wanted.application = application.map(|(_, value)| value.clone()).unwrap_or_default();
        Ok(wanted)
    }

    fn take(&mut self, name: &str, value: &str, connection: &ConnectionDocument) -> Result<(), StartupError> {
        match name {
            "user" | "database" => Ok(()),
            "replication" => no_replication(value),
            "options" => {
                let settings = options::settings(value).map_err(|error| {
                    StartupError::parameter(INVALID_VALUE, error.to_string(), "use only `-c name=value`")
                })?;
                settings.iter().try_for_each(|(name, value)| self.set(name, value, connection))
            }
            option if option.starts_with("_pq_.") => {
                self.unknown_options.push(option.to_owned());
                Ok(())
            }
            setting => self.set(setting, value, connection),
        }
    }

    fn set(&mut self, name: &str, value: &str, connection: &ConnectionDocument) -> Result<(), StartupError> {
        let name = name.to_ascii_lowercase();
        let Some(values) = settings::allowed(&name) else {
            let message = format!("the startup parameter `{name}` may not be set");
            return Err(StartupError::parameter(FORBIDDEN, message, "leave it out"));
        };
        if !values.include(value) {
            let message = format!("`{value}` is not possible for the startup parameter `{name}`");
            let hint = if values == Values::Utf8 { "use `UTF8`" } else { "use `on`" };
            return Err(StartupError::parameter(INVALID_VALUE, message, hint));
        }
        // What every driver must send is no SET; everything else is one, and rules may speak about it.
        if values == Values::Any && name != "application_name" {
            permitted(&name, connection)?;
        }
        self.settings.push((name, value.to_owned()));
        Ok(())
    }
}

fn user(opened: &Opened) -> Result<String, StartupError> {
    let user = opened.parameter("user").filter(|user| !user.is_empty());
    let missing = || {
        let message = "no PostgreSQL user name is specified in the startup packet".to_owned();
        StartupError::parameter(INVALID_AUTHORIZATION, message, "any name will do")
    };
    user.map(str::to_owned).ok_or_else(missing)
}

/// The database, if the Connection names it; its own when the client names none.
fn database(opened: &Opened, connection: &ConnectionDocument) -> Result<String, StartupError> {
    let Some(postgres) = &connection.postgres else {
        let message = format!("the Connection `{}` does not say which database", connection.name);
        return Err(StartupError::parameter(UNDEFINED_DATABASE, message, ""));
    };
    let Some(wanted) = opened.parameter("database").filter(|name| !name.is_empty()) else {
        return Ok(postgres.database.clone());
    };
    if postgres.database == wanted || postgres.extra_databases.iter().any(|extra| extra == wanted) {
        return Ok(wanted.to_owned());
    }
    let message = format!("the Connection `{}` does not name the database `{wanted}`", connection.name);
    let hint = format!("use `{}`", postgres.database);
    Err(StartupError::parameter(UNDEFINED_DATABASE, message, &hint))
}

fn no_replication(value: &str) -> Result<(), StartupError> {
    if matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "no" | "0") {
        return Ok(());
    }
    let message = "replication is not possible through Chaperone".to_owned();
    Err(StartupError::parameter(UNSUPPORTED, message, "leave the startup parameter `replication` out"))
}

/// Whether the rules let the client SET it. Where nothing at all is allowed, the statements will say so.
fn permitted(name: &str, connection: &ConnectionDocument) -> Result<(), StartupError> {
    let mut access = Access::new(Verb::Set, Object::Setting(name.to_owned()));
    access.baseline = true;
    let request = Request {
        generation: policy::Generation::default(),
        scope: Scope::default(),
        caller: Caller::default(),
        action: Action::Statement(std::slice::from_ref(&access)),
    };
    let Verdict::Deny(denial) = policy::decide(connection, &request) else { return Ok(()) };
    match denial.missing {
        Missing::AnyAllow | Missing::BrokenPolicy { .. } | Missing::Connection(_) => Ok(()),
        Missing::Allow | Missing::Where(_) | Missing::Rule { .. } => {
            Err(StartupError::parameter(FORBIDDEN, denial.summary(), &denial.detail()))
        }
    }
}
