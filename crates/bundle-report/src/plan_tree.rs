//! The plan of a query as a tree: each operator with its estimated and actual rows, time and memory.

use daglight_capture_policy::{printable, shown_width};

use crate::{
    display,
    report::{PlanOperatorReport, PlanReport},
};

/// The ratio of the longest partition to the mean from which they count as uneven.
const UNEVEN: f64 = 1.25;
/// The maximum indentation level of operators.
const MAX_INDENT: u32 = 24;
/// The maximum number of characters of an operator in text.
const MAX_NAME_CHARS: usize = 60;

/// The headings of a row.
pub(crate) const HEADINGS: [&str; 6] = ["operator", "estimated", "rows", "time", "memory", "spilled"];

/// An operator as text, in the order of the headings after the first.
pub(crate) struct TreeRow<'r> {
    pub(crate) operator: &'r PlanOperatorReport,
    pub(crate) indent: u32,
    pub(crate) cells: [String; 5],
    /// Its share of the compute time of the plan, from 0 to 1.
    pub(crate) share: f64,
}

impl PlanReport {
    /// The query to which it belongs.
    pub(crate) fn title(&self) -> String {
        let of = self.node.as_ref().map(|node| format!(" of {}", display::name(node))).unwrap_or_default();
        let executions = match self.executions {
            0 | 1 => String::new(),
            many => format!(", the slowest of {} executions", display::count(many)),
        };
        format!("query {}{of}: {}{executions}", self.query_id, display::duration(self.duration_ms))
    }

    /// The operators, each before its inputs.
    pub(crate) fn rows(&self) -> impl Iterator<Item = TreeRow<'_>> {
        let computed = |operator: &PlanOperatorReport| operator.compute_ms.unwrap_or(0.0).max(0.0);
        let all_ms: f64 = self.operators.iter().map(computed).sum();
        self.operators.iter().map(move |operator| TreeRow {
            operator,
            indent: operator.depth.min(MAX_INDENT),
            cells: cells(operator),
            share: if all_ms > 0.0 { computed(operator) / all_ms } else { 0.0 },
        })
    }

    /// The note about operators that are not listed.
    pub(crate) fn left_out_in_words(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            let more = display::plural(self.left_out, "operator");
            format!("{more} more are in the plan's file.")
        })
    }

    /// The tree as lines of text with aligned columns; empty columns are left out.
    pub(crate) fn to_lines(&self) -> Vec<String> {
        let name = |row: &TreeRow<'_>| {
            let name: String = row.operator.shown_name().chars().take(MAX_NAME_CHARS).collect();
            // Before it is measured, because escapes make it longer.
            format!("{}{}", "  ".repeat(row.indent as usize), printable(&name))
        };
        let mut table: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
        table.extend(self.rows().map(|row| [name(&row)].into_iter().chain(row.cells).collect()));
        let widths: Vec<usize> = (0..HEADINGS.len())
            .map(|column| {
                // A column without values is left out, with its heading.
                let says = table.iter().skip(1).any(|row| !row[column].is_empty());
                let width = table.iter().map(|row| shown_width(&row[column])).max();
                if says { width.unwrap_or(0) } else { 0 }
            })
            .collect();
        let line = |row: &Vec<String>| {
            let blanks = |cell: &str, width: usize| " ".repeat(width.saturating_sub(shown_width(cell)));
            let mut line = row[0].clone() + &blanks(&row[0], widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1).filter(|(_, width)| **width > 0) {
                line.push_str(&format!("  {}{cell}", blanks(cell, *width)));
            }
            line.trim_end().to_owned()
        };
        table.iter().map(line).chain(self.left_out_in_words()).collect()
    }
}

fn cells(operator: &PlanOperatorReport) -> [String; 5] {
    let estimated = operator.estimated_rows.map(|rows| {
        let about = if operator.estimate_is_exact { "" } else { "~" };
        format!("{about}{}", display::count(rows))
    });
    let time = operator.compute_ms.map(|ms| time(operator, ms));
    let some_bytes = |bytes: Option<u64>| bytes.filter(|bytes| *bytes > 0).map(display::bytes);
    [
        estimated,
        operator.rows.map(display::count),
        time,
        some_bytes(operator.memory_bytes),
        some_bytes(operator.spilled_bytes),
    ]
    .map(Option::unwrap_or_default)
}

/// The time of an operator in one partition: the sum over parallel partitions would be longer than the query.
fn time(operator: &PlanOperatorReport, total_ms: f64) -> String {
    if operator.is_at_least && total_ms == 0.0 {
        // Its timer counts only when the measured section is over.
        return String::new();
    }
    let at_least = if operator.is_at_least { "≥ " } else { "" };
    let partitions = operator.partitions.unwrap_or(1).max(1);
    let mean_ms = total_ms / partitions as f64;
    match operator.longest_partition_ms {
        _ if partitions == 1 => format!("{at_least}{}", display::duration(total_ms)),
        Some(ms) if ms > UNEVEN * mean_ms => {
            format!("{at_least}{} max of {partitions}", display::duration(ms))
        }
        longest => {
            let about = if longest.is_none() { "~" } else { "" };
            format!("{at_least}{about}{} × {partitions}", display::duration(longest.unwrap_or(mean_ms)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(
        depth: u32,
        name: &str,
        estimated_rows: Option<u64>,
        rows: u64,
        ms: f64,
    ) -> PlanOperatorReport {
        PlanOperatorReport {
            depth,
            name: name.into(),
            estimated_rows,
            rows: Some(rows),
            compute_ms: Some(ms),
            partitions: Some(2),
            ..PlanOperatorReport::default()
        }
    }

    #[test]
    fn a_plan_is_a_tree_with_aligned_numbers() {
        let mut scan = operator(1, "DataSourceExec", None, 40, 1.0);
        (scan.table, scan.partitions, scan.memory_bytes) = (Some("orders".into()), Some(1), Some(2_000));
        let plan = PlanReport {
            query_id: "7".into(),
            node: Some("late".into()),
            executions: 3,
            duration_ms: 12.0,
            operators: vec![
                operator(0, "HashJoinExec", Some(9), 123_456, 30.0),
                PlanOperatorReport {
                    longest_partition_ms: Some(29.0),
                    ..operator(1, "AggregateExec", None, 7, 30.0)
                },
                PlanOperatorReport {
                    longest_partition_ms: Some(16.0),
                    is_at_least: true,
                    ..operator(1, "SortExec", None, 7, 30.0)
                },
                PlanOperatorReport { is_at_least: true, ..operator(1, "UserExec", None, 7, 0.0) },
                scan,
            ],
            left_out: 5,
            ..PlanReport::default()
        };
        assert_eq!(plan.title(), "query 7 of late: 12 ms, the slowest of 3 executions");
        let expected = [
            "operator                   estimated     rows            time  memory",
            "HashJoinExec                      ~9  123,456      ~15 ms × 2",
            "  AggregateExec                             7  29 ms max of 2",
            "  SortExec                                  7     ≥ 16 ms × 2",
            "  UserExec                                  7",
            "  DataSourceExec (orders)                  40          1.0 ms  2.0 kB",
            "5 operators more are in the plan's file.",
        ];
        assert_eq!(plan.to_lines(), expected);
    }

    #[test]
    fn numbers_stand_under_each_other_whatever_a_table_is_called() {
        let of = |table: &str| PlanOperatorReport {
            table: Some(table.into()),
            ..operator(0, "DataSourceExec", None, 7, 1.0)
        };
        let operators = ["orders", "受注明細", "a\u{1b}[2J"].map(of).into();
        let lines = PlanReport { operators, ..PlanReport::default() }.to_lines();
        let widths: Vec<usize> = lines.iter().map(|line| shown_width(line)).collect();
        assert_eq!(widths, [widths[0]; 4], "{lines:#?}");
    }
}
