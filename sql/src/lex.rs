//! Tokens of a text, good enough to bound the work of the parser, to strip constants, and to fingerprint. What
//! a statement means is never decided here.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A keyword or plain name.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A number or a string of any kind.
    Constant,
    /// `$1`.
    Parameter,
    /// An operator.
    Operator,
    /// A bracket, comma or other single character.
    Punctuation(u8),
}

/// One token and its place in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

/// Walks over the tokens of a text, leaving out spaces and comments.
#[derive(Debug)]
pub(crate) struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    /// Deepest nesting of comments met so far.
    pub(crate) comment_depth: usize,
}

impl<'a> Tokens<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, comment_depth: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blanks(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => self.at += 1,
                (b'-', b'-') => {
                    let rest = self.text.get(self.at..).unwrap_or_default();
                    let length = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
                    self.at += length.unwrap_or(rest.len());
                }
                (b'/', b'*') => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.text.len() {
            match (self.peek(0), self.peek(1)) {
                (b'/', b'*') => {
                    depth += 1;
                    self.comment_depth = self.comment_depth.max(depth);
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth = depth.saturating_sub(1);
                    self.at += 2;
                    if depth == 0 {
                        return;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// Moves past a quoted run; a doubled quote does not end it, nor, with `escapes`, one after a backslash.
    fn skip_quoted(&mut self, quote: u8, escapes: bool) {
        self.at += 1;
        while self.at < self.text.len() {
            let byte = self.peek(0);
            if byte == quote {
                self.at += 1;
                if self.peek(0) != quote {
                    return;
                }
            } else if byte == b'\\' && escapes {
                self.at += 1;
            }
            self.at += 1;
        }
        self.at = self.text.len();
    }

    /// Whether a string goes on after its closing quote: behind a line's end, with backslashes as before. Moves to
    /// the quote if so.
    fn is_continued(&mut self) -> bool {
        let end = self.at;
        let mut lines = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | 0x0b | 0x0c, _) => self.at += 1,
                (b'\n' | b'\r', _) => {
                    lines += 1;
                    self.at += 1;
                }
                (b'-', b'-') => self.skip_while(|b| !matches!(b, b'\n' | b'\r')),
                (b'\'', _) if lines > 0 => return true,
                _ => {
                    self.at = end;
                    return false;
                }
            }
        }
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.at < self.text.len() && wanted(self.peek(0)) {
            self.at += 1;
        }
    }

    /// `$1`, `$tag$ … $tag$`, or a stray `$`.
    fn dollar(&mut self) -> Kind {
        if self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.skip_while(|b| b.is_ascii_digit());
            return Kind::Parameter;
        }
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let tag = rest.iter().take_while(|b| name_byte(**b) && **b != b'$').count();
        if rest.get(tag) != Some(&b'$') {
            self.at += 1;
            return Kind::Punctuation(b'$');
        }
        let mark = self.text.get(self.at..self.at + tag + 2).unwrap_or_default();
        let body = self.text.get(self.at + tag + 2..).unwrap_or_default();
        let end = memchr::memmem::find(body, mark).map_or(body.len(), |found| found + mark.len());
        self.at = (self.at + tag + 2 + end).min(self.text.len());
        Kind::Constant
    }

    fn number(&mut self) -> Kind {
        self.skip_while(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_');
        let exponent = self.at > 0 && matches!(self.text.get(self.at - 1), Some(b'e' | b'E'));
        if exponent && matches!(self.peek(0), b'+' | b'-') {
            self.at += 1;
            self.skip_while(|b| b.is_ascii_digit());
        }
        Kind::Constant
    }

    fn word(&mut self) -> Kind {
        match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'e' | b'E', b'\'', _) => {
                self.at += 1;
                self.skip_quoted(b'\'', true);
                while self.is_continued() {
                    self.skip_quoted(b'\'', true);
                }
                return Kind::Constant;
            }
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'', _) => {
                self.at += 1;
                self.skip_quoted(b'\'', false);
                return Kind::Constant;
            }
            (b'u' | b'U', b'&', quote @ (b'\'' | b'"')) => {
                self.at += 2;
                self.skip_quoted(quote, false);
                return if quote == b'"' { Kind::Quoted } else { Kind::Constant };
            }
            _ => {}
        }
        self.skip_while(name_byte);
        Kind::Word
    }

    fn operator(&mut self) -> Kind {
        self.at += 1;
        while operator_byte(self.peek(0))
            && !matches!((self.peek(0), self.peek(1)), (b'-', b'-') | (b'/', b'*'))
        {
            self.at += 1;
        }
        Kind::Operator
    }
}

const fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

const fn operator_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'+' | b'-'
            | b'*'
            | b'/'
            | b'<'
            | b'>'
            | b'='
            | b'~'
            | b'!'
            | b'@'
            | b'#'
            | b'%'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
    )
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        self.skip_blanks();
        if self.at >= self.text.len() {
            return None;
        }
        let start = self.at;
        let kind = match self.peek(0) {
            b'\'' => {
                self.skip_quoted(b'\'', false);
                Kind::Constant
            }
            b'"' => {
                self.skip_quoted(b'"', false);
                Kind::Quoted
            }
            b'$' => self.dollar(),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            byte if byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80 => self.word(),
            byte if operator_byte(byte) => self.operator(),
            byte => {
                self.at += 1;
                Kind::Punctuation(byte)
            }
        };
        Some(Token { kind, range: start..self.at })
    }
}

/// The text with every constant replaced by `?`, comments dropped and spaces folded.
#[must_use]
pub fn template(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for token in Tokens::new(text) {
        if token.range.start > end && !out.is_empty() {
            out.push(' ');
        }
        end = token.range.end;
        match token.kind {
            Kind::Constant => out.push('?'),
            Kind::Word | Kind::Quoted | Kind::Parameter | Kind::Operator | Kind::Punctuation(_) => {
                out.push_str(text.get(token.range).unwrap_or("?"));
            }
        }
    }
    out
}

/// Equal for texts that differ only in constants, in the case of plain words, in spacing and comments, and in
/// the length of lists of constants.
pub(crate) fn fingerprint(text: &str) -> u64 {
    let mut hash = Fnv::new();
    let (mut after_constant, mut comma) = (false, false);
    for token in Tokens::new(text) {
        let own = text.get(token.range).unwrap_or_default();
        match token.kind {
            Kind::Punctuation(b';') => {}
            Kind::Punctuation(b',') => comma = true,
            Kind::Constant if comma && after_constant => comma = false,
            Kind::Word
            | Kind::Quoted
            | Kind::Constant
            | Kind::Parameter
            | Kind::Operator
            | Kind::Punctuation(_) => {
                if std::mem::take(&mut comma) {
                    hash.add(b", ");
                }
                after_constant = token.kind == Kind::Constant;
                match token.kind {
                    Kind::Constant => hash.add(b"?"),
                    Kind::Word => hash.add(own.to_ascii_lowercase().as_bytes()),
                    Kind::Quoted | Kind::Parameter | Kind::Operator | Kind::Punctuation(_) => {
                        hash.add(own.as_bytes());
                    }
                }
                hash.add(b" ");
            }
        }
    }
    hash.0
}

/// FNV-1a: the same in every build, so that fingerprints can be compared across versions.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        Tokens::new(text).map(|token| text.get(token.range).unwrap()).collect()
    }

    #[test]
    fn tokens_end_where_postgres_ends_them() {
        assert_eq!(words("a/*x/*y*/z*/b--c\nd"), ["a", "b", "d"]);
        assert_eq!(
            words("'it''s' E'a\\'b' $$;$$ $t$ $$ $t$ $1"),
            ["'it''s'", "E'a\\'b'", "$$;$$", "$t$ $$ $t$", "$1"]
        );
        assert_eq!(
            words("a+-1 <> 1.5e-3 \"q\"\"q\" U&\"x\""),
            ["a", "+-", "1", "<>", "1.5e-3", "\"q\"\"q\"", "U&\"x\""]
        );
        assert_eq!(words("'open"), ["'open"]);
        assert_eq!(words("E'a' \n'\\'(' ("), ["E'a' \n'\\'('", "("]);
        assert_eq!(words("E'a' -- b\n\t'\\'' E'a' 'b\\' /* c */"), ["E'a' -- b\n\t'\\''", "E'a'", "'b\\'"]);
    }

    #[test]
    fn constants_never_reach_the_template() {
        let text =
            "select  'secret', E'se\\'cret', $x$secret$x$, 42, x'5e' /* secret */ from \"T\" where a=$1";
        assert_eq!(template(text), "select ?, ?, ?, ?, ? from \"T\" where a=$1");
        assert_eq!(template("'secret"), "?");
    }

    #[test]
    fn constants_and_spacing_do_not_change_the_fingerprint() {
        let same = fingerprint("select * from t where a in (1, 2, 3) and b = 'x'");
        assert_eq!(same, fingerprint("SELECT * FROM t -- hi\n WHERE a IN (7) AND b='why';"));
        assert_ne!(same, fingerprint("select * from u where a in (1) and b = 'x'"));
    }
}
