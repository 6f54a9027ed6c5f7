//! The data of the nodes, as a section.

use daglight_run_bundle::SummarySource;

use crate::{
    display,
    report::{ColumnReport, DataReport, Report, ValueReport},
    section::{Block, Cell, Column, Piece, Section, Table, code, name, shown, words},
    section_parts::{section, sentence},
};

/// The maximum number of nodes whose data is shown; the JSON report has more.
const MAX_NODES: usize = 20;
/// The maximum number of values shown for a column.
const MAX_VALUES: usize = 3;
/// The maximum number of characters shown of a value.
const MAX_CHARS: usize = 40;

pub(crate) fn data(report: &Report) -> Section<'_> {
    let shown = report.data.iter().take(MAX_NODES).enumerate();
    let mut blocks: Vec<Block<'_>> = shown.map(|(position, data)| of_node(data, position == 0)).collect();
    let more = (report.data.len().saturating_sub(MAX_NODES) as u64).saturating_add(report.data_left_out);
    if more > 0 {
        let more = display::plural(more, "more node");
        let text = format!("{more} had their data summarised: the JSON report has the first of them.");
        blocks.push(sentence(text));
    }
    section("Data of the outputs", blocks)
}

fn of_node(data: &DataReport, is_open: bool) -> Block<'_> {
    let columns = data.columns.len() as u64 + data.columns_left_out;
    let size = format!(": {}, {}", display::plural(data.rows, "row"), display::plural(columns, "column"));
    let until = if data.is_partial { ", until it failed" } else { "" };
    // Rows that were not here have no mean, and no values: this is why.
    let of = match data.source {
        SummarySource::FileMetadata => ", from the metadata of the files",
        _ => "",
    };
    let rows = data.columns.iter().map(|column| row(column, data.rows));
    Block::Data {
        title: vec![Piece::Name(&data.node), Piece::words(size + until + of)],
        table: Table::new(
            vec![
                Column::text("column"),
                Column::text("type"),
                Column::number("missing"),
                Column::number("different"),
                Column::text("values"),
                Column::text("distribution"),
            ],
            rows,
        )
        .listed(),
        more: (data.columns_left_out > 0)
            .then(|| format!("{} more.", display::plural(data.columns_left_out, "column"))),
        is_open,
    }
}

fn row(column: &ColumnReport, rows: u64) -> Vec<Cell<'_>> {
    let part = |count: u64| if rows == 0 { 0.0 } else { count as f64 / rows as f64 };
    let missing = match column.missing {
        0 => Vec::new(),
        missing => words(format!("{} ({})", display::count(missing), display::percent(part(missing)))),
    };
    let about = if column.distinct_is_estimate && column.distinct != Some(0) { "about " } else { "" };
    vec![
        name(column.name.as_str()),
        code(column.data_type.as_str()),
        missing,
        shown(column.distinct, |distinct| format!("{about}{}", display::count(distinct))),
        values(column, part),
        if column.histogram.is_empty() { Vec::new() } else { vec![Piece::Histogram(&column.histogram)] },
    ]
}

fn values(column: &ColumnReport, part: impl Fn(u64) -> f64) -> Cell<'_> {
    let mut cell = Vec::new();
    if let (Some(min), Some(max)) = (&column.min, &column.max) {
        // A date has no time of day, and the mean of dates is shown without one, too.
        let is_date = column.data_type.starts_with("Date");
        let day =
            |text: &'_ str| text.split_once('T').filter(|_| is_date).map_or(text.len(), |(day, _)| day.len());
        cell.extend([value(&min[..day(min)]), Piece::words(" to "), value(&max[..day(max)])]);
        if let Some(mean) = &column.mean {
            cell.extend([Piece::words(", on average "), value(&mean[..day(mean)])]);
        }
    }
    for (position, ValueReport { value: text, count }) in
        column.most_frequent.iter().take(MAX_VALUES).enumerate()
    {
        let between = if position > 0 { ", " } else { "" };
        cell.extend([
            Piece::words(between),
            value(text),
            Piece::words(format!(" {}", display::percent(part(*count)))),
        ]);
    }
    let listed = column.most_frequent.len().min(MAX_VALUES) as u64;
    if let Some(more) = column.distinct.filter(|distinct| listed > 0 && *distinct > listed) {
        cell.push(Piece::words(format!(" and {} more", display::count(more - listed))));
    }
    if let Some(length) = column.mean_length {
        cell.push(Piece::words(format!("{length:.1} characters on average")));
    }
    if let Some(remark) = &column.remark {
        cell.push(Piece::words(format!(" ({remark})")));
    }
    cell
}

/// A value in a few characters: a number with a readable number of digits, or the beginning of a long text.
fn value(text: &str) -> Piece<'_> {
    const DIGITS: usize = 6;
    if text.is_empty() {
        return Piece::words("(empty)");
    }
    if text.chars().all(|character| character == ' ') {
        // Blanks alone would be invisible.
        return Piece::words(format!("({})", display::plural(text.chars().count() as u64, "blank")));
    }
    let is_long_number = text.contains('.') && text.len() > DIGITS + 2;
    if let Some(number) = text.parse::<f64>().ok().filter(|number| is_long_number && number.is_finite()) {
        return Piece::Code(rounded(number, DIGITS).into());
    }
    Piece::Code(display::beginning(text, MAX_CHARS))
}

/// A number with this many significant digits, without trailing zeros.
fn rounded(number: f64, digits: usize) -> String {
    let magnitude = number.abs().log10().floor();
    if !(-6.0..15.0).contains(&magnitude) {
        return format!("{number:.5e}");
    }
    let decimals = (digits as f64 - 1.0 - magnitude).clamp(0.0, 12.0) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let Piece::Code(shown) = value(text) else { panic!("a value is code") };
        assert_eq!(shown, expected);
    }

    #[test]
    fn values_are_short() {
        check("1500", "1500");
        check("9223372036854775807", "9223372036854775807");
        check("2999.1234567", "2999.12");
        check("0.0001234567891", "0.000123457");
        check("151219.53763160375", "151220");
        check("1.5000000001", "1.5");
        check("-0.00000012345678", "-1.23457e-7");
        check("1992-01-01T00:00:00", "1992-01-01T00:00:00");
        check(&"ä".repeat(41), &format!("{}…", "ä".repeat(40)));
    }

    #[test]
    fn a_value_that_is_too_small_to_see_is_named() {
        let mut report = planted::report("planted");
        let column = &mut report.data[0].columns[0];
        let values = [("", 5), ("   ", 3), ("a", 2)];
        column.most_frequent =
            values.map(|(value, count)| ValueReport { value: value.to_owned(), count }).into();
        for page in [report.to_html(), report.to_markdown()] {
            assert!(page.contains("(empty) ") && page.contains("(3 blanks) "), "{page}");
        }
    }

    #[test]
    fn what_is_off_is_reported_once() {
        let mut report = planted::report("planted");
        let column = &mut report.data[0].columns[0];
        (column.remark, column.histogram) = (Some("figures without 3 NaN".to_owned()), vec![1, 2]);
        for page in [report.to_html(), report.to_markdown()] {
            assert_eq!(page.matches("(figures without 3 NaN)").count(), 1, "{page}");
            assert_eq!(page.matches("figures without 3 NaN").count(), 1, "{page}");
        }
    }
}
