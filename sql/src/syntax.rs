//! Text to syntax: limits, the parse with PostgreSQL's own grammar, and the statements that come out.

mod ffi;
mod limit;
mod stack;
mod tag;

use std::ops::Range;
use std::sync::Arc;

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ParseResult};

use crate::lex::Kind;
use stack::Deep;
pub(crate) use stack::with_room;
pub use tag::Tag;

/// The statements of one string.
#[derive(Clone, Debug, Default)]
pub struct Syntax {
    /// In order; empty for an empty string.
    pub statements: Vec<Arc<Statement>>,
}

/// One statement.
#[derive(Debug)]
pub struct Statement {
    tag: Tag,
    range: Range<usize>,
    parameters: usize,
    fingerprint: u64,
    /// What PREPARE stores, taken out of `node`.
    prepared: Option<Arc<Self>>,
    deep: bool,
    node: Deep<Node>,
}

impl Statement {
    /// What kind of statement it is, by its outermost keyword.
    #[must_use]
    pub const fn tag(&self) -> Tag {
        self.tag
    }

    /// Where it stands in the text, in bytes.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The highest parameter number (`$n`).
    #[must_use]
    pub const fn parameters(&self) -> usize {
        self.parameters
    }

    /// Equal for statements that differ only in constants, case, spacing and comments.
    #[must_use]
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The tree; nothing for what could not be kept.
    pub(crate) fn node(&self) -> Option<&NodeEnum> {
        self.node.get().and_then(|node| node.node.as_ref())
    }

    /// What PREPARE stores.
    pub(crate) const fn prepared(&self) -> Option<&Arc<Self>> {
        self.prepared.as_ref()
    }

    /// Whether walks over the tree need a big stack.
    pub(crate) const fn deep(&self) -> bool {
        self.deep
    }
}

/// Why a text is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// The parser's own message, or ours for a limit.
    pub message: String,
    /// Character in the text, from 1, as PostgreSQL reports it.
    pub position: Option<usize>,
    /// What kind of error.
    pub kind: SyntaxErrorKind,
}

/// The kinds of syntax errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyntaxErrorKind {
    /// More text or tokens than we read: 54000.
    TooLarge,
    /// Nested too deeply: 54001.
    TooDeep,
    /// Not SQL: 42601.
    Syntax,
}

impl SyntaxErrorKind {
    /// The SQLSTATE to answer with.
    #[must_use]
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Self::TooLarge => "54000",
            Self::TooDeep => "54001",
            Self::Syntax => "42601",
        }
    }
}

/// Parses a text with PostgreSQL's grammar. Safe to call on any thread with 512 KiB of free stack: what may
/// nest deeply is parsed on a thread of its own. Takes microseconds for short texts, and seconds for the
/// longest: keep those off the reactor.
///
/// # Errors
/// When a limit is exceeded, or the text is not SQL.
pub fn parse(text: &str) -> Result<Syntax, SyntaxError> {
    let deep = limit::check(text)?;
    with_room(deep, || ffi::parse(text).map(|result| build(text, result))).unwrap_or_else(|| {
        Err(SyntaxError {
            message: "no thread to parse a long text on".to_owned(),
            position: None,
            kind: SyntaxErrorKind::TooLarge,
        })
    })
}

fn build(text: &str, result: ParseResult) -> Syntax {
    let statements = result.stmts.into_iter().filter_map(|raw| {
        let start = usize::try_from(raw.stmt_location).unwrap_or(0);
        let length = usize::try_from(raw.stmt_len).unwrap_or(0);
        let end = if length == 0 { text.len() } else { start.saturating_add(length).min(text.len()) };
        let node = *raw.stmt?;
        Some(Arc::new(statement(text, start..end, node)))
    });
    Syntax { statements: statements.collect() }
}

fn statement(text: &str, range: Range<usize>, mut node: Node) -> Statement {
    let own = text.get(range.clone()).unwrap_or_default();
    let deep = limit::may_be_deep(own);
    let prepared = match &mut node.node {
        Some(NodeEnum::PrepareStmt(prepare)) => prepare.query.take(),
        _ => None,
    };
    Statement {
        tag: tag::of(node.node.as_ref()),
        parameters: parameters(own),
        fingerprint: crate::lex::fingerprint(own),
        prepared: prepared.map(|inner| Arc::new(statement(text, range.clone(), *inner))),
        range,
        deep,
        node: Deep::new(node, deep),
    }
}

fn parameters(text: &str) -> usize {
    let tokens = crate::lex::Tokens::new(text).filter(|token| token.kind == Kind::Parameter);
    let numbers = tokens.filter_map(|token| text.get(token.range)?.get(1..)?.parse().ok());
    numbers.max().unwrap_or(0)
}
