//! Values that belong to a key because of the layout: XML elements, YAML blocks, and pairs separated by a tab.

use std::ops::Range;

/// The maximum length in bytes of a value whose end is searched for.
const LONGEST: usize = 4 * 1_024;

/// A key in a text.
pub(crate) struct PlacedKey<'a> {
    pub(crate) in_front: &'a str,
    pub(crate) key: &'a str,
    pub(crate) after: &'a str,
}

impl PlacedKey<'_> {
    /// Whether its layout allows a value. Searching for the value itself is expensive.
    pub(crate) fn is_laid_out(&self) -> bool {
        match self.after.as_bytes().first() {
            Some(b'>' | b' ' | b'\n') => self.opens_element(),
            Some(b':') => true,
            Some(b'\t') => self.begins_line(),
            _ => false,
        }
    }

    /// The position of the value in the text after the key.
    pub(crate) fn value(&self) -> Option<Range<usize>> {
        match self.after.as_bytes().first()? {
            b':' => self.block(),
            b'\t' => self.behind_tab(),
            _ => self.element(),
        }
    }

    /// `<password`, `<ns:password`.
    fn opens_element(&self) -> bool {
        let space = self.in_front.strip_suffix(':');
        let outside =
            space.map_or(self.in_front, |space| space.trim_end_matches(|c: char| c.is_alphanumeric()));
        outside.ends_with('<')
    }

    /// `<password>x</password>`, possibly with attributes and other elements. An unclosed tag is not an element: `--token <TOKEN>`.
    fn element(&self) -> Option<Range<usize>> {
        let after = looked_at(self.after);
        let tag = after.find(['>', '<']).filter(|end| after[*end..].starts_with('>'))?;
        if after[..tag].ends_with('/') {
            return None;
        }
        let start = tag + 1;
        let mut from = start;
        loop {
            let close = from + after[from..].find("</")?;
            let name = after[close + 2..].split('>').next().unwrap_or_default();
            if name.rsplit(':').next().unwrap_or_default().trim_end() == self.key {
                return trimmed(after, start..close);
            }
            from = close + 2;
        }
    }

    /// `password: |` and the more indented lines below it.
    fn block(&self) -> Option<Range<usize>> {
        let after = looked_at(self.after);
        let (header, _) = after.split_once('\n')?;
        let sign = header[1..].trim();
        let sign = sign.strip_prefix(['|', '>'])?;
        let (mark, comment) = sign.split_once(" #").map_or((sign, ""), |(mark, comment)| (mark, comment));
        if comment.len() > 256
            || !mark.trim_end().chars().all(|c| matches!(c, '+' | '-') || c.is_ascii_digit())
        {
            return None;
        }
        let line = self.in_front.rsplit('\n').next().unwrap_or_default();
        let indent = |line: &str| line.len() - line.trim_start_matches([' ', '\t']).len();
        let (start, least) = (header.len() + 1, indent(line));
        let lines = after[start..].split_inclusive('\n');
        let length = lines
            .take_while(|line| line.trim().is_empty() || indent(line) > least)
            .map(str::len)
            .sum::<usize>();
        trimmed(after, start..start + length)
    }

    fn begins_line(&self) -> bool {
        self.in_front.is_empty() || self.in_front.ends_with(['\n', '\'', '"'])
    }

    /// A pair alone on its line. Text that may be the type or an alias of a column does not count as a value.
    fn behind_tab(&self) -> Option<Range<usize>> {
        let after = looked_at(self.after);
        let start = after.len() - after.trim_start_matches('\t').len();
        let length = after[start..]
            .find(|c: char| c.is_whitespace() || matches!(c, '\'' | '"'))
            .unwrap_or(after.len() - start);
        let (value, behind) = after[start..].split_at(length);
        let ends = behind.is_empty() || behind.starts_with(['\n', '\r', '\'', '"']);
        let has = |kind: fn(char) -> bool| value.chars().any(kind);
        let is_mixed = has(char::is_uppercase) && has(char::is_lowercase);
        let is_name = value.ends_with([',', ';', ')']) || value.starts_with(['(', '=', '[']);
        let is_value = is_mixed || has(|c| c.is_ascii_digit() || !(c.is_alphanumeric() || c == '_'));
        (ends && !is_name && is_value && !value.is_empty()).then(|| start..start + length)
    }
}

fn looked_at(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

/// A part of a text without surrounding whitespace; `None` if nothing else is in it.
fn trimmed(text: &str, part: Range<usize>) -> Option<Range<usize>> {
    let inside = text[part.clone()].trim_end();
    let start = part.start + inside.len() - inside.trim_start().len();
    (start < part.start + inside.len()).then(|| start..part.start + inside.len())
}

#[cfg(test)]
mod tests {
    use crate::redact::Redactor;

    #[test]
    fn values_are_known_by_the_layout() {
        let redactor = Redactor::default();
        for (text, expected) in [
            ("<password>Zq</password><a>b</a>", "<password>[redacted]</password><a>b</a>"),
            ("<token type=\"x\">Zq</token>", "<token type=\"x\">[redacted]</token>"),
            ("<c:password >\n Zq\n</c:password >", "<c:password >\n [redacted]\n</c:password >"),
            ("<password><![CDATA[Zq]]></password>", "<password>[redacted]</password>"),
            ("<secret><value>Zq</value></secret>", "<secret>[redacted]</secret>"),
            ("a: b\npassword: |\n  Zq\n\n  Zq\nc: d", "a: b\npassword: |\n  [redacted]\nc: d"),
            ("  password: >-\n    Zq\n  c: d", "  password: >-\n    [redacted]\n  c: d"),
            ("user\tann\npassword\tZq7\nrows\t3", "user\tann\npassword\t[redacted]\nrows\t3"),
            ("password\t\tZq#", "password\t\t[redacted]"),
        ] {
            assert_eq!(redactor.text(text), expected);
            assert_eq!(redactor.text(expected), expected);
            let sql = format!("SELECT '{text}' AS b");
            assert!(!redactor.sql_text(&sql).contains("Zq"), "{sql}");
        }
    }

    #[test]
    fn other_layouts_stay() {
        let redactor = Redactor::default();
        for text in [
            "Usage: daglight serve --token <TOKEN> [DIR]",
            "<password/>",
            "<token></token>",
            "CREATE TABLE t (\n\tid\tINT,\n\tpassword\tVARCHAR(20),\n\ttoken\tTEXT\n)",
            "id\tpassword\tname",
            "SELECT token\tt FROM u",
        ] {
            assert_eq!(redactor.text(text), text);
        }
    }
}
