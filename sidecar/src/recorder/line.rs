//! A statement's record in parts: what stays the same from use to use is written once.
//!
//! ```text
//!  {"statement":{"session":"…","number": | 17 | ,"kind":"query","text":{"full": | "SELECT 1" | },"verdict":…}}
//!  `Head`, of the session                  `Tail`, of the decision                ………………………
//! ```
//! The parts come out of the very serialisation that every other record has.

use std::io::Write;

use audit::{Event, Statement, StatementText};
use uuid::Uuid;

/// Stands for the number while a record is taken apart.
const NUMBER: u64 = u64::MAX;
/// What an empty text looks like.
const NO_TEXT: &[u8] = b"\"text\":{\"full\":\"\"";

/// What comes before the number: the session.
#[derive(Debug)]
pub struct Head(Box<[u8]>);

/// What comes after the number: everything that a decision says.
#[derive(Debug)]
pub struct Tail {
    before_text: Box<[u8]>,
    /// With the text of its own that each record has; none when no text, or only its shape, is recorded.
    after_text: Option<Box<[u8]>>,
}

/// The record does not have the form that it is taken apart by: nothing is recorded then.
fn broken() -> serde_json::Error {
    serde::ser::Error::custom("a statement's record has another form than expected")
}

/// Where `part` begins in `json`.
fn find(json: &[u8], part: &[u8]) -> Result<usize, serde_json::Error> {
    json.windows(part.len()).position(|window| window == part).ok_or_else(broken)
}

impl Head {
    /// The head of a session's records.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn new(session: Uuid) -> Result<Self, serde_json::Error> {
        let statement = Statement {
            session,
            number: NUMBER,
            kind: audit::StatementKind::Query,
            text: StatementText::Full(String::new()),
            verdict: audit::StatementVerdict::Allow { rules: Vec::new() },
            accesses: Vec::new(),
            generation: String::new(),
        };
        let json = serde_json::to_vec(&Event::Statement(statement))?;
        let at = find(&json, NUMBER.to_string().as_bytes())?;
        Ok(Self(json.get(..at).ok_or_else(broken)?.into()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Tail {
    /// The tail of records like this one; its session and number do not count, nor does its text when it is the
    /// full one.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn new(mut statement: Statement) -> Result<Self, serde_json::Error> {
        statement.number = NUMBER;
        let full = matches!(statement.text, StatementText::Full(_));
        if full {
            statement.text = StatementText::Full(String::new());
        }
        let json = serde_json::to_vec(&Event::Statement(statement))?;
        let number = NUMBER.to_string();
        // Only the session stands before the number, and only the kind between it and the text.
        let at = find(&json, number.as_bytes())? + number.len();
        let tail = json.get(at..).ok_or_else(broken)?;
        if !full {
            return Ok(Self { before_text: tail.into(), after_text: None });
        }
        let end = find(tail, NO_TEXT)? + NO_TEXT.len();
        let (before, after) = tail.split_at_checked(end).ok_or_else(broken)?;
        let before = before.strip_suffix(b"\"\"").ok_or_else(broken)?;
        Ok(Self { before_text: before.into(), after_text: Some(after.into()) })
    }

    /// What comes before and after the text of its own, if there is one.
    pub(super) fn parts(&self) -> (&[u8], Option<&[u8]>) {
        (&self.before_text, self.after_text.as_deref())
    }
}

/// Writes a text as JSON.
pub(super) fn write_text(to: &mut Vec<u8>, text: &str) -> Result<(), serde_json::Error> {
    let plain = text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
    if !plain {
        return serde_json::to_writer(to, text);
    }
    to.push(b'"');
    to.extend_from_slice(text.as_bytes());
    to.push(b'"');
    Ok(())
}

/// Writes a number as JSON.
pub(super) fn write_number(to: &mut Vec<u8>, number: u64) {
    // Writing into memory does not fail.
    drop(write!(to, "{number}"));
}
