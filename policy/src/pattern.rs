//! Patterns of names in rules. `*` stands for any characters within one name, never across a dot.

use serde::{Deserialize, Serialize};

use crate::{FunctionName, RelationName};

/// Why a pattern is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing there, or an empty part between dots.
    #[error("`{0}` has an empty part; write `schema.table`, or `*` for any name")]
    Empty(String),
    /// Too many or too few dots.
    #[error("`{pattern}` must be written as {expected}")]
    Parts {
        /// What was written.
        pattern: String,
        /// The form that is wanted.
        expected: &'static str,
    },
}

/// A pattern of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamePattern(String);

impl NamePattern {
    /// A pattern from its text.
    ///
    /// # Errors
    /// When it is empty.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() { Err(PatternError::Empty(text.to_owned())) } else { Ok(Self(text.to_owned())) }
    }

    /// Whether it has no `*`.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether it is `*` alone.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Whether it matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        glob(self.0.as_bytes(), name.as_bytes())
    }
}

/// Matches with `*` only, in time linear in `pattern * name` and without recursion.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(byte) if Some(byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    p = after;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

/// `schema.table`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationPattern {
    /// Pattern of the schema.
    pub schema: NamePattern,
    /// Pattern of the relation's name.
    pub name: NamePattern,
}

impl RelationPattern {
    /// A pattern from `schema.table`; `*` alone is `*.*`.
    ///
    /// # Errors
    /// When it has not exactly two parts.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = if text == "*" { "*.*" } else { text };
        let [schema, name] = text.split('.').collect::<Vec<_>>()[..] else {
            return Err(PatternError::Parts { pattern: text.to_owned(), expected: "`schema.table`" });
        };
        if schema.is_empty() || name.is_empty() {
            return Err(PatternError::Empty(text.to_owned()));
        }
        Ok(Self { schema: NamePattern::parse(schema)?, name: NamePattern::parse(name)? })
    }

    /// Whether it names one relation.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.schema.is_exact() && self.name.is_exact()
    }

    /// Whether it is `*.*`.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.schema.is_any() && self.name.is_any()
    }

    /// Whether it matches. A schema pattern with `*` never matches a system schema or `pg_temp`.
    #[must_use]
    pub fn matches(&self, relation: &RelationName) -> bool {
        (self.schema.is_exact() || !reserved_schema(&relation.schema))
            && self.schema.matches(&relation.schema)
            && self.name.matches(&relation.name)
    }
}

/// Schemas that `*` leaves out: the system's, and the session's temporary one, which is its own pattern.
pub(crate) fn reserved_schema(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

/// A column's name, with `*`.
pub type ColumnPattern = NamePattern;

/// A function: `schema.name`, `name` (of `pg_catalog`), either with `(types)`, or `ext:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionPattern {
    /// `*`: every function outside the system schemas.
    Any,
    /// The members of an extension.
    Extension(NamePattern),
    /// By name.
    Named {
        /// Pattern of the schema.
        schema: NamePattern,
        /// Pattern of the name.
        name: NamePattern,
        /// Argument types, when the pattern names them.
        arguments: Option<Vec<String>>,
    },
}

impl FunctionPattern {
    /// A pattern from its text.
    ///
    /// # Errors
    /// When it is none of the forms above.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        const FORM: &str = "`schema.name`, `name`, `name(types)` or `ext:NAME`";
        let wrong = || PatternError::Parts { pattern: text.to_owned(), expected: FORM };
        if text == "*" || text == "*.*" {
            return Ok(Self::Any);
        }
        if let Some(extension) = text.strip_prefix("ext:") {
            return NamePattern::parse(extension).map(Self::Extension);
        }
        let (path, arguments) = match text.split_once('(') {
            None => (text, None),
            Some((path, rest)) => {
                let inside = rest.strip_suffix(')').ok_or_else(wrong)?;
                let types = inside.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
                (path, Some(types.collect()))
            }
        };
        let (schema, name) = match path.split('.').collect::<Vec<_>>()[..] {
            [name] => ("pg_catalog", name),
            [schema, name] => (schema, name),
            _ => return Err(wrong()),
        };
        if schema.is_empty() || name.is_empty() {
            return Err(PatternError::Empty(text.to_owned()));
        }
        Ok(Self::Named { schema: NamePattern::parse(schema)?, name: NamePattern::parse(name)?, arguments })
    }

    /// Whether it matches.
    #[must_use]
    pub fn matches(&self, function: &FunctionName) -> bool {
        match self {
            Self::Any => !reserved_schema(&function.schema),
            Self::Extension(pattern) => {
                function.extension.as_deref().is_some_and(|extension| pattern.matches(extension))
            }
            Self::Named { schema, name, arguments } => {
                (schema.is_exact() || !reserved_schema(&function.schema))
                    && schema.matches(&function.schema)
                    && name.matches(&function.name)
                    && arguments.as_ref().is_none_or(|types| *types == function.arguments)
            }
        }
    }
}
