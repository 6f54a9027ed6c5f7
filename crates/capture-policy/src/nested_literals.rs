//! Texts inside literals, where quotes are doubled: `'password = ''x'''`. Nested statements, documents and connection strings are
//! read with the quotes undoubled, and matches are mapped back to the literal.

use std::{borrow::Cow, ops::Range};

use crate::sql_tokens::quotes;

/// The content of a literal.
pub(crate) struct Content<'a> {
    pub(crate) text: Cow<'a, str>,
    /// The start of the content.
    start: usize,
    /// Which bytes of the content were doubled quotes, in order.
    doubled: Vec<usize>,
}

impl<'a> Content<'a> {
    /// The content of a literal that begins at `start`, if it contains quotes.
    pub(crate) fn of(literal: &'a str, start: usize) -> Option<Self> {
        let (open, close) = quotes(literal);
        let inside = literal.get(open..literal.len() - close)?;
        let mark = literal[..open].chars().next_back().filter(|mark| *mark != '$');
        if !inside.contains(['\'', '"']) {
            return None;
        }
        let start = start + open;
        let Some(mark) = mark.filter(|mark| inside.contains(*mark)) else {
            return Some(Self { text: inside.into(), start, doubled: Vec::new() });
        };
        let (mut text, mut doubled) = (String::with_capacity(inside.len()), Vec::new());
        let mut rest = inside;
        while let Some(at) = rest.find(mark) {
            let behind = &rest[at + mark.len_utf8()..];
            text.push_str(&rest[..=at]);
            rest = behind.strip_prefix(mark).unwrap_or(behind);
            if rest.len() < behind.len() {
                doubled.push(text.len() - 1);
            }
        }
        text.push_str(rest);
        Some(Self { text: text.into(), start, doubled })
    }

    /// The position of a part of the content in the surrounding text.
    pub(crate) fn outside(&self, part: &Range<usize>) -> Range<usize> {
        let place = |at: usize| self.start + at + self.doubled.partition_point(|doubled| *doubled < at);
        place(part.start)..place(part.end)
    }

    /// Whether the content may be SQL or a part of it. In prose, quoted words are not literals.
    pub(crate) fn may_be_sql(&self) -> bool {
        const WORDS: [&str; 12] = [
            "select", "insert", "update", "delete", "where", "values", "options", "set", "create", "merge",
            "execute", "copy",
        ];
        let mut words = self.text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words.any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redactor;

    #[test]
    fn places_are_those_of_the_text_around() {
        let sql = "SELECT 'a ''é'' b''''c'";
        let content = Content::of(&sql[7..], 7).unwrap();
        assert_eq!(content.text, "a 'é' b''c");
        for part in ["é", " b", "c", "a '"] {
            let at = content.text.find(part).unwrap();
            let outside = &sql[content.outside(&(at..at + part.len()))];
            assert_eq!(outside.replace("''", "'"), part);
        }
        assert!(Content::of("'abc'", 0).is_none());
        assert_eq!(Content::of("'open ''x", 0).unwrap().text, "open 'x");
    }

    #[test]
    fn credentials_in_texts_in_literals_are_hidden() {
        for (content, expected) in [
            ("password = ''Zq7''", "password = ''[redacted]''"),
            ("password: ''Zq7''", "password: ''[redacted]''"),
            ("{''password'': ''Zq7''}", "{''password'': ''[redacted]''}"),
            ("{''a'': 1, ''password'' : ''Zq7''}", "{''a'': 1, ''password'' : ''[redacted]''}"),
            ("token = ''Zq7'', x", "token = ''[redacted]'', x"),
            ("WHERE password = ''Zq7'' AND a = ''b''", "WHERE password = ''[redacted]'' AND a = ''b''"),
            (
                "OPTIONS (''aws.secret_access_key'' ''Zq7'')",
                "OPTIONS (''aws.secret_access_key'' ''[redacted]'')",
            ),
            ("INSERT INTO u(password) VALUES (''Zq7'')", "INSERT INTO u(password) VALUES (''[redacted]'')"),
            ("SELECT ''token = ''''Zq7'''''' x", "SELECT ''token = ''''[redacted]'''''' x"),
        ] {
            let redactor = Redactor::default();
            let (sql, expected) = (format!("SELECT '{content}' b"), format!("SELECT '{expected}' b"));
            assert_eq!(redactor.sql_text(&sql), expected);
            assert_eq!(redactor.sql_text(&expected), expected);
            assert!(
                !redactor.sql_text(&format!("-- SELECT '{content}'\nSELECT 1")).contains("Zq7"),
                "{content}"
            );
            let plain = content.replace("''''", "'").replace("''", "'");
            for sql in [format!("SELECT $${plain}$$"), format!("Projection: Utf8(\"{plain}\") AS b")] {
                assert!(!redactor.sql_text(&sql).contains("Zq7"), "{sql}");
                assert!(!redactor.plan_text(&sql).contains("Zq7"), "{sql}");
            }
        }
    }

    #[test]
    fn other_literals_stay() {
        for sql in [
            "SELECT 'it''s the ''token'' of ''Ann''' AS b",
            "SELECT 'set the ''password'' here' AS b",
            "SELECT 'SELECT a FROM t WHERE name = ''Ann''' AS b",
            "SELECT '{''name'': ''Ann''}' AS b",
        ] {
            assert_eq!(Redactor::default().sql_text(sql), sql);
        }
    }
}
