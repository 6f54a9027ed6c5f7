//! The text of a script, and places in it that an error can point at.

use std::fmt;

/// A place in a script. Its `Display` is `path:line:column`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The script, as it was named.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The text of the line.
    pub source_line: String,
}

impl Place {
    /// The line with a caret under the column, as two lines without a line break at the end.
    pub fn quote(&self) -> String {
        let number = self.line.to_string();
        let indent: String = self
            .source_line
            .chars()
            .chain(std::iter::repeat(' '))
            .take(self.column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        format!("{number} | {}\n{:width$} | {indent}^", self.source_line, "", width = number.len())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// A script's path and text, without a byte order mark.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: String,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let after_breaks = text.match_indices('\n').map(|(index, _)| index + 1);
        Self {
            path: path.to_owned(),
            line_starts: std::iter::once(0).chain(after_breaks).collect(),
            text: text.to_owned(),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn place(&self, line: usize, column: usize) -> Place {
        Place {
            path: self.path.clone(),
            line,
            column,
            source_line: self.line(line).trim_end_matches(['\r', '\n']).to_owned(),
        }
    }

    /// The text between two positions of line and column, both from 1; the second is not included.
    pub(crate) fn between(&self, start: (usize, usize), end: (usize, usize)) -> &str {
        self.text.get(self.offset(start)..self.offset(end)).unwrap_or_default()
    }

    /// The text from a position on.
    pub(crate) fn rest(&self, start: (usize, usize)) -> &str {
        self.text.get(self.offset(start)..).unwrap_or_default()
    }

    fn offset(&self, (line, column): (usize, usize)) -> usize {
        let text = self.line(line);
        let in_line =
            text.char_indices().nth(column.saturating_sub(1)).map_or(text.len(), |(index, _)| index);
        self.line_starts.get(line.saturating_sub(1)).map_or(self.text.len(), |start| start + in_line)
    }

    /// The line with its line break.
    fn line(&self, line: usize) -> &str {
        let Some(start) = self.line_starts.get(line.saturating_sub(1)) else { return "" };
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        &self.text[*start..end]
    }
}

#[cfg(test)]
mod tests {
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
}
