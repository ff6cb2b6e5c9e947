//! Limits that a scan checks before the parser sees a text, so that hostile text costs little.

use super::{SyntaxError, SyntaxErrorKind};
use crate::lex::{Kind, Tokens};

/// Longest text.
const TEXT: usize = 16 << 20;
/// Most tokens: a parse of that many takes a second or two.
const TOKENS: usize = 2_000_000;
/// Most tokens that make a tree grow: the parser's work is quadratic in some (`OR`).
const GROWTH: usize = 600_000;
/// Deepest nesting of brackets.
const BRACKETS: usize = 1_000;
/// Deepest nesting of comments, whose cost is quadratic in the parser.
const COMMENTS: usize = 32;
/// With fewer tokens than this no tree can be deep.
const SHALLOW: usize = 120;

/// Checks the limits; says whether the tree may be deep.
pub(super) fn check(text: &str) -> Result<bool, SyntaxError> {
    if text.len() > TEXT {
        return Err(error(SyntaxErrorKind::TooLarge, format!("the text is longer than {TEXT} bytes")));
    }
    let mut tokens = Tokens::new(text);
    let (mut count, mut nesting) = (0_usize, 0_usize);
    let mut deepening = 0_usize;
    while let Some(token) = tokens.next() {
        count += 1;
        match token.kind {
            Kind::Punctuation(b'(' | b'[') => nesting += 1,
            Kind::Punctuation(b')' | b']') => nesting = nesting.saturating_sub(1),
            Kind::Word
            | Kind::Operator
            | Kind::Quoted
            | Kind::Constant
            | Kind::Parameter
            | Kind::Punctuation(_) => {}
        }
        deepening += usize::from(deepens(token.kind));
        if count > TOKENS || deepening > GROWTH {
            return Err(error(SyntaxErrorKind::TooLarge, "the text has too many tokens".to_owned()));
        }
        if nesting > BRACKETS {
            return Err(error(SyntaxErrorKind::TooDeep, format!("brackets nest deeper than {BRACKETS}")));
        }
        if tokens.comment_depth > COMMENTS {
            break;
        }
    }
    if tokens.comment_depth > COMMENTS {
        return Err(error(SyntaxErrorKind::TooDeep, format!("comments nest deeper than {COMMENTS}")));
    }
    Ok(deepening > SHALLOW)
}

/// Whether the tree of one statement may be deep.
pub(super) fn may_be_deep(text: &str) -> bool {
    Tokens::new(text).filter(|token| deepens(token.kind)).nth(SHALLOW).is_some()
}

/// Tokens that a level of the tree may come of.
const fn deepens(kind: Kind) -> bool {
    matches!(kind, Kind::Word | Kind::Operator | Kind::Punctuation(b'(' | b'[' | b':'))
}

const fn error(kind: SyntaxErrorKind, message: String) -> SyntaxError {
    SyntaxError { message, position: None, kind }
}
