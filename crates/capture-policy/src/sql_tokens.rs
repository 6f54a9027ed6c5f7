//! The tokens of SQL, read from any text: incomplete SQL, and text that is not SQL, also have tokens.
//!
//! This is not the parser's tokenizer, because its input may be in any dialect, a part of a statement in an error message, or very
//! long. It copies nothing, and takes linear time.

use crate::dialects::{LineComments, dialect_set};

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    /// A quoted name.
    Name,
    /// A quoted literal with its prefix: `E'x'`, `$$x$$`.
    Text,
    Number,
    /// `$name`, `$1`.
    Placeholder,
    Comment,
    Blank,
    /// A single character.
    Sign,
}

/// A token, as its byte range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// What differs between dialects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Whether a backslash escapes the following quote.
    pub(crate) backslash_escapes: bool,
    /// Whether double quotes delimit a literal instead of a name.
    pub(crate) double_quoted_text: bool,
    /// Whether the whole text is inside a comment, so that none begins or ends in it.
    pub(crate) in_comment: bool,
    /// Additional comment markers, until a statement of the text sets another dialect.
    pub(crate) comments: LineComments,
    /// The comment markers after a statement that resets the dialect.
    pub(crate) first_comments: LineComments,
}

/// Reads the tokens of a text.
pub(crate) fn tokens(text: &str, reading: Reading) -> Tokens<'_> {
    Tokens { text, at: 0, reading, begins: true, next_comments: None }
}

#[derive(Debug, Clone)]
pub(crate) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    reading: Reading,
    /// Whether a statement begins here.
    begins: bool,
    /// The comment markers after this statement.
    next_comments: Option<LineComments>,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let (kind, length) = self.read(self.text.get(start..)?)?;
        self.at += length;
        self.follow_dialect(kind, start);
        Some(Token { kind, start, end: self.at })
    }
}

impl Tokens<'_> {
    fn follow_dialect(&mut self, kind: Kind, start: usize) {
        if kind == Kind::Sign && self.text.as_bytes()[start] == b';' {
            self.begins = true;
            self.reading.comments = self.next_comments.take().unwrap_or(self.reading.comments);
        } else if !matches!(kind, Kind::Blank | Kind::Comment) && std::mem::take(&mut self.begins) {
            let dialect = Some(kind).filter(|kind| *kind == Kind::Word);
            self.next_comments =
                dialect.and_then(|_| dialect_set(&self.text[start..])).map(|name| match name {
                    "" => self.reading.first_comments,
                    name => LineComments::of_dialect(name),
                });
        }
    }

    fn read(&self, rest: &str) -> Option<(Kind, usize)> {
        let bytes = rest.as_bytes();
        let next = bytes.get(1).copied();
        let length_while = |part: fn(char) -> bool| rest.find(|c| !part(c)).unwrap_or(rest.len());
        Some(match *bytes.first()? {
            // Within a comment the dashes have no meaning.
            b'-' if next == Some(b'-') && !self.reading.in_comment => {
                (Kind::Comment, rest.find('\n').unwrap_or(rest.len()))
            }
            b'/' if next == Some(b'*') && !self.reading.in_comment => (Kind::Comment, block_comment(bytes)),
            b'#' if self.reading.comments.hash && !self.reading.in_comment => {
                (Kind::Comment, rest.find('\n').unwrap_or(rest.len()))
            }
            b'/' if next == Some(b'/') && self.reading.comments.slashes && !self.reading.in_comment => {
                (Kind::Comment, rest.find('\n').unwrap_or(rest.len()))
            }
            b'\'' => (Kind::Text, quoted(bytes, 0, self.reading.backslash_escapes)),
            b'"' if self.reading.double_quoted_text => {
                (Kind::Text, quoted(bytes, 0, self.reading.backslash_escapes))
            }
            b'"' | b'`' => (Kind::Name, quoted(bytes, 0, false)),
            b'$' => dollar(rest),
            byte if byte.is_ascii_digit() => (Kind::Number, number(bytes)),
            // After a name it is a path: `t.1`.
            b'.' if next.is_some_and(|next| next.is_ascii_digit()) && !self.is_behind_name() => {
                (Kind::Number, number(bytes))
            }
            byte if byte.is_ascii_whitespace() => (Kind::Blank, length_while(char::is_whitespace)),
            byte if byte.is_ascii() && !is_word_byte(byte) => (Kind::Sign, 1),
            _ => {
                // At least one character, otherwise the reader would not advance.
                let length = length_while(is_word).max(rest.chars().next().map_or(1, char::len_utf8));
                match text_behind_prefix(rest, length, self.reading) {
                    Some(end) => (Kind::Text, end),
                    None => (Kind::Word, length),
                }
            }
        })
    }

    fn is_behind_name(&self) -> bool {
        self.text[..self.at].ends_with(|c| is_word(c) || matches!(c, '"' | '`' | ']' | ')'))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// The end of a literal with a prefix: escapes, bytes, hexadecimal, national, raw, Unicode.
fn text_behind_prefix(rest: &str, length: usize, reading: Reading) -> Option<usize> {
    let (prefix, behind) = rest.split_at(length);
    let bytes = rest.as_bytes();
    let is_prefix = |known: &str| prefix.eq_ignore_ascii_case(known);
    if is_prefix("u") && behind.starts_with("&'") {
        return Some(quoted(bytes, length + 1, false));
    }
    // `E'...'` has escapes in every dialect, and `r'...'` in none.
    let has_escapes = is_prefix("e") || (reading.backslash_escapes && !is_prefix("r"));
    let opens = behind.starts_with('\'') || (reading.double_quoted_text && behind.starts_with('"'));
    (opens && ["e", "n", "b", "r", "x", "rb", "br"].into_iter().any(is_prefix))
        .then(|| quoted(bytes, length, has_escapes))
}

/// The end of a quoted text that opens at `open`; a doubled quote does not end it. The end of the text if there is no closing
/// quote.
fn quoted(bytes: &[u8], open: usize, has_escapes: bool) -> usize {
    let mark = bytes[open];
    let mut at = open + 1;
    while at < bytes.len() {
        if has_escapes && bytes[at] == b'\\' {
            at += 2;
        } else if bytes[at] != mark {
            at += 1;
        } else if bytes.get(at + 1) == Some(&mark) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    bytes.len()
}

fn block_comment(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `$$text$$`, `$tag$text$tag$`, or a placeholder.
fn dollar(rest: &str) -> (Kind, usize) {
    let name = rest[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(rest.len(), |end| end + 1);
    // `$1$` are two parameters, and `$a$` opens a text in PostgreSQL's dollar quotes, whose tag cannot begin with a digit.
    if rest[name..].starts_with('$') && !rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
        let tag = &rest[..=name];
        let body = &rest[tag.len()..];
        return (Kind::Text, body.find(tag).map_or(rest.len(), |end| tag.len() + end + tag.len()));
    }
    (if name > 1 { Kind::Placeholder } else { Kind::Sign }, name)
}

fn number(bytes: &[u8]) -> usize {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let end_from = |from: usize| {
        bytes[from..].iter().position(|byte| !is_part(*byte)).map_or(bytes.len(), |length| from + length)
    };
    let end = end_from(0);
    // In `0x1e+2` the `e` is a digit, and the `+` begins another number.
    let is_exponent = matches!(bytes[end - 1], b'e' | b'E') && !bytes.starts_with(b"0x");
    let has_sign = matches!(bytes.get(end), Some(b'+' | b'-'));
    match bytes.get(end + 1) {
        Some(digit) if is_exponent && has_sign && digit.is_ascii_digit() => end_from(end + 1),
        _ => end,
    }
}

/// The text of a literal or a name, without its quotes.
pub(crate) fn unquoted(text: &str) -> &str {
    let (open, close) = quotes(text);
    text.get(open..text.len() - close).unwrap_or_default()
}

/// The lengths in bytes of the opening and the closing quote of a token.
pub(crate) fn quotes(text: &str) -> (usize, usize) {
    if text.starts_with('$') && text.len() > 1 {
        let tag = text[1..].find('$').map_or(0, |end| end + 2);
        let closes = tag > 0 && text.len() >= 2 * tag && text.ends_with(&text[..tag]);
        return (tag.min(text.len()), if closes { tag } else { 0 });
    }
    // After a prefix of at most two letters, as in `rb'...'`. Further on, a quote is part of the text.
    let Some(open) = text.find(['\'', '"', '`']).filter(|open| *open <= 2) else { return (0, 0) };
    let mark = text.as_bytes()[open];
    let closes = text.len() > open + 1 && text.as_bytes()[text.len() - 1] == mark;
    (open + 1, usize::from(closes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, reading: Reading, expected: &[(Kind, &str)]) {
        let all: Vec<Token> = tokens(text, reading).collect();
        assert_eq!(all.last().map_or(0, |token| token.end), text.len());
        let found: Vec<(Kind, &str)> = all
            .iter()
            .filter(|token| token.kind != Kind::Blank)
            .map(|token| (token.kind, &text[token.start..token.end]))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn literals_names_and_comments() {
        use Kind::{Comment, Name, Number, Placeholder, Sign, Text, Word};
        check(
            "a.\"B\"=E'it\\'s' -- c\n$x$ '$x$ /* /* */ */ $p 1.5e-3 u&'é' größe t.1",
            Reading::default(),
            &[
                (Word, "a"),
                (Sign, "."),
                (Name, "\"B\""),
                (Sign, "="),
                (Text, "E'it\\'s'"),
                (Comment, "-- c"),
                (Text, "$x$ '$x$"),
                (Comment, "/* /* */ */"),
                (Placeholder, "$p"),
                (Number, "1.5e-3"),
                (Text, "u&'é'"),
                (Word, "größe"),
                (Word, "t"),
                (Sign, "."),
                (Number, "1"),
            ],
        );
        check("'open", Reading::default(), &[(Text, "'open")]);
        check("\u{a0}'x'", Reading::default(), &[(Word, "\u{a0}"), (Text, "'x'")]);
    }

    #[test]
    fn dialects_read_quotes_differently() {
        let other = Reading { backslash_escapes: true, double_quoted_text: true, ..Reading::default() };
        check("'a\\'b' \"c\"", other, &[(Kind::Text, "'a\\'b'"), (Kind::Text, "\"c\"")]);
    }
}
