//! The rows of a query as a table for a terminal.

use std::{fmt, sync::Arc};

use daglight_capture_policy::{BoundedText, CUT_MARK, Redactor, printable, printable_within};
use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray},
        datatypes::{DataType, Field, Schema, SchemaRef},
        error::ArrowError,
        util::{
            display::{ArrayFormatter, FormatOptions as ArrowFormatOptions},
            pretty::pretty_format_batches,
        },
    },
    common::config::FormatOptions,
    error::DataFusionError,
};

/// The maximum width of a cell, in terminal columns.
const CELL_COLUMNS: usize = 80;

/// The maximum width of a line of a plan, including the metrics of an operator, and the maximum length of the whole.
const TEXT_COLUMNS: usize = 16 * 1024;
const TEXT_BYTES: usize = 256 * 1024;

/// The text of a null cell.
const NULL: &str = "NULL";

/// How much of a value is formatted before it is cut to its width.
const CELL_BYTES: usize = 16 * CELL_COLUMNS;

/// The first rows of a query, and the number of all rows. `Display` draws a table with cells of up to 80 columns: longer texts are
/// cut, which is marked with `…`, control characters are escaped, and a null value is `NULL`, unless `datafusion.format` of the
/// session is set differently. If there are more rows, a line below has their number: `… 980 more rows`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ShownRows {
    /// The columns.
    pub schema: SchemaRef,
    /// The first rows.
    pub first: Vec<RecordBatch>,
    /// The number of all rows.
    pub total_rows: u64,
    /// The type of the cells.
    pub(crate) cells: Cells,
    /// How values are formatted: `datafusion.format` of the session.
    pub(crate) format: FormatOptions,
}

impl ShownRows {
    /// Rows of data, of which the first ones are shown.
    pub fn of_values(schema: SchemaRef, first: Vec<RecordBatch>, total_rows: u64) -> Self {
        Self { schema, first, total_rows, cells: Cells::Values, format: FormatOptions::default() }
    }
}

/// How the cells of a table are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cells {
    /// Values from data: one line each, cut if they are long.
    Values,
    /// Texts of the engine, such as a plan: with line breaks, each line within the table.
    Texts,
}

impl ShownRows {
    /// The table as drawn by `Display`. Its headings and messages, which repeat literals of the query, are shown according to the
    /// policy of this redactor; the values are what the user asked for.
    pub fn shown_by(&self, redactor: &Redactor) -> String {
        Table { rows: self, redactor: Some(redactor) }.to_string()
    }
}

impl fmt::Display for ShownRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Table { rows: self, redactor: None }.fmt(f)
    }
}

struct Table<'a> {
    rows: &'a ShownRows,
    redactor: Option<&'a Redactor>,
}

impl Table<'_> {
    fn heading(&self, name: &str) -> String {
        self.redactor.map_or_else(|| name.to_owned(), |redactor| redactor.name_text(name))
    }

    fn message(&self, error: &ArrowError) -> String {
        let message = error.to_string();
        self.redactor.map_or_else(|| message.clone(), |redactor| redactor.error_text(&message))
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows;
        if rows.schema.fields().is_empty() {
            let s = if rows.total_rows == 1 { "" } else { "s" };
            return write!(f, "({} row{s}, no columns)", rows.total_rows);
        }
        let empty = RecordBatch::new_empty(Arc::clone(&rows.schema));
        let batches = if rows.first.is_empty() { std::slice::from_ref(&empty) } else { &rows.first };
        let heading = |name: &str| self.heading(name);
        let cells: Result<Vec<RecordBatch>, ArrowError> =
            batches.iter().map(|batch| as_cells(batch, rows, heading)).collect();
        let table = cells.and_then(|cells| pretty_format_batches(&cells).map(|table| table.to_string()));
        match table {
            Ok(table) => f.write_str(&table)?,
            // Returning an error from `Display` would make every `to_string` panic.
            Err(error) => {
                write!(f, "(these rows cannot be shown: {})", printable(&self.message(&error)))?;
            }
        }
        let shown: u64 = rows.first.iter().map(|batch| batch.num_rows() as u64).sum();
        match rows.total_rows {
            total if total == shown => Ok(()),
            total => {
                let more = total.saturating_sub(shown);
                write!(f, "\n{CUT_MARK} {more} more {}", if more == 1 { "row" } else { "rows" })
            }
        }
    }
}

/// The batch with the text of each cell.
fn as_cells(
    batch: &RecordBatch,
    rows: &ShownRows,
    heading: impl Fn(&str) -> String,
) -> Result<RecordBatch, ArrowError> {
    let ShownRows { cells: shown_as, format, .. } = rows;
    let head = |field: &Field| {
        let name = printable_within(&heading(field.name()), CELL_COLUMNS);
        match format.types_info {
            true => format!(
                "{name}\n{}",
                printable_within(&heading(&field.data_type().to_string()), CELL_COLUMNS)
            ),
            false => name,
        }
    };
    let fields = batch.schema_ref().fields().iter();
    let fields: Vec<Field> = fields.map(|field| Field::new(head(field), DataType::Utf8, true)).collect();
    let mut options = ArrowFormatOptions::try_from(format).map_err(|error| match error {
        DataFusionError::ArrowError(error, _) => *error,
        error => ArrowError::InvalidArgumentError(error.strip_backtrace()),
    })?;
    // DataFusion's own default, which cannot be distinguished from an empty text.
    if format.null.is_empty() {
        options = options.with_null(NULL);
    }
    let columns: Result<Vec<ArrayRef>, ArrowError> = batch
        .columns()
        .iter()
        .map(|column| {
            let formatter = ArrayFormatter::try_new(column, &options)?;
            let cells = (0..column.len()).map(|row| Some(cell(&formatter, row, *shown_as)));
            Ok(Arc::new(cells.collect::<StringArray>()) as ArrayRef)
        })
        .collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns?, &rows)
}

fn cell(formatter: &ArrayFormatter<'_>, row: usize, shown_as: Cells) -> String {
    let mut written = BoundedText::new(if shown_as == Cells::Texts { TEXT_BYTES } else { CELL_BYTES });
    // It fails when the limit is reached.
    let is_whole = formatter.value(row).write(&mut written).is_ok();
    let written = written.into_text();
    let mut shown = match shown_as {
        Cells::Values => printable_within(&written, CELL_COLUMNS),
        Cells::Texts => {
            let lines = written.lines().map(|line| printable_within(line, TEXT_COLUMNS));
            lines.collect::<Vec<_>>().join("\n")
        }
    };
    if !is_whole && !shown.ends_with(CUT_MARK) {
        shown.push(CUT_MARK);
    }
    shown
}

#[cfg(test)]
mod tests {
    use daglight_capture_policy::{Policy, Profile};
    use datafusion::arrow::array::{BinaryArray, Int64Array, TimestampSecondArray};

    use super::*;

    fn shown(name: &str, column: ArrayRef) -> String {
        let batch = RecordBatch::try_from_iter_with_nullable([(name, column, true)]).unwrap();
        let total_rows = batch.num_rows() as u64;
        let cells = Cells::Values;
        ShownRows {
            schema: batch.schema(),
            first: vec![batch],
            total_rows,
            cells,
            format: FormatOptions::default(),
        }
        .to_string()
    }

    #[test]
    fn a_plan_keeps_its_lines_within_the_table() {
        let plan: ArrayRef =
            Arc::new(StringArray::from(vec!["Projection: x\n  TableScan: \u{1b}[1m\n  ok   t"]));
        let batch = RecordBatch::try_from_iter([("plan", plan)]).unwrap();
        let (schema, cells) = (batch.schema(), Cells::Texts);
        let table =
            ShownRows { schema, first: vec![batch], total_rows: 1, cells, format: FormatOptions::default() }
                .to_string();
        let lines: Vec<&str> = table.lines().collect();
        let trimmed: Vec<&str> = lines[3..6].iter().map(|line| line.trim_end_matches([' ', '|'])).collect();
        assert_eq!(trimmed, ["| Projection: x", "|   TableScan: \\u001b[1m", "|   ok   t"], "{table}");
    }

    #[test]
    fn headings_and_messages_follow_the_policy() {
        let name = "Utf8(\"zqmkhead\")";
        let zone: Option<Arc<str>> = Some("zqmkzone".into());
        let times = TimestampSecondArray::from(vec![1]).with_timezone_opt(zone);
        for (column, marker) in [
            (Arc::new(StringArray::from(vec!["kept"])) as ArrayRef, "zqmkhead"),
            (Arc::new(times), "zqmkzone"),
        ] {
            let batch = RecordBatch::try_from_iter([(name, column)]).unwrap();
            let (schema, cells) = (batch.schema(), Cells::Values);
            let rows = ShownRows {
                schema,
                first: vec![batch],
                total_rows: 1,
                cells,
                format: FormatOptions::default(),
            };
            for (profile, is_shown) in [(Profile::Dev, true), (Profile::Prod, false)] {
                let table = rows.shown_by(Policy::of_profile(profile).redactor());
                assert_eq!(table.contains(marker), is_shown, "{table}");
            }
        }
    }

    #[test]
    fn short_values_are_shown_as_they_are() {
        let table = shown("n", Arc::new(Int64Array::from(vec![Some(1), None, Some(-20)])));
        assert_eq!(table, "+------+\n| n    |\n+------+\n| 1    |\n| NULL |\n| -20  |\n+------+");
    }

    #[test]
    fn a_null_is_not_an_empty_text() {
        let table = shown("t", Arc::new(StringArray::from(vec![Some(""), None])));
        assert_eq!(table, "+------+\n| t    |\n+------+\n|      |\n| NULL |\n+------+");
    }

    #[test]
    fn rows_that_are_not_shown_are_counted() {
        let batch =
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
        for (total_rows, last) in [(1, "+---+"), (2, "… 1 more row"), (981, "… 980 more rows")] {
            let (schema, first, cells) = (batch.schema(), vec![batch.clone()], Cells::Values);
            let table =
                ShownRows { schema, first, total_rows, cells, format: FormatOptions::default() }.to_string();
            assert_eq!(table.lines().last(), Some(last), "{table}");
        }
    }

    #[test]
    fn a_long_value_is_cut_and_widens_no_other_row() {
        let long = "x".repeat(5_000_000);
        let table = shown("t", Arc::new(StringArray::from(vec!["a", &long, "é"])));
        assert!(table.contains(&format!("| {}… |", "x".repeat(79))), "{table}");
        assert!(table.lines().all(|line| line.chars().count() == 84), "{table}");
        let table = shown("b", Arc::new(BinaryArray::from(vec![long.as_bytes()])));
        assert!(table.len() < 1_000 && table.contains('…'), "{table}");
        let marks = "\u{301}".repeat(100_000);
        let table = shown("m", Arc::new(StringArray::from(vec![format!("e{marks}")])));
        assert!(table.len() < 3_000 && table.contains('…'), "{}", table.len());
    }

    #[test]
    fn nothing_in_a_value_or_a_name_acts_on_the_terminal() {
        let texts =
            vec!["a\0b", "\u{1b}[31mred\u{1b}[0m\u{7}", "two\r\n  ok   lines", "\u{202e}gnp.exe", "\u{9b}2J"];
        let table = shown("c\u{1b}]0;x\u{7}\n", Arc::new(StringArray::from(texts)));
        assert!(!table.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{table:?}");
        assert_eq!(table.lines().count(), 3 + 5 + 1, "{table}");
        assert!(table.contains("two\\r\\n  ok   lines") && table.contains("\\u202egnp.exe"), "{table}");
    }
}
