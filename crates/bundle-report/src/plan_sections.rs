//! The sections with sums over the plans of a run.

use crate::{
    display,
    report::{ColumnLineageReport, LineageReport, OperatorTotal, Report, TableReport},
    section::{Block, Cell, Column, Piece, Section, Table, counted, name, shown, words},
    section_parts::{list_section, section, sentence, table},
};

/// The maximum number of tables shown.
const MAX_TABLES: usize = 30;
/// The maximum number of operators shown.
const MAX_OPERATORS: usize = 15;
/// The maximum number of nodes whose lineage is shown.
const MAX_LINEAGES: usize = 20;
/// The maximum number of source columns shown for a column.
const MAX_SOURCES: usize = 4;

/// What was read from each table, by node.
pub(crate) fn tables(report: &Report) -> Section<'_> {
    let columns = vec![
        Column::text("table"),
        Column::text("node"),
        Column::number("rows"),
        Column::number("bytes read"),
        Column::number("files"),
        Column::number("of bytes"),
        Column::number("row groups"),
        Column::number("pages"),
        Column::number("requests"),
    ];
    list_section("Reads of tables", columns, report.tables.iter().take(MAX_TABLES).map(table_row))
}

fn table_row(table: &TableReport) -> Vec<Cell<'_>> {
    let pruned = |read: Option<u64>, pruned: Option<u64>| match (read, pruned.unwrap_or(0)) {
        (None, _) => Vec::new(),
        (Some(read), 0) => words(display::count(read)),
        (Some(read), pruned) => words(format!("{}, {} pruned", display::count(read), display::count(pruned))),
    };
    vec![
        name(table.table.as_str()),
        name(table.node.as_deref()),
        shown(table.rows, display::count),
        shown(table.bytes_read, display::bytes),
        shown(table.files, display::count),
        shown(table.file_bytes, display::bytes),
        pruned(table.row_groups_read, table.row_groups_pruned),
        pruned(table.pages_read, table.pages_pruned),
        counted(table.requests),
    ]
}

/// The operators that computed longest.
pub(crate) fn operators(report: &Report) -> Section<'_> {
    let columns = vec![
        Column::text("operator"),
        Column::text("node"),
        Column::number("computed"),
        Column::number("waited"),
        Column::number("rows"),
        Column::number("memory"),
        Column::number("spilled"),
    ];
    let shown = report.operators.iter().filter(|operator| operator.compute_ms > 0.0).take(MAX_OPERATORS);
    let table = table(columns, shown.map(operator_row));
    let how =
        table.is_some().then(|| sentence("Computed, and waited for files to be opened or for those that read the rows, in all partitions together, which run at the same \
             time."));
    section("Time per operator", how.into_iter().chain(table).collect())
}

fn operator_row(operator: &OperatorTotal) -> Vec<Cell<'_>> {
    vec![
        name(operator.operator.as_str()),
        name(operator.node.as_deref()),
        shown(operator.compute_ms, display::duration),
        shown(operator.waited_ms.filter(|ms| *ms >= 1.0), display::duration),
        shown(operator.rows, display::count),
        shown(operator.memory_bytes, display::bytes),
        shown((operator.spilled_bytes > 0).then_some(operator.spilled_bytes), display::bytes),
    ]
}

/// Where the columns of the nodes come from.
pub(crate) fn lineage(report: &Report) -> Section<'_> {
    let shown = report.lineage.iter().take(MAX_LINEAGES).enumerate();
    let mut blocks: Vec<Block<'_>> =
        shown.map(|(position, lineage)| of_node(lineage, position == 0)).collect();
    let more = report.lineage.len().saturating_sub(MAX_LINEAGES);
    if more > 0 {
        let more = display::plural(more as u64, "more node");
        blocks.push(sentence(format!("{more}: see the JSON report.")));
    }
    section("Lineage", blocks)
}

fn of_node(lineage: &LineageReport, is_open: bool) -> Block<'_> {
    let rows = lineage.columns.iter().map(|column| vec![name(column.name.as_str()), made_of(column)]);
    let mut more = Vec::new();
    if lineage.columns_left_out > 0 {
        more.push(format!("{} more.", display::plural(lineage.columns_left_out, "column")));
    }
    if !lineage.rows_by.is_empty() {
        more.push(format!(
            "Which rows there are, and their order, is decided by {}.",
            display::first_of(&lineage.rows_by, lineage.rows_by.len())
        ));
    }
    if !lineage.unresolved.is_empty() {
        more.push(format!(
            "Not followed: {}.",
            display::first_of(&lineage.unresolved, lineage.unresolved.len())
        ));
    }
    Block::Data {
        title: vec![Piece::Name(&lineage.node), Piece::words(" is made of")],
        table: Table::new(vec![Column::text("column"), Column::text("made of")], rows).listed(),
        more: (!more.is_empty()).then(|| more.join(" ")),
        is_open,
    }
}

fn made_of(column: &ColumnLineageReport) -> Cell<'_> {
    let mut cell = listed(&column.from);
    match column.derivation.as_deref() {
        None if !column.chosen_by.is_empty() => cell.push(Piece::words("a constant or a count of rows")),
        // A count of rows has no source columns, either.
        None if column.window.is_empty() => cell.push(Piece::words("a count of rows, or a constant")),
        None => {
            cell.push(Piece::words("a constant, a count of rows, or the number of a row in the window by "));
            cell.extend(listed(&column.window));
        }
        // A copied column needs no description.
        Some("identity") => {}
        Some(derivation) => cell.push(Piece::words(format!(" ({derivation})"))),
    }
    if !column.chosen_by.is_empty() {
        cell.push(Piece::words(", chosen by "));
        cell.extend(listed(&column.chosen_by));
    }
    cell
}

fn listed(columns: &[String]) -> Cell<'_> {
    let mut cell = Vec::new();
    for (position, column) in columns.iter().take(MAX_SOURCES).enumerate() {
        cell.extend([Piece::words(if position > 0 { ", " } else { "" }), Piece::Name(column)]);
    }
    let more = columns.len().saturating_sub(MAX_SOURCES);
    if more > 0 {
        cell.push(Piece::words(format!(" and {more} more")));
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_is_made_of_no_column_is_said_to_be_what_it_can_be() {
        let said = |window: &[&str], chosen_by: &[&str]| -> String {
            let owned = |columns: &[&str]| columns.iter().map(|&column| column.to_owned()).collect();
            let (name, window, chosen_by) = ("n".into(), owned(window), owned(chosen_by));
            let column = ColumnLineageReport { name, window, chosen_by, ..ColumnLineageReport::default() };
            let words = |piece| match piece {
                Piece::Words(words) => words.into_owned(),
                Piece::Name(name) => name.to_owned(),
                _ => String::new(),
            };
            made_of(&column).into_iter().map(words).collect()
        };
        assert_eq!(said(&[], &[]), "a count of rows, or a constant");
        let number =
            "a constant, a count of rows, or the number of a row in the window by orders.day, orders.id";
        assert_eq!(said(&["orders.day", "orders.id"], &[]), number);
        let chosen = "a constant or a count of rows, chosen by orders.amount";
        assert_eq!(said(&[], &["orders.amount"]), chosen);
    }
}
