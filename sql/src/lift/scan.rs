//! Text to key. What is in any way unusual is not lifted: then the whole text is its own key.

use std::ops::Range;

/// Stand for constants in a key. No text that is lifted has these bytes.
const INT4: u8 = 1;
const INT8: u8 = 2;
const NUMERIC: u8 = 3;
const STRING: u8 = 4;

/// The statements whose constants may be lifted begin so.
const FIRST: [&[u8]; 7] = [b"select", b"insert", b"update", b"delete", b"merge", b"values", b"with"];

/// What a byte may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Word,
    Digit,
    Blank,
    Quote,
    DoubleQuote,
    Dollar,
    Dot,
    Slash,
    Minus,
    Semicolon,
    Other,
    /// Nothing that is lifted.
    Strange,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Strange; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
        {
            classes[byte as usize] = class(byte);
        }
        byte += 1;
    }
    classes
};

const fn class(byte: u8) -> Class {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => Class::Word,
        b'0'..=b'9' => Class::Digit,
        b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Blank,
        b'\'' => Class::Quote,
        b'"' => Class::DoubleQuote,
        b'$' => Class::Dollar,
        b'.' => Class::Dot,
        b'/' => Class::Slash,
        b'-' => Class::Minus,
        b';' => Class::Semicolon,
        b'!'..=b'~' => Class::Other,
        _ => Class::Strange,
    }
}

fn class_of(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Strange)
}

/// What came last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    /// A number, a word or a parameter: no name byte may follow without a space.
    Joined,
    String,
    /// The end of the statement.
    End,
    Other,
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    key: &'a mut Vec<u8>,
    constants: &'a mut Vec<Range<usize>>,
}

/// Writes the key of a text and finds its constants. None when they are not lifted; what was written is of no
/// use then.
pub(super) fn scan(text: &str, key: &mut Vec<u8>, constants: &mut Vec<Range<usize>>) -> Option<()> {
    if !text.is_ascii() {
        return None;
    }
    let mut scan = Scan { text: text.as_bytes(), at: 0, key, constants };
    let mut last = Last::Nothing;
    loop {
        let before = scan.at;
        scan.at = after_blanks(scan.text, scan.at)?;
        if scan.at >= scan.text.len() {
            return Some(());
        }
        let gap = scan.at > before;
        if gap && last != Last::Nothing {
            scan.key.push(b' ');
        }
        last = scan.token(last, gap)?;
    }
}

/// Where the first byte stands that is neither minus sign nor space nor comment.
pub(super) fn after_signs(text: &str, mut at: usize) -> Option<usize> {
    while text.as_bytes().get(at) == Some(&b'-') {
        at = after_blanks(text.as_bytes(), at + 1)?;
    }
    Some(at)
}

fn after_blanks(text: &[u8], mut at: usize) -> Option<usize> {
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    loop {
        match (class_of(byte(at)), byte(at + 1)) {
            (Class::Blank, _) => at += 1,
            (Class::Minus, b'-') => {
                let rest = text.get(at..).unwrap_or_default();
                at += memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            }
            (Class::Slash, b'*') => at = after_comment(text, at)?,
            _ => return Some(at),
        }
    }
}

/// Comments nest.
fn after_comment(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// Moves on while the bytes are such; returns them.
    fn take_while(&mut self, such: impl Fn(u8) -> bool) -> &[u8] {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        self.at += rest.iter().position(|byte| !such(*byte)).unwrap_or(rest.len());
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Writes what was read since `start`.
    fn copy(&mut self, start: usize) {
        self.key.extend_from_slice(self.text.get(start..self.at).unwrap_or_default());
    }

    fn token(&mut self, last: Last, gap: bool) -> Option<Last> {
        let start = self.at;
        let class = class_of(self.peek(0));
        if last == Last::End || (last == Last::Nothing && class != Class::Word) {
            return None;
        }
        if last == Last::Joined && !gap && matches!(class, Class::Word | Class::Digit | Class::Dollar) {
            return None;
        }
        match class {
            Class::Word => {
                self.word(last)?;
                return Some(Last::Joined);
            }
            Class::Digit => {
                self.number()?;
                return Some(Last::Joined);
            }
            // Two strings in a row may be one, written over two lines.
            Class::Quote if last == Last::String => return None,
            Class::Quote => {
                self.string()?;
                return Some(Last::String);
            }
            Class::DoubleQuote => {
                self.quoted(b'"')?;
                self.copy(start);
            }
            Class::Dollar => {
                self.at += 1;
                if self.take_while(|byte| byte.is_ascii_digit()).is_empty() {
                    return None;
                }
                self.copy(start);
                return Some(Last::Joined);
            }
            Class::Dot if self.peek(1).is_ascii_digit() => return None,
            Class::Semicolon => {
                self.at += 1;
                self.copy(start);
                return Some(Last::End);
            }
            Class::Dot | Class::Slash | Class::Minus | Class::Other => {
                self.at += 1;
                self.copy(start);
            }
            Class::Blank | Class::Strange => return None,
        }
        Some(Last::Other)
    }

    fn word(&mut self, last: Last) -> Option<()> {
        let start = self.at;
        let word = self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'));
        let prefix = matches!(word, [b'e' | b'E' | b'b' | b'B' | b'x' | b'X' | b'n' | b'N']);
        let unicode = matches!(word, [b'u' | b'U']);
        let first = last != Last::Nothing || FIRST.iter().any(|first| first.eq_ignore_ascii_case(word));
        self.copy(start);
        let strange = match self.peek(0) {
            b'\'' => prefix,
            b'&' => unicode && matches!(self.peek(1), b'\'' | b'"'),
            _ => false,
        };
        (first && !strange).then_some(())
    }

    /// Plain decimals: digits, perhaps a point and more digits. Everything else is not lifted.
    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let value = digits.iter().try_fold(0_u64, |value, digit| {
            value.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))
        });
        let mut class = match value {
            // With a minus before it, each of these two is of the smaller type for some readers.
            Some(0x8000_0000 | 0x8000_0000_0000_0000) => return None,
            Some(0..=0x7fff_ffff) => INT4,
            Some(0x8000_0001..=0x7fff_ffff_ffff_ffff) => INT8,
            Some(_) | None => NUMERIC,
        };
        if self.peek(0) == b'.' {
            self.at += 1;
            if self.take_while(|byte| byte.is_ascii_digit()).is_empty() {
                return None;
            }
            class = NUMERIC;
        }
        if matches!(self.peek(0), b'.') {
            return None;
        }
        self.key.push(class);
        self.constants.push(start..self.at);
        Some(())
    }

    /// A plain string without backslash.
    fn string(&mut self) -> Option<()> {
        let start = self.at;
        self.quoted(b'\'')?;
        if memchr::memchr(b'\\', self.text.get(start..self.at).unwrap_or_default()).is_some() {
            return None;
        }
        self.key.push(STRING);
        self.constants.push(start..self.at);
        Some(())
    }

    /// Moves past a quoted run; a doubled quote does not end it.
    fn quoted(&mut self, quote: u8) -> Option<()> {
        loop {
            self.at += 1;
            let rest = self.text.get(self.at..)?;
            self.at += memchr::memchr(quote, rest)? + 1;
            if self.peek(0) != quote {
                return Some(());
            }
        }
    }
}
