//! The data summaries of a run: reading them, and their part of a report.

use std::collections::{HashMap, HashSet};

use daglight_run_bundle::{
    Artifact, Bundle, DATA_SUMMARY_BEFORE_THE_ERROR, DATA_SUMMARY_VERSION, FileReading, Manifest,
    NodeSummary, SummarySource,
    outbox::{AttributeKind, Event, OutboxReader, Read, outbox_path},
};
use serde_json::Value;

use crate::{
    column_values::sorted_ranges,
    report::{ColumnReport, DataReport, ValueReport},
};

/// The maximum number of nodes whose summary is in a report, those with outputs first.
const MAX_NODES: usize = 200;
/// The maximum number of nodes without room in a report that are remembered, so that one that ran again counts once.
const MAX_LEFT_OUT: usize = 20_000;
/// The maximum number of columns of a node in a report.
const MAX_COLUMNS: usize = 50;
/// The maximum number of values of a column in a report.
const MAX_VALUES: usize = 10;
/// The beginnings of remarks about the figures, which older bundles have only after the type of the column.
const REMARKS: [&str; 2] = [" (figures without ", " (histogram and quantiles: "];

/// The summaries of a bundle as they are read; the last attempt of each node counts.
#[derive(Debug, Default)]
pub(crate) struct DataSummaries {
    /// Nodes with outputs.
    of_outputs: HashSet<String>,
    reports: Vec<DataReport>,
    /// The position of each node's report; `None` if there was no room.
    positions: HashMap<String, Option<usize>>,
    left_out: u64,
    others: usize,
}

/// Passes the summary of each node to `take`. Older bundles have them in the outbox.
/// Returns what could not be read of the file.
pub(crate) fn read_summaries(
    bundle: &Bundle,
    manifest: Option<&Manifest>,
    mut take: impl FnMut(NodeSummary),
) -> Option<FileReading> {
    let reading = NodeSummary::read_all(bundle, &mut take);
    // The outbox of a large run takes seconds to read, and if nothing was summarised, it contains no summaries either.
    let is_off = manifest.is_some_and(|manifest| manifest.policy["data_statistics"] == "false");
    if reading.is_none() && !is_off {
        read_outbox(bundle, &mut take);
    }
    reading
}

/// Takes the summaries in the outbox, as far as it exists and can be read.
fn read_outbox(bundle: &Bundle, take: &mut impl FnMut(NodeSummary)) {
    let Ok(mut outbox) = OutboxReader::open(&outbox_path(&bundle.tracker_dir())) else { return };
    loop {
        match outbox.read() {
            Ok(Read::Event { event, .. }) => {
                let Event::TaskFinished { node, attributes, .. } = *event else { continue };
                for attribute in attributes {
                    if attribute.kind == AttributeKind::DagworksDescribe {
                        let is_partial = attribute.name.starts_with(DATA_SUMMARY_BEFORE_THE_ERROR);
                        take(NodeSummary {
                            format_version: DATA_SUMMARY_VERSION,
                            node: node.clone(),
                            is_partial,
                            source: SummarySource::Unknown,
                            columns: attribute.value,
                        });
                    }
                }
            }
            // Damage to the file is reported elsewhere.
            Ok(Read::Unreadable { .. }) => {}
            Ok(Read::End { .. }) | Err(_) => return,
        }
    }
}

impl DataSummaries {
    /// For a run with these outputs, which come first.
    pub(crate) fn with_outputs(artifacts: &[Artifact]) -> Self {
        let of_outputs = artifacts.iter().filter_map(|artifact| artifact.node.clone()).collect();
        Self { of_outputs, ..Self::default() }
    }

    pub(crate) fn add(&mut self, summary: NodeSummary) {
        let Some(report) = report_of(&summary) else { return };
        let node = summary.node;
        // A later attempt replaces an earlier one.
        match self.positions.get(&node) {
            Some(Some(position)) => {
                self.reports[*position] = report;
                return;
            }
            Some(None) => return,
            None => {}
        }
        let is_output = self.of_outputs.contains(&node);
        let kept = if is_output { self.reports.len() - self.others } else { self.others };
        if kept >= MAX_NODES {
            self.left_out += 1;
            if self.positions.len() < MAX_LEFT_OUT {
                self.positions.insert(node, None);
            }
            return;
        }
        self.others += usize::from(!is_output);
        self.positions.insert(node, Some(self.reports.len()));
        self.reports.push(report);
    }

    /// The summaries, those of outputs first, and the number of others.
    pub(crate) fn into_reports(self) -> (Vec<DataReport>, u64) {
        let Self { of_outputs, mut reports, left_out, .. } = self;
        reports.sort_by_key(|report| !of_outputs.contains(&report.node));
        let more = reports.len().saturating_sub(MAX_NODES);
        reports.truncate(MAX_NODES);
        (reports, left_out + more as u64)
    }
}

/// `None` if it is not a summary of columns.
fn report_of(summary: &NodeSummary) -> Option<DataReport> {
    let NodeSummary { node, is_partial, source, columns, .. } = summary;
    let mut report = DataReport {
        node: node.clone(),
        is_partial: *is_partial,
        source: *source,
        rows: 0,
        columns: Vec::new(),
        columns_left_out: 0,
    };
    let mut columns: Vec<(&String, &Value)> = columns.as_object()?.iter().collect();
    // The fields of JSON objects are unordered.
    columns.sort_by_key(|(_, column)| column["pos"].as_u64().unwrap_or(u64::MAX));
    for (name, column) in columns {
        if let Some(more) = columns_behind(name, column) {
            report.columns_left_out = report.columns_left_out.saturating_add(more);
        } else if let Some(read) = column_of(name, column) {
            report.rows = report.rows.max(column["count"].as_u64().unwrap_or(0));
            if report.columns.len() < MAX_COLUMNS {
                report.columns.push(read);
            } else {
                report.columns_left_out = report.columns_left_out.saturating_add(1);
            }
        }
    }
    (!report.columns.is_empty()).then_some(report)
}

/// The number of columns that the policy has left out, if the entry is the note about that.
fn columns_behind(name: &str, column: &Value) -> Option<u64> {
    let is_none = column["count"].as_u64().is_none_or(|count| count == 0);
    name.strip_prefix("… ")?.strip_suffix(" more columns")?.parse().ok().filter(|_| is_none)
}

fn column_of(name: &str, column: &Value) -> Option<ColumnReport> {
    let count = column["count"].as_u64()?;
    let missing = column["missing"].as_u64()?;
    let kind = column["base_data_type"].as_str().unwrap_or_default();
    let data_type = column["data_type"].as_str().unwrap_or_default();
    let (data_type, remark) = match column["remark"].as_str() {
        Some(remark) => {
            let data_type = data_type.strip_suffix(&format!(" ({remark})")).unwrap_or(data_type);
            (data_type, Some(remark.to_owned()))
        }
        None => without_remark(data_type),
    };
    let has_range = matches!(kind, "numeric" | "datetime");
    let text = |key: &str| has_range.then(|| text_of(&column[key])).flatten();
    let mut most_frequent = match kind {
        "category" => values_of(&column["domain"]),
        "boolean" => column["zeros"].as_u64().map_or_else(Vec::new, |is_true| {
            let is_false = count.saturating_sub(missing).saturating_sub(is_true);
            vec![value("true", is_true), value("false", is_false)]
        }),
        _ => Vec::new(),
    };
    most_frequent.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    most_frequent.truncate(MAX_VALUES);
    Some(ColumnReport {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        missing,
        distinct: column["distinct"].as_u64().or(column["unique"].as_u64()),
        distinct_is_estimate: column["distinct_is_estimate"].as_bool().unwrap_or(false),
        min: text("min"),
        max: text("max"),
        mean: text("mean"),
        most_frequent,
        mean_length: column["avg_str_len"].as_f64(),
        histogram: sorted_ranges(&column["histogram"]).into_iter().map(|(.., count)| count).collect(),
        rank_error: column["rank_error"].as_f64(),
        remark,
    })
}

fn value(value: &str, count: u64) -> ValueReport {
    ValueReport { value: value.to_owned(), count }
}

fn values_of(domain: &Value) -> Vec<ValueReport> {
    let listed = domain.as_object().into_iter().flatten();
    listed.filter_map(|(text, count)| Some(value(text, count.as_u64()?))).collect()
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Splits the type of a column in an older bundle and the remark about its figures.
fn without_remark(data_type: &str) -> (&str, Option<String>) {
    let found = REMARKS.iter().filter_map(|mark| data_type.find(mark)).min();
    let Some(at) = found else { return (data_type, None) };
    let remark = data_type[at..].trim_start_matches(" (").trim_end_matches(')');
    (&data_type[..at], Some(remark.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(node: &str, is_partial: bool, columns: Value) -> NodeSummary {
        let source = SummarySource::Rows;
        NodeSummary {
            format_version: DATA_SUMMARY_VERSION,
            node: node.to_owned(),
            is_partial,
            source,
            columns,
        }
    }

    fn report(columns: &Value) -> DataReport {
        report_of(&summary("orders", false, columns.clone())).unwrap()
    }

    #[test]
    fn a_column_has_its_range_or_its_values() {
        let columns = json!({
            "status": {
                "pos": 1, "data_type": "Utf8", "base_data_type": "category", "count": 10, "missing": 1, "unique": 3,
                "domain": {"F": 2, "O": 6, "P": 1}, "distinct": 3, "distinct_is_estimate": false,
            },
            "price": {
                "pos": 0, "data_type": "Float64 (figures without 1 NaN; histogram and quantiles: estimates, ±1 % of rows)",
                "base_data_type": "numeric", "count": 10, "missing": 0, "min": 0.5, "max": 100, "mean": 20.25,
                "histogram": {"(50.0, 100.0]": 1, "(0.5, 50.0]": 8},
                "distinct": 9, "distinct_is_estimate": true, "rank_error": 0.01,
            },
            "is_open": {"pos": 2, "data_type": "Boolean", "base_data_type": "boolean", "count": 10, "missing": 4, "zeros": 5},
            "hidden": {"pos": 3, "data_type": "Utf8", "base_data_type": "unhandled", "count": 10, "missing": 0},
            "… 7 more columns": {"name": "x", "pos": 0, "data_type": "-", "count": 0, "missing": 0},
        });
        let report = report(&columns);
        assert_eq!((report.rows, report.columns_left_out), (10, 7));
        let names: Vec<&str> = report.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["price", "status", "is_open", "hidden"]);
        let [price, status, is_open, hidden] = report.columns.as_slice() else { panic!("{report:?}") };
        assert_eq!((price.min.as_deref(), price.max.as_deref()), (Some("0.5"), Some("100")));
        assert_eq!((price.distinct, price.distinct_is_estimate), (Some(9), true));
        assert_eq!((price.histogram.as_slice(), price.rank_error), ([8, 1].as_slice(), Some(0.01)));
        assert_eq!(price.data_type, "Float64");
        let remark = "figures without 1 NaN; histogram and quantiles: estimates, ±1 % of rows";
        assert_eq!(price.remark.as_deref(), Some(remark));
        assert_eq!(status.most_frequent, [value("O", 6), value("F", 2), value("P", 1)]);
        assert_eq!(is_open.most_frequent, [value("true", 5), value("false", 1)]);
        assert_eq!((hidden.distinct, hidden.min.as_deref()), (None, None));
    }

    #[test]
    fn a_remark_is_known_whatever_its_words_are() {
        let column = json!({"data_type": "Float64 (in other words)", "count": 1, "missing": 0, "remark": "in other words"});
        let report = report(&json!({"price": column}));
        let price = &report.columns[0];
        assert_eq!((price.data_type.as_str(), price.remark.as_deref()), ("Float64", Some("in other words")));
    }

    #[test]
    fn only_the_first_columns_are_kept() {
        let columns: serde_json::Map<String, Value> = (0..70)
            .map(|at| {
                let column = json!({"pos": at, "data_type": "Int64", "count": 1, "missing": 0});
                (format!("c{at:02}"), column)
            })
            .collect();
        let report = report(&columns.into());
        assert_eq!((report.columns.len(), report.columns_left_out), (50, 20));
        assert_eq!(report.columns[49].name, "c49");
    }

    #[test]
    fn outputs_come_first_and_the_last_attempt_counts() {
        let of = |count: u64| json!({"a": {"count": count, "missing": 0}});
        let mut summaries =
            DataSummaries { of_outputs: ["output".to_owned()].into(), ..DataSummaries::default() };
        for at in 0..MAX_NODES + 5 {
            summaries.add(summary(&format!("n{at}"), false, of(1)));
        }
        summaries.add(summary("output", true, of(1)));
        summaries.add(summary("output", false, of(2)));
        summaries.add(summary("nothing", false, json!("[left out]")));
        // Several attempts of a node without room count as one node.
        for _ in 0..3 {
            summaries.add(summary(&format!("n{}", MAX_NODES + 1), false, of(1)));
        }
        let (reports, left_out) = summaries.into_reports();
        assert_eq!((reports.len(), left_out), (MAX_NODES, 6));
        assert_eq!((reports[0].node.as_str(), reports[0].rows, reports[0].is_partial), ("output", 2, false));
        assert_eq!(reports[1].node, "n0");
    }

    #[test]
    fn ranges_of_times_are_in_their_order() {
        let histogram = json!({"(2024-03-01 00:00:00, 2024-04-01 00:00:00]": 2, "(2024-02-01 00:00:00, 2024-03-01 00:00:00]": 9});
        let counts: Vec<u64> = sorted_ranges(&histogram).into_iter().map(|(.., count)| count).collect();
        assert_eq!(counts, [9, 2]);
    }
}
