//! Sections of one table, and what else many of them are made of.

use std::borrow::Cow;

use crate::section::{Block, Cell, Column, Piece, Section, Table};

pub(crate) fn section<'r>(title: &'static str, blocks: Vec<Block<'r>>) -> Section<'r> {
    Section { title: Some(title), blocks }
}

/// A section of one table; of nothing where the table has no row.
pub(crate) fn table_section<'r>(
    title: &'static str,
    columns: Vec<Column>,
    rows: impl IntoIterator<Item = Vec<Cell<'r>>>,
) -> Section<'r> {
    section(title, table(columns, rows).into_iter().collect())
}

/// As [`table_section`], of a table that text has as a list.
pub(crate) fn list_section<'r>(
    title: &'static str,
    columns: Vec<Column>,
    rows: impl IntoIterator<Item = Vec<Cell<'r>>>,
) -> Section<'r> {
    section(title, list(columns, rows).into_iter().collect())
}

/// As [`table`], which text has as a list.
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
