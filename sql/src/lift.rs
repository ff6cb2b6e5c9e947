//! Constants lifted out of a text, so that texts that differ only in them need one parse.
//!
//! ```text
//! text ── read ──> key: tokens, each plain constant as its class ── known ──> pinned constants ── pin ──> key
//!                                                           └─ new ── parse ── which are free? ──> Pinned
//! ```
//! A constant is free where nothing but its class can count for what the statement does; every other one is
//! pinned: its text is a part of the key. Statements under equal keys have equal facts in every scope, up to
//! positions in the text.

mod free;
mod scan;

use std::ops::Range;

use crate::{Statement, Syntax, Tag};

/// Begins the key of a text whose constants are not lifted. No text has a zero byte.
const EXACT: u8 = 0;
/// Ends the tokens in a key; a pinned constant follows.
const PIN: u8 = 0;

/// A function whose effect is named by a value, which it may take from a comparison beside it: then all count.
const SET_CONFIG: &[u8] = b"set_config";

/// Reads texts into keys. Keeps its buffers, so that reading allocates nothing.
#[derive(Debug, Default)]
pub struct Lift {
    key: Vec<u8>,
    /// Where the constants stand in the text.
    constants: Vec<Range<usize>>,
}

/// The constants of a text, by number, whose values count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned(Box<[usize]>);

impl Pinned {
    /// Whether no value counts.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Lift {
    /// Without anything read.
    #[must_use]
    pub const fn new() -> Self {
        Self { key: Vec::new(), constants: Vec::new() }
    }

    /// Reads a text. Its [`key`](Self::key) is then without the values of its plain constants.
    pub fn read(&mut self, text: &str) {
        self.key.clear();
        self.constants.clear();
        if scan::scan(text, &mut self.key, &mut self.constants).is_none() {
            self.key.clear();
            self.constants.clear();
            self.key.push(EXACT);
            self.key.extend_from_slice(text.as_bytes());
        }
    }

    /// The key of the text that was read last.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Which of the text's constants count; `syntax` is what it parses to.
    #[must_use]
    pub fn pinned(&self, text: &str, syntax: &Syntax) -> Pinned {
        if self.constants.is_empty() {
            return Pinned(Box::default());
        }
        let free = match syntax.statements.as_slice() {
            [statement] if lifts(statement) && !self.names(SET_CONFIG) => free::free(statement),
            _ => Vec::new(),
        };
        let mut pinned = vec![true; self.constants.len()];
        for location in free {
            if let Some(place) = self.constant_at(text, location).and_then(|number| pinned.get_mut(number)) {
                *place = false;
            }
        }
        let numbers = pinned.iter().enumerate().filter_map(|(number, pinned)| pinned.then_some(number));
        Pinned(numbers.collect())
    }

    /// Whether the text has this name anywhere outside constants and comments.
    fn names(&self, name: &[u8]) -> bool {
        self.key.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name))
    }

    /// The number of the constant that the parser says stands at `location`: there, or behind minus signs, the first
    /// of which is where the parser puts a negated one.
    fn constant_at(&self, text: &str, location: usize) -> Option<usize> {
        let start = scan::after_signs(text, location)?;
        self.constants.binary_search_by_key(&start, |constant| constant.start).ok()
    }

    /// Adds the values of pinned constants to the key.
    pub fn pin(&mut self, text: &str, pinned: &Pinned) {
        for number in &pinned.0 {
            let value = self.constants.get(*number).and_then(|constant| text.get(constant.clone()));
            self.key.push(PIN);
            self.key.extend_from_slice(value.unwrap_or_default().as_bytes());
        }
    }
}

/// Whether constants of this statement may be free at all.
const fn lifts(statement: &Statement) -> bool {
    matches!(statement.tag(), Tag::Select | Tag::Insert | Tag::Update | Tag::Delete | Tag::Merge)
}

#[cfg(test)]
mod tests;
