//! From a text to facts: names are looked up until everything is known, as a sidecar does it.

use std::sync::Arc;

use sql::{
    Assumed, Catalog, Doubt, Facts, Needs, Prediction, Reason, Scope, SessionNames, Statement, Unready,
};

use super::names::{Names, Source};

/// How often names may lead to further names before it is given up.
const ROUNDS: usize = 100;

/// What came of a text.
pub(super) enum Resolved {
    /// What each statement does.
    Facts(Vec<Arc<Facts>>),
    /// Refused whatever the policy says, with the reason.
    Refused(String),
    /// It depends on what a session did before, or leads too far.
    Unknown(String),
}

/// The facts of statements that run one after the other.
pub(super) async fn resolve(names: &mut Names, statements: &[Arc<Statement>]) -> anyhow::Result<Resolved> {
    for _ in 0..ROUNDS {
        match facts(names, statements) {
            Ok(facts) if learns(names, &facts) => names.catalog = Catalog::new(names.version),
            Ok(facts) => return Ok(Resolved::Facts(facts)),
            Err(Unready::Needs(needs)) => names.look_up(&needs).await?,
            Err(Unready::Refused(refused)) => {
                return Ok(match refused.reason {
                    Reason::NoSuchName | Reason::NoSuchCursor => Resolved::Unknown(format!(
                        "{}: put its PREPARE or DECLARE in front, in the same string",
                        refused.message
                    )),
                    Reason::Unknown
                    | Reason::NewerThanServer
                    | Reason::ServerFile
                    | Reason::Doubt
                    | Reason::TooDeep
                    | Reason::Setting => Resolved::Refused(refused.message),
                });
            }
        }
    }
    Ok(Resolved::Unknown("what the statement names leads too far to be understood".to_owned()))
}

/// Whether names without a server behind them are to be taken for something more.
fn learns(names: &mut Names, facts: &[Arc<Facts>]) -> bool {
    let Source::Assumed(assumed) = &mut names.source else { return false };
    let mut new = false;
    for facts in facts {
        new |= assumed.learn(&facts.unresolved, &names.search_path);
    }
    new
}

/// Each statement in the state that those before leave.
fn facts(names: &Names, statements: &[Arc<Statement>]) -> Result<Vec<Arc<Facts>>, Unready> {
    let none = SessionNames::default();
    let temp = names.search_path.iter().find(|schema| schema.starts_with("pg_temp_")).map(String::as_str);
    let scope = Scope {
        version: names.version,
        search_path: &names.search_path,
        temp_schema: temp,
        catalog: &names.catalog,
        session: &none,
        parameter_types: &[],
        user: &names.user,
        database: &names.database,
        doubt: Doubt::default(),
    };
    let mut prediction = Prediction::new(&names.search_path, &none);
    let (mut found, mut needs) = (Vec::new(), None::<Needs>);
    for statement in statements {
        match sql::facts(statement, &prediction.scope(&scope)) {
            Ok(facts) => {
                let facts = Arc::new(facts);
                prediction.apply(&facts, &names.user, temp);
                found.push(facts);
            }
            Err(Unready::Needs(more)) => match &mut needs {
                Some(needs) => needs.unite(more),
                None => needs = Some(more),
            },
            // While what comes before is not known, a name that it makes may only seem to be missing.
            Err(refused) => return Err(needs.map_or(refused, Unready::Needs)),
        }
    }
    needs.map_or(Ok(found), |needs| Err(Unready::Needs(needs)))
}

impl Names {
    /// What was assumed, if nothing was asked.
    pub(super) const fn assumptions(&self) -> Option<&Assumed> {
        match &self.source {
            Source::Assumed(assumed) => Some(assumed),
            Source::Database(_) => None,
        }
    }
}
