//! The text of a script, and positions in it for errors.

use std::{borrow::Cow, fmt, sync::Arc};

use daglight_capture_policy::{CUT_MARK, Redactor, printable, printable_lines, shown_width};

/// How many characters of a line are shown on either side of a position.
const SHOWN_BESIDE: usize = 100;

/// The number of characters between two entries of the position table.
const STRIDE: usize = 64;

/// A place in a script. `Display` and `Debug` are `path:line:column`.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    /// The path of the script as given.
    pub path: String,
    /// The line, starting at 1.
    pub line: usize,
    /// The column, starting at 1, in characters.
    pub column: usize,
    /// The text of the line.
    pub source_line: String,
    script: ScriptText,
}

/// A line of a script, to which an error elsewhere refers. Its `Display` is `line 3`, or `line 3 of other.sql` if the script
/// consists of several files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineOfScript {
    /// The line, starting at 1.
    pub line: usize,
    /// The file, if there are several.
    pub path: Option<Arc<str>>,
}

impl fmt::Display for LineOfScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            None => write!(f, "line {}", self.line),
            Some(path) => write!(f, "line {} of {}", self.line, printable(path)),
        }
    }
}

/// The text of a script.
#[derive(Clone, PartialEq, Eq)]
struct ScriptText(Arc<str>);

impl Place {
    /// The line with a caret below the column, as two lines without a trailing line break. A long line is cut around the column;
    /// control characters are escaped.
    ///
    /// This shows the original script. Use [`Place::quoted_by`] if a policy decides what may be shown.
    pub fn quote(&self) -> String {
        quoted(self.line, self.column, &self.source_line)
    }

    /// The [quote](Place::quote) of this place as the redactor allows. Hidden parts are determined in the whole script, before the
    /// line is cut.
    pub fn quoted_by(&self, redactor: &Redactor) -> String {
        // With the whole script, because a secret may begin lines above; the column is adjusted for what is left out before it.
        let (shown, column) = redactor.script_line(&self.script.0, self.line, self.column);
        quoted(self.line, column, &shown)
    }
}

/// A line with its number, and a caret below.
fn quoted(line: usize, column: usize, source: &str) -> String {
    let number = line.to_string();
    let before = column.saturating_sub(1);
    // Columns are counted in characters, and text is cut by bytes.
    let split = source.char_indices().nth(before);
    let (left, right) = source.split_at(split.map_or(source.len(), |(at, _)| at));
    // An error at the end of a line points to the position after its last character.
    let beyond = before.saturating_sub(left.chars().count()).min(SHOWN_BESIDE);
    let (left, right) = (end_of(left), start_of(right));
    let indent: String = left
        // A tab is kept, so that it is as wide as in the line above, whatever width the terminal uses.
        .split_inclusive('\t')
        .map(|part| match part.strip_suffix('\t') {
            Some(part) => format!("{}\t", " ".repeat(shown_width(part))),
            None => " ".repeat(shown_width(part)),
        })
        .collect();
    let indent = indent + &" ".repeat(beyond);
    format!("{number} | {left}{right}\n{:width$} | {indent}^", "", width = number.len())
}

/// The end of the text before a position, for display. Tabs are kept: only the terminal knows their width.
fn end_of(text: &str) -> String {
    match text.char_indices().rev().nth(SHOWN_BESIDE) {
        Some((at, c)) => format!("{CUT_MARK}{}", printable_lines(&text[at + c.len_utf8()..])),
        None => printable_lines(text).into_owned(),
    }
}

/// The start of the text after a position, for display.
fn start_of(text: &str) -> String {
    match text.char_indices().nth(SHOWN_BESIDE) {
        Some((at, _)) => format!("{}{CUT_MARK}", printable_lines(&text[..at])),
        None => printable_lines(text).into_owned(),
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", printable(&self.path), self.line, self.column)
    }
}

/// The path and text of a script's file, without a byte order mark.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: Arc<str>,
    text: Arc<str>,
    lines: Vec<LineStart>,
    /// The byte offset of every [`STRIDE`]th character. Empty if all characters are ASCII.
    every_stride: Vec<usize>,
}

/// The text with lines such as `#!/usr/bin/env datafusion-cli -f`, which are not SQL, replaced by blanks. Only before statements:
/// within one, a line of a quoted text may begin like this.
fn without_interpreters(text: &str) -> Cow<'_, str> {
    if !text.contains("#!") {
        return text.into();
    }
    let mut is_between = true;
    let lines = text.split_inclusive('\n').map(|line| {
        let words = line.trim();
        if is_between && line.starts_with("#!") {
            let blank = |c: char| if c.is_whitespace() { c } else { ' ' };
            return line.chars().map(blank).collect();
        }
        if !words.is_empty() && !words.starts_with("--") {
            is_between = words.ends_with(';');
        }
        Cow::Borrowed(line)
    });
    lines.collect::<String>().into()
}

/// The start of a line.
#[derive(Debug, Clone, Copy)]
struct LineStart {
    byte: usize,
    character: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        // Windows editors write a byte order mark, which the tokenizer takes for a word.
        let text = &*without_interpreters(text.strip_prefix('\u{feff}').unwrap_or(text));
        let mut lines = vec![LineStart { byte: 0, character: 0 }];
        let mut every_stride = Vec::new();
        // The usual case: every character is a byte, and no strides are needed.
        if text.is_ascii() {
            let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            lines.extend(breaks.map(|(at, _)| LineStart { byte: at + 1, character: at + 1 }));
        } else {
            for (character, (byte, c)) in text.char_indices().enumerate() {
                if character.is_multiple_of(STRIDE) {
                    every_stride.push(byte);
                }
                if c == '\n' {
                    lines.push(LineStart { byte: byte + 1, character: character + 1 });
                }
            }
        }
        Self { path: path.into(), text: text.into(), lines, every_stride }
    }

    pub(crate) fn path(&self) -> &Arc<str> {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn place(&self, line: usize, column: usize) -> Place {
        Place {
            path: self.path.to_string(),
            line,
            column,
            source_line: self.line(line).trim_end_matches(['\r', '\n']).to_owned(),
            script: ScriptText(Arc::clone(&self.text)),
        }
    }

    /// The text between two positions (line and column, both starting at 1); the second is exclusive.
    pub(crate) fn between(&self, start: (usize, usize), end: (usize, usize)) -> &str {
        self.text.get(self.offset(start)..self.offset(end)).unwrap_or_default()
    }

    /// The text from a position on.
    pub(crate) fn rest(&self, start: (usize, usize)) -> &str {
        self.text.get(self.offset(start)..).unwrap_or_default()
    }

    /// The byte offset of a position. Takes constant time within a line, because it is called twice for each token.
    fn offset(&self, (line, column): (usize, usize)) -> usize {
        let Some(start) = self.lines.get(line.saturating_sub(1)) else { return self.text.len() };
        let end = self.lines.get(line).map_or(self.text.len(), |next| next.byte);
        let character = start.character + column.saturating_sub(1);
        let byte = match self.every_stride.get(character / STRIDE) {
            None if self.every_stride.is_empty() => character,
            None => self.text.len(),
            Some(known) => {
                let rest = self.text[*known..].char_indices().nth(character % STRIDE);
                rest.map_or(self.text.len(), |(at, _)| known + at)
            }
        };
        // The tokenizer may return a column after the end of the line.
        byte.min(end)
    }

    /// The line with its line break.
    fn line(&self, line: usize) -> &str {
        let Some(start) = self.lines.get(line.saturating_sub(1)) else { return "" };
        let end = self.lines.get(line).map_or(self.text.len(), |next| next.byte);
        &self.text[start.byte..end]
    }
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};

    use super::*;

    #[test]
    fn the_caret_stands_under_the_column() {
        let source = Source::new("a.sql", "SELECT 1;\r\n\tSELEC ä FROM t");
        let place = source.place(2, 8);
        assert_eq!(place.to_string(), "a.sql:2:8");
        assert_eq!(place.quote(), "2 | \tSELEC ä FROM t\n  | \t      ^");
        assert_eq!(source.place(1, 99).source_line, "SELECT 1;");
    }

    #[test]
    fn columns_count_characters_and_no_byte_order_mark() {
        let source = Source::new("a.sql", "\u{feff}SELECT 'ä', b\nFROM t");
        assert_eq!(source.between((1, 8), (1, 11)), "'ä'");
        assert_eq!(source.between((1, 13), (2, 7)), "b\nFROM t");
        assert_eq!(source.between((2, 6), (9, 9)), "t");
    }

    #[track_caller]
    fn check_quote(line: &str, column: usize, expected: &str) {
        let place = Place {
            path: "a.sql".into(),
            line: 1,
            column,
            source_line: line.into(),
            script: ScriptText(line.into()),
        };
        assert_eq!(place.quote(), expected);
        assert_eq!(place.quoted_by(&Redactor::default()), expected);
    }

    #[test]
    fn the_caret_counts_what_is_shown() {
        check_quote("'日本' x", 6, "1 | '日本' x\n  |        ^");
        check_quote("'\u{1b}[2J' x", 8, "1 | '\\u001b[2J' x\n  |             ^");
        check_quote("'\u{202e}\r  ok' x", 10, "1 | '\\u202e\\r  ok' x\n  |                ^");
        check_quote("'e\u{301}' x", 6, "1 | 'e\u{301}' x\n  |     ^");
    }

    #[test]
    fn a_long_line_is_shown_around_the_column() {
        let line = format!("SELECT 1 IN ({}x{})", "1, ".repeat(20_000), ", 2".repeat(20_000));
        let quote = Source::new("a.sql", &line).place(1, 60_014).quote();
        let lines: Vec<&str> = quote.lines().collect();
        let caret = lines[1].chars().count() - 1;
        assert_eq!(lines[0].chars().nth(caret), Some('x'), "{quote}");
        assert!(lines[0].starts_with("1 | …") && lines[0].ends_with('…'), "{quote}");
        assert!(lines[0].chars().count() < 220, "{quote}");
    }

    #[test]
    fn a_line_is_cut_after_what_is_hidden() {
        let policy = Policy::of_profile(Profile::Prod);
        let words = "MKw0 ".repeat(40);
        for (script, expected) in [
            (format!("SELECT '{words}' AS a, zz"), "1 | SELECT ? AS a, zz\n  |                ^"),
            (
                format!("SELECT 1 /* {words}*/ AS a, zz"),
                "1 | SELECT ? /* ? */ AS a, zz\n  |                        ^",
            ),
            (format!("SELECT $${words}$$ AS a, zz"), "1 | SELECT ? AS a, zz\n  |                ^"),
            (format!("SELECT zz, '{words}'"), "1 | SELECT zz, ?\n  |        ^"),
        ] {
            let column = script[..script.find("zz").unwrap()].chars().count() + 1;
            let place = Source::new("a.sql", &script).place(1, column);
            assert_eq!(place.quoted_by(policy.redactor()), expected);
        }
        let beside = format!("'{}' AS {}", "a".repeat(33), "q".repeat(43));
        let script =
            format!("SELECT {beside}; SET datafusion.execution.parquet.created_by TO MKw2; SELECT zz");
        let place = Source::new("a.sql", &script).place(1, script.len() - 1);
        let shown = place.quoted_by(policy.redactor());
        assert!(!shown.contains("MKw") && shown.contains("created_by TO ?; SELECT zz"), "{shown}");
    }

    #[test]
    fn positions_of_a_long_line_are_found_wherever_they_are() {
        for unit in ["a, ", "ä, "] {
            let text = format!("x\n{}\nlast", unit.repeat(1_000));
            let source = Source::new("a.sql", &text);
            for at in [0, 1, 21, 22, 500, 999] {
                let found = source.between((2, 3 * at + 1), (2, 3 * at + 4));
                assert_eq!(found, unit, "{at}");
            }
            assert_eq!(source.between((2, 9_000), (3, 1)), "");
            assert_eq!(source.between((3, 1), (3, 99)), "last");
        }
    }
}
