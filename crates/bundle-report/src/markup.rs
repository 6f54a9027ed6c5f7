//! HTML in which what comes from a run is escaped, and tables of it.

use std::fmt::{self, Write};

use daglight_capture_policy::printable_lines;

/// Text in which nothing is markup, in elements and in quoted attributes, and nothing hides or reorders what is around it.
pub(crate) struct Escaped<'t>(pub(crate) &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in printable_lines(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The content of a table's cell. Text becomes one by being escaped; markup, by a function that knows what it writes.
pub(crate) struct Cell(String);

impl Cell {
    pub(crate) fn empty() -> Self {
        Self(String::new())
    }

    /// Markup as it stands.
    pub(crate) fn markup(markup: String) -> Self {
        Self(markup)
    }

    pub(crate) fn text(text: &str) -> Self {
        Self(Escaped(text).to_string())
    }

    pub(crate) fn optional(text: Option<&str>) -> Self {
        text.map_or_else(Self::empty, Self::text)
    }

    pub(crate) fn code(text: &str) -> Self {
        Self(format!("<code>{}</code>", Escaped(text)))
    }

    pub(crate) fn optional_code(text: Option<&str>) -> Self {
        text.map_or_else(Self::empty, Self::code)
    }

    pub(crate) fn shown<T>(value: Option<T>, show: impl Fn(T) -> String) -> Self {
        value.map_or_else(Self::empty, |value| Self::text(&show(value)))
    }

    /// A word in a frame; the class gives the colour.
    pub(crate) fn tag(class: &str, word: &str) -> Self {
        Self(format!("<span class=\"tag {class}\">{}</span>", Escaped(word)))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A column of a table, with its heading.
pub(crate) enum Column {
    Text(&'static str),
    Number(&'static str),
    /// A column of bars under an axis, which is markup.
    Chart(String),
}

/// A table. Columns in which no row says anything are left out.
pub(crate) struct Table<'c> {
    columns: &'c [Column],
    /// A row's class, and its cells.
    rows: Vec<(&'static str, Vec<Cell>)>,
}

impl<'c> Table<'c> {
    pub(crate) fn new(columns: &'c [Column], rows: impl Iterator<Item = (&'static str, Vec<Cell>)>) -> Self {
        Self { columns, rows: rows.collect() }
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = |position: usize| self.rows.iter().any(|(_, row)| !row[position].0.is_empty());
        let shown: Vec<(usize, &Column)> =
            self.columns.iter().enumerate().filter(|(position, _)| says(*position)).collect();
        writeln!(f, "<div class=\"scroll\"><table>\n<thead><tr>")?;
        for (_, column) in &shown {
            match column {
                Column::Text(name) => writeln!(f, "<th>{name}</th>")?,
                Column::Number(name) => writeln!(f, "<th class=\"number\">{name}</th>")?,
                Column::Chart(axis) => writeln!(f, "<th class=\"chart\">{axis}</th>")?,
            }
        }
        writeln!(f, "</tr></thead>\n<tbody>")?;
        for (class, row) in &self.rows {
            writeln!(f, "<tr class=\"{class}\">")?;
            for (position, column) in &shown {
                let class = match column {
                    Column::Text(_) => "",
                    Column::Number(_) => "number",
                    Column::Chart(_) => "chart",
                };
                writeln!(f, "<td class=\"{class}\">{}</td>", row[*position])?;
            }
            writeln!(f, "</tr>")?;
        }
        write!(f, "</tbody></table></div>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let shown = Escaped("<a href='x' title=\"y\">&\u{1b}[1m\n").to_string();
        assert_eq!(shown, "&lt;a href=&#39;x&#39; title=&quot;y&quot;&gt;&amp;\\u001b[1m\n");
    }

    #[test]
    fn a_column_that_says_nothing_is_left_out() {
        let columns = [Column::Text("node"), Column::Number("bytes"), Column::Number("rows")];
        let row = |name, rows| {
            ("", vec![Cell::text(name), Cell::empty(), Cell::shown(rows, |rows: u64| rows.to_string())])
        };
        let table = Table::new(&columns, [row("a", None), row("b", Some(3))].into_iter()).to_string();
        assert!(table.contains("<th>node</th>") && table.contains("rows") && !table.contains("bytes"));
        assert_eq!(table.matches("<td").count(), 4);
    }
}
