//! The structure of a report before it is rendered as Markdown or HTML: sections, tables, and pieces of content.
//!
//! A renderer decides how a piece looks, and escapes it. What is shown, in which words and in which order, is decided here.

use std::borrow::Cow;

use daglight_run_bundle::NodeStatus;

use crate::{
    charts::Chart,
    display,
    findings::FindingKind,
    report::{NodeReport, PlanReport},
    waterfall::Axis,
};

/// The part above the sections.
pub(crate) struct Opening<'r> {
    pub(crate) name: &'r str,
    pub(crate) status: Tag<'r>,
    /// Each with its tone.
    pub(crate) findings: Vec<(Tone, &'static str, Cell<'r>)>,
    pub(crate) links: Vec<Link<'r>>,
    /// The key figures of the run, each with its name.
    pub(crate) tiles: Vec<(&'static str, String)>,
}

/// An address outside the bundle.
pub(crate) struct Link<'r> {
    pub(crate) name: &'static str,
    pub(crate) url: &'r str,
    /// Whether it is safe as a link: a web address without anything that could end it or hide a part of it.
    pub(crate) is_safe: bool,
}

/// A part of the report. A section without blocks is not shown.
pub(crate) struct Section<'r> {
    /// `None` if it belongs to the opening.
    pub(crate) title: Option<&'static str>,
    pub(crate) blocks: Vec<Block<'r>>,
}

/// A part of a section.
pub(crate) enum Block<'r> {
    Sentence(Cell<'r>),
    Table(Table<'r>),
    Facts(Vec<(Cow<'r, str>, Cell<'r>)>),
    /// The text of an error, below a line with what failed.
    Failure(Cell<'r>, &'r str),
    /// Lines that a page shows elsewhere, such as in a tooltip.
    TextOnly(Cell<'r>, String),
    /// The calls in which a thread was blocked, one per line: all of them on a page, only the first ones in text.
    Calls {
        title: Cell<'r>,
        all: String,
        first: String,
    },
    /// The plan of a query, as a tree of operators; on a page the first one is expanded.
    Plan {
        plan: &'r PlanReport,
        is_open: bool,
    },
    /// Lines of a difference: those that begin with `- ` were removed, and those with `+ ` were added.
    Changes(Cell<'r>, Vec<Cow<'r, str>>),
    /// Values over the time of the run.
    Charts(Vec<Chart>, Axis),
    /// The data of a node: a line with its subject, and a table; collapsible on a page.
    Data {
        title: Cell<'r>,
        table: Table<'r>,
        more: Option<String>,
        is_open: bool,
    },
    /// The place for the timeline and the DAG on a page. Text has the table of the nodes instead.
    Drawings(&'r [NodeReport]),
}

/// The pieces of a sentence, or of a cell.
pub(crate) type Cell<'r> = Vec<Piece<'r>>;

/// A piece of content. Names, code and messages come from the run; words may.
pub(crate) enum Piece<'r> {
    Words(Cow<'r, str>),
    Name(&'r str),
    Code(Cow<'r, str>),
    Message(&'r str),
    Tag(Tag<'r>),
    /// The mark of the longest chain of dependencies.
    OnPath,
    /// The nodes of that chain, which are marked on a page.
    Path(&'r [String]),
    Node(&'r NodeReport),
    Bar(&'r NodeReport, Axis),
    /// A bar for a share, from 0 to 1.
    Share(f64),
    /// The numbers of values in ranges, as small bars.
    Histogram(&'r [u64]),
    /// The explanation of a kind of finding, which is at the end of a page.
    Explanation(FindingKind),
    /// A file of the bundle, which is linked from a page next to it.
    File(&'r str),
    Query {
        id: &'r str,
        plan_file: Option<&'r str>,
    },
    Operators(Vec<Operator<'r>>),
}

/// An operator of a query, with its share of the query's compute time.
pub(crate) struct Operator<'r> {
    pub(crate) name: String,
    pub(crate) detail: &'r str,
    pub(crate) share: f64,
    pub(crate) time: String,
}

/// A highlighted word.
pub(crate) struct Tag<'r> {
    pub(crate) tone: Tone,
    pub(crate) word: Cow<'r, str>,
    /// Its tooltip.
    pub(crate) detail: Option<String>,
}

/// The tone of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Note,
    Warning,
    Bad,
    Muted,
}

/// A table, each row with as many cells as there are columns.
pub(crate) struct Table<'r> {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row<'r>>,
    /// Whether it is a list in text, because its cells are sentences. This is decided for each table, independent of its content: a
    /// section has the same form in all reports.
    pub(crate) is_list: bool,
}

/// A row.
pub(crate) struct Row<'r> {
    /// The status of the row's node, if it belongs to one.
    pub(crate) status: Option<NodeStatus>,
    /// The only medium in which it is shown.
    pub(crate) medium: Option<Medium>,
    pub(crate) cells: Vec<Cell<'r>>,
}

/// A column with its heading.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) content: Content,
    pub(crate) fit: Fit,
    medium: Option<Medium>,
}

/// What to do with a column if the table is too wide for a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Keep it; if it contains only names, they are shortened in the middle.
    Kept,
    /// Leave it out.
    Spare,
}

/// The content of a column.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Text,
    Number,
    /// Bars under an axis.
    Chart(Axis),
}

/// The medium of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Page,
    Markdown,
}

impl Column {
    pub(crate) fn text(name: &'static str) -> Self {
        Self { name, content: Content::Text, fit: Fit::Kept, medium: None }
    }

    pub(crate) fn number(name: &'static str) -> Self {
        Self { name, content: Content::Number, fit: Fit::Kept, medium: None }
    }

    pub(crate) fn chart(axis: Axis) -> Self {
        Self { name: "", content: Content::Chart(axis), fit: Fit::Kept, medium: Some(Medium::Page) }
    }

    /// Sets what to do with the column if there is no room.
    pub(crate) fn fit(self, fit: Fit) -> Self {
        Self { fit, ..self }
    }

    /// Restricts the column to one medium: in the other, another column has its content.
    pub(crate) fn only(self, medium: Medium) -> Self {
        Self { medium: Some(medium), ..self }
    }
}

impl<'r> Table<'r> {
    pub(crate) fn new(columns: Vec<Column>, rows: impl IntoIterator<Item = Vec<Cell<'r>>>) -> Self {
        let rows = rows.into_iter().map(|cells| Row { status: None, medium: None, cells }).collect();
        Self { columns, rows, is_list: false }
    }

    /// Makes it a list in text.
    pub(crate) fn listed(self) -> Self {
        Self { is_list: true, ..self }
    }

    /// Whether each cell of a column is a name.
    pub(crate) fn holds_names(&self, position: usize) -> bool {
        let cells = self.rows.iter().map(|row| &row.cells[position][..]);
        let mut filled = cells.filter(|cell| !cell.is_empty()).peekable();
        filled.peek().is_some() && filled.all(|cell| matches!(cell, [Piece::Name(_) | Piece::Node(_)]))
    }

    /// The rows for a medium.
    pub(crate) fn rows(&self, medium: Medium) -> impl Iterator<Item = &Row<'r>> {
        self.rows.iter().filter(move |row| row.medium.is_none_or(|only| only == medium))
    }

    /// The positions of the non-empty columns for a medium.
    pub(crate) fn shown(&self, medium: Medium) -> Vec<usize> {
        let of_medium = |position: &usize| self.columns[*position].medium.is_none_or(|only| only == medium);
        let says = |position: &usize| self.rows.iter().any(|row| !row.cells[*position].is_empty());
        (0..self.columns.len()).filter(of_medium).filter(says).collect()
    }
}

impl<'r> Piece<'r> {
    pub(crate) fn words(words: impl Into<Cow<'r, str>>) -> Self {
        Self::Words(words.into())
    }

    pub(crate) fn tag(tone: Tone, word: impl Into<Cow<'r, str>>) -> Self {
        Self::Tag(Tag { tone, word: word.into(), detail: None })
    }
}

/// A cell of words.
pub(crate) fn words<'r>(text: impl Into<Cow<'r, str>>) -> Cell<'r> {
    let text = text.into();
    if text.is_empty() { Vec::new() } else { vec![Piece::Words(text)] }
}

/// A cell with a name, or an empty one.
pub(crate) fn name<'r>(name: impl Into<Option<&'r str>>) -> Cell<'r> {
    name.into().filter(|name| !name.is_empty()).map(Piece::Name).into_iter().collect()
}

/// A cell with code, or an empty one.
pub(crate) fn code<'r>(code: impl Into<Option<&'r str>>) -> Cell<'r> {
    code.into().filter(|code| !code.is_empty()).map(|code| Piece::Code(code.into())).into_iter().collect()
}

/// A cell with a formatted number, or an empty one.
pub(crate) fn shown<'r, T>(value: impl Into<Option<T>>, show: impl Fn(T) -> String) -> Cell<'r> {
    value.into().map(|value| Piece::words(show(value))).into_iter().collect()
}

/// A count, or an empty cell for 0.
pub(crate) fn counted<'r>(count: u64) -> Cell<'r> {
    shown((count > 0).then_some(count), display::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_says_nothing_or_is_of_the_other_medium_is_left_out() {
        let columns = vec![
            Column::text("node"),
            Column::number("bytes"),
            Column::number("rows"),
            Column::text("status").only(Medium::Markdown),
        ];
        let row = |node, rows| vec![name(node), counted(0), shown(rows, display::count), words("ok")];
        let table = Table::new(columns, [row("a", None), row("b", Some(3))]);
        assert_eq!(table.shown(Medium::Page), [0, 2]);
        assert_eq!(table.shown(Medium::Markdown), [0, 2, 3]);
    }
}
