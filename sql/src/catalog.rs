//! What is known of one (upstream, database): relations, functions, operators and types by name, absent ones
//! included.

use crate::builtins::Version;

/// What is known of one (upstream, database).
#[derive(Clone, Debug)]
pub struct Catalog {
    version: Version,
    epoch: u64,
}

/// Why an answer was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// A row is not of the form that its question asks for.
    #[error("a catalog answer has a row that its question did not ask for")]
    Row,
}

/// Names that must be read before a statement can be understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    relations: std::collections::BTreeSet<(String, String)>,
}

/// One query for the server; its rows go to [`Catalog::answer`]. Every name in it is qualified, every literal
/// quoted, it takes no parameters and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    sql: String,
}

impl Question {
    /// The text to run; results are wanted in text format.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }
}

impl Needs {
    /// Whether nothing is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    /// Takes in other needs, so that one round trip serves several statements.
    pub fn unite(&mut self, other: Self) {
        self.relations.extend(other.relations);
    }

    /// The queries that answer these needs; independent of each other, at most a handful.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        Vec::new()
    }
}

impl Catalog {
    /// Knows nothing yet.
    #[must_use]
    pub const fn new(version: Version) -> Self {
        Self { version, epoch: 0 }
    }

    /// The server's major version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Takes the server's answer to a question.
    ///
    /// # Errors
    /// When a row does not have the form asked for; nothing is learned then.
    pub fn answer(&mut self, question: &Question, rows: &[Vec<Option<String>>]) -> Result<(), CatalogError> {
        let _ = (question, rows);
        self.epoch += 1;
        Ok(())
    }

    /// Forgets everything.
    pub fn forget_all(&mut self) {
        self.epoch += 1;
    }

    /// Forgets what lives in one schema: the session's temporary one, say.
    pub fn forget_schema(&mut self, schema: &str) {
        let _ = schema;
        self.epoch += 1;
    }

    /// Changes whenever anything known changes.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }
}
