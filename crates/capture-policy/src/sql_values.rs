//! SQL without the values in it.

use std::{borrow::Cow, ops::Range};

use crate::{
    dialects::LineComments,
    sql_tokens::{Kind, Reading, Token, tokens},
};

/// What is known about the possible dialects of a text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Dialects {
    /// Whether double quotes delimit literals.
    pub(crate) double_quoted_text: bool,
    /// The comment markers of the initial dialect.
    pub(crate) comments: LineComments,
    /// The comment markers of dialects that were set later.
    pub(crate) later_comments: LineComments,
}

/// The text with every literal replaced by `?`; layout and line numbers are kept. Values that are not literals are replaced, too:
/// those in `SET` and `OPTIONS`, unless they are harmless. So are comments, which may contain anything; only their markers are
/// kept.
///
/// If dialects treat quotes differently, everything that is a literal in any of them is replaced.
pub(crate) fn without_values(sql: &str, dialects: Dialects) -> Cow<'_, str> {
    replaced(sql, &value_ranges(sql, dialects))
}

/// The positions of the values that [`without_values`] replaces, in order. They may overlap.
pub(crate) fn value_ranges(sql: &str, dialects: Dialects) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    // The dialect that applies here is unknown. If all readings agree, as for nearly every script, the other passes are skipped.
    let later = dialects.comments.or(dialects.later_comments);
    let readings = [Some(dialects.comments), Some(later).filter(|later| *later != dialects.comments)];
    let has_escapes = has_escaped_quote(sql);
    for comments in readings.into_iter().flatten() {
        let reading = Reading {
            double_quoted_text: dialects.double_quoted_text,
            comments,
            first_comments: dialects.comments,
            ..Reading::default()
        };
        values(sql, reading, &mut ranges);
        if has_escapes {
            values(sql, Reading { backslash_escapes: true, ..reading }, &mut ranges);
        }
    }
    ranges.sort_by_key(|range| range.start);
    ranges
}

fn has_escaped_quote(sql: &str) -> bool {
    sql.match_indices('\\').any(|(at, _)| sql[at + 1..].starts_with(['\'', '"', '\\']))
}

/// The text with each range replaced by `?`, and the same number of lines. Ranges may overlap, but are sorted.
fn replaced<'a>(text: &'a str, ranges: &[Range<usize>]) -> Cow<'a, str> {
    if ranges.is_empty() {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut written = 0;
    for range in ranges {
        if range.end <= written {
            continue;
        }
        if range.start >= written {
            out.push_str(&text[written..range.start]);
            out.push('?');
        }
        let removed = &text[range.start.max(written)..range.end];
        // Line feeds are kept, so that the line of an error still refers to the line of the script.
        out.extend(removed.matches('\n'));
        written = range.end;
    }
    out.push_str(&text[written..]);
    out.into()
}

fn values(sql: &str, reading: Reading, out: &mut Vec<Range<usize>>) {
    let mut place = Place::Start;
    let mut last_word = "";
    // The number of open parentheses within the value of an option.
    let mut depth = 0_usize;
    for token in tokens(sql, reading) {
        let text = &sql[token.start..token.end];
        match token.kind {
            Kind::Blank => {
                if place == Place::OptionKeyPart {
                    place = Place::OptionValue;
                }
                continue;
            }
            Kind::Comment => {
                of_comment(sql, token, out);
                continue;
            }
            Kind::Text | Kind::Number => out.push(token.start..token.end),
            Kind::Word | Kind::Name if place.has_value() && !is_harmless(text) => {
                out.push(token.start..token.end);
            }
            _ => {}
        }
        match text {
            "(" if place.is_option() => depth += 1,
            ")" if depth > 0 => depth -= 1,
            "," if depth > 0 => {}
            _ => {
                place = place.after(token.kind, text, last_word);
                depth = if place.is_option() { depth } else { 0 };
            }
        }
        last_word = if token.kind == Kind::Word { text } else { "" };
    }
}

/// The position of a word in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first word.
    Start,
    /// After `SET`, up to the name.
    SetName,
    SetValue,
    /// In the parentheses of `OPTIONS` and similar, before a key.
    OptionKey,
    /// Inside a key such as `format.x`, which whitespace ends.
    OptionKeyPart,
    OptionValue,
    Elsewhere,
}

impl Place {
    fn has_value(self) -> bool {
        matches!(self, Self::SetValue | Self::OptionValue)
    }

    fn is_option(self) -> bool {
        matches!(self, Self::OptionKey | Self::OptionKeyPart | Self::OptionValue)
    }

    fn after(self, kind: Kind, text: &str, last_word: &str) -> Self {
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        match self {
            _ if text == ";" => Self::Start,
            Self::Start if kind == Kind::Word && is("set") => Self::SetName,
            Self::SetName if text == "=" || is("to") || is("zone") => Self::SetValue,
            Self::SetName | Self::SetValue => self,
            Self::OptionKey | Self::OptionKeyPart | Self::OptionValue if text == ")" => Self::Elsewhere,
            Self::OptionKey | Self::OptionKeyPart | Self::OptionValue if text == "," => Self::OptionKey,
            Self::OptionKeyPart if text == "=" => Self::OptionValue,
            Self::OptionKey | Self::OptionKeyPart => Self::OptionKeyPart,
            Self::OptionValue => self,
            Self::Start | Self::Elsewhere if text == "(" && opens_options(last_word) => Self::OptionKey,
            Self::Start | Self::Elsewhere => Self::Elsewhere,
        }
    }
}

/// Whether options in parentheses follow.
pub(crate) fn opens_options(word: &str) -> bool {
    const WORDS: [&str; 6] =
        ["options", "with", "tblproperties", "serdeproperties", "dbproperties", "properties"];
    WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Values of options that reveal nothing about data.
fn is_harmless(value: &str) -> bool {
    const VALUES: [&str; 26] = [
        "true",
        "false",
        "on",
        "off",
        "default",
        "none",
        "null",
        "auto",
        "utc",
        "local",
        "csv",
        "json",
        "parquet",
        "arrow",
        "avro",
        "snappy",
        "zstd",
        "gzip",
        "bzip2",
        "xz",
        "lz4",
        "brotli",
        "uncompressed",
        "page",
        "chunk",
        "plain",
    ];
    VALUES.iter().any(|known| value.eq_ignore_ascii_case(known))
}

/// Prose without quoted texts and without long numbers.
pub(crate) fn prose_without_values(text: &str) -> Cow<'_, str> {
    let mut ranges = Vec::new();
    of_prose(text, 0, &mut ranges);
    replaced(text, &ranges)
}

/// The number of digits from which a number in a comment counts as a value.
const LONG_NUMBER: usize = 5;

fn of_comment(sql: &str, comment: Token, out: &mut Vec<Range<usize>>) {
    let text = &sql[comment.start..comment.end];
    let text = if text.starts_with("/*") { text.strip_suffix("*/").unwrap_or(text) } else { text };
    let mark = if text.starts_with('#') { 1 } else { 2 };
    let start = text.len() - text.get(mark..).unwrap_or_default().trim_start().len();
    let end = text.trim_end().len();
    if start < end {
        out.push(comment.start + start..comment.start + end);
    }
}

fn of_prose(text: &str, mut at: usize, out: &mut Vec<Range<usize>>) {
    for line in text.split_inclusive('\n') {
        match declared_value(line, &NEAR_DECLARATIONS) {
            Some((_, value)) => out.push(at + value.start..at + value.end),
            None => quoted_in_prose(line, at, out),
        }
        at += line.len();
    }
}

/// How a comment declares a parameter.
const DECLARATION: [&str; 1] = ["param:"];
/// Correct and misspelled declarations of a parameter.
const NEAR_DECLARATIONS: [&str; 6] = ["param:", "params:", "parameter:", "parameters:", "param ", "params "];

/// The name of the parameter that a line of a comment declares with one of `signs`, and the position of its value.
fn declared_value<'a>(line: &'a str, signs: &[&str]) -> Option<(&'a str, Range<usize>)> {
    let lower = line.to_ascii_lowercase();
    let (name, sign) = signs.iter().find_map(|sign| Some((lower.find(sign)?, sign)))?;
    let name = name + sign.len();
    let sign = name + line[name..].find('=')?;
    let value = line.len() - line[sign + 1..].trim_start().len();
    let end = line.trim_end().len();
    (value < end).then(|| (line[name..sign].trim(), value..end))
}

/// Like [`declared_value`], for a line of SQL: the comment may end before the line does.
pub(crate) fn declared_in_sql(line: &str) -> Option<(&str, Range<usize>)> {
    let (name, value) = declared_value(line, &DECLARATION)?;
    // In a comment between `--` and the end of the line, `*/` is text, and a value may end with it.
    let is_line_comment = line[..value.start].contains("--");
    let end = if is_line_comment { None } else { line[value.clone()].find("*/") };
    let end =
        end.map_or(value.end, |end| value.start + line[value.start..value.start + end].trim_end().len());
    (value.start < end).then_some((name, value.start..end))
}

fn quoted_in_prose(line: &str, at: usize, out: &mut Vec<Range<usize>>) {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut done = 0;
    let mut before = None;
    // Which quotes have no closing one in the rest of the line, so that it is not read to its end for each of them.
    let mut without_end = [false; 3];
    for (place, c) in line.char_indices() {
        let starts_word = !before.is_some_and(is_name);
        before = Some(c);
        if place < done || !starts_word {
            continue;
        }
        let rest = &line[place..];
        if let Some(mark) = ['\'', '"', '`'].iter().position(|mark| *mark == c) {
            let without_end = &mut without_end[mark];
            if *without_end {
                continue;
            }
            // Without a closing quote, it is an apostrophe.
            let end = rest
                .match_indices(c)
                .map(|(at, _)| at + 1)
                .skip(1)
                .find(|end| !rest[*end..].starts_with(is_name));
            match end {
                Some(end) => {
                    out.push(at + place..at + place + end);
                    done = place + end;
                }
                None => *without_end = true,
            }
        } else if c.is_ascii_digit() {
            let end = rest.find(|c: char| !(is_name(c) || c == '.')).unwrap_or(rest.len());
            if rest[..end].bytes().filter(u8::is_ascii_digit).count() >= LONG_NUMBER {
                out.push(at + place..at + place + end);
            }
            done = place + end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: &str) {
        assert_eq!(without_values(sql, Dialects::default()), expected);
    }

    #[test]
    fn literals_go_and_everything_else_stays() {
        check("SELECT a, 'it''s' FROM t WHERE x > 1.5e3", "SELECT a, ? FROM t WHERE x > ?");
        check("-- why\nSELECT \"Col 1\"\n  FROM t;", "-- ?\nSELECT \"Col 1\"\n  FROM t;");
        check("COPY t TO 's3://bucket/x.parquet'", "COPY t TO ?");
        check("SELECT 'a\nb', c\nFROM t", "SELECT ?\n, c\nFROM t");
        check("SELECT 'open", "SELECT ?");
        check("SELECT E'a\\'b', 'c\\', d, 'e'", "SELECT ?, ?");
        check("SELECT 'a\\'zq', 'b\\'zq'", "SELECT ?");
    }

    #[test]
    fn comments_go() {
        check("-- param: region = ASIA\n-- a = b\nSELECT $region", "-- ?\n-- ?\nSELECT $region");
        check("/* param: x = value */ SELECT 1", "/* ? */ SELECT ?");
        check("/* first\n   param: x = a b\n*/ SELECT 1", "/* ?\n\n*/ SELECT ?");
        check("--\n/**/ /*/ -- Params: x = zqmk", "--\n/**/ /*?");
        check("SELECT a /*/", "SELECT a /*/");
        check("SELECT a -- `zqmk` */ b\r\nFROM t", "SELECT a -- ?\r\nFROM t");
    }

    #[test]
    fn prose_keeps_what_is_not_a_value() {
        let check = |text: &str, expected: &str| assert_eq!(prose_without_values(text), expected);
        check("it's 'Ann' of 2024, who doesn't", "it's ? of 2024, who doesn't");
        check("WHERE n = 4929123456789", "WHERE n = ?");
        check("of `zqmk one` and \"zqmk\"", "of ? and ?");
        check("Params: x = zqmk", "Params: x = ?");
        check("param x = zqmk\na = b", "param x = ?\na = b");
    }

    #[test]
    fn marks_without_an_end_take_no_more_time() {
        let marks = "'a b ".repeat(100_000);
        let comment = format!("{marks}\"zqmk\" 'c `d");
        assert_eq!(prose_without_values(&comment), format!("{marks}? 'c `d"));
    }

    #[test]
    fn values_that_are_not_literals_are_removed_too() {
        check("SET a.b TO hunter2; SELECT c", "SET a.b TO ?; SELECT c");
        check("SET a.b = true", "SET a.b = true");
        check("SET TIME ZONE zqmk", "SET TIME ZONE ?");
        check("UPDATE t SET a = b", "UPDATE t SET a = b");
        check(
            "COPY t TO 'x' OPTIONS (format.a zqmk, b.c::d true, 'e' 'f')",
            "COPY t TO ? OPTIONS (format.a ?, b.c::d true, ? ?)",
        );
        check("COPY t TO 'x' OPTIONS (a f(b, c), d zqmk) x", "COPY t TO ? OPTIONS (a ?(?, ?), d ?) x");
        check("CREATE TABLE t (a INT) WITH (x = zqmk)", "CREATE TABLE t (a INT) WITH (x = ?)");
        check("WITH x AS (SELECT a FROM b) SELECT c", "WITH x AS (SELECT a FROM b) SELECT c");
    }

    #[test]
    fn double_quotes_are_literals_where_the_dialect_says_so() {
        let dialects = Dialects { double_quoted_text: true, ..Dialects::default() };
        assert_eq!(without_values("SELECT \"zqmk\", a", dialects), "SELECT ?, a");
    }
}
