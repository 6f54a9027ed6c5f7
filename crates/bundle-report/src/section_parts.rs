//! Sections with one table, and other common parts.

use std::borrow::Cow;

use crate::section::{Block, Cell, Column, Piece, Section, Table};

pub(crate) fn section<'r>(title: &'static str, blocks: Vec<Block<'r>>) -> Section<'r> {
    Section { title: Some(title), blocks }
}

/// A section with one table; empty if the table has no rows.
pub(crate) fn table_section<'r>(
    title: &'static str,
    columns: Vec<Column>,
    rows: impl IntoIterator<Item = Vec<Cell<'r>>>,
) -> Section<'r> {
    section(title, table(columns, rows).into_iter().collect())
}

/// Like [`table_section`], for a table that is a list in text.
pub(crate) fn list_section<'r>(
    title: &'static str,
    columns: Vec<Column>,
    rows: impl IntoIterator<Item = Vec<Cell<'r>>>,
) -> Section<'r> {
    section(title, list(columns, rows).into_iter().collect())
}

/// Like [`table`], as a list in text.
pub(crate) fn list<'r>(
    columns: Vec<Column>,
    rows: impl IntoIterator<Item = Vec<Cell<'r>>>,
) -> Option<Block<'r>> {
    let table = Table::new(columns, rows).listed();
    (!table.rows.is_empty()).then_some(Block::Table(table))
}

pub(crate) fn table<'r>(
    columns: Vec<Column>,
    rows: impl IntoIterator<Item = Vec<Cell<'r>>>,
) -> Option<Block<'r>> {
    let table = Table::new(columns, rows);
    (!table.rows.is_empty()).then_some(Block::Table(table))
}

pub(crate) fn sentence<'r>(text: impl Into<Cow<'r, str>>) -> Block<'r> {
    Block::Sentence(vec![Piece::words(text)])
}
