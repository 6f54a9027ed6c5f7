//! The data summaries of the outputs of a run, as its outbox has them for the tracking server.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime};
use daglight_run_bundle::{
    Bundle,
    outbox::{AttributeKind, Event, OutboxReader, Read, outbox_path},
};
use serde_json::Value;

/// Columns that are kept; those of a run with more are not compared.
const MAX_COLUMNS: usize = 20_000;
/// Values of a column that are kept.
const MAX_VALUES: usize = 1_000;
/// Lines of a histogram.
const MAX_BINS: usize = 1_000;

/// The summaries of the columns, by node and column.
pub(crate) type Summaries = BTreeMap<(String, String), ColumnSummary>;

/// What is known of the values of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColumnSummary {
    pub(crate) count: u64,
    pub(crate) missing: u64,
    /// How many different values there are.
    pub(crate) distinct: Option<u64>,
    pub(crate) distribution: Option<Distribution>,
}

/// How often which values are there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Distribution {
    /// By ranges, in order: from, to, and how many.
    Ranges(Vec<(f64, f64, u64)>),
    /// By value, as far as they are listed, and how many there are in all.
    Values(BTreeMap<String, u64>, u64),
}

/// Reads the summaries of a run. Where there is no outbox, or a part of it cannot be read, they are those of the rest.
pub(crate) fn summaries(bundle: &Bundle) -> Summaries {
    let mut summaries = Summaries::new();
    let Ok(mut outbox) = OutboxReader::open(&outbox_path(&bundle.tracker_dir())) else { return summaries };
    loop {
        match outbox.read() {
            Ok(Read::Event { event, .. }) => {
                let Event::TaskFinished { node, attributes, .. } = *event else { continue };
                let described = attributes
                    .into_iter()
                    .filter(|attribute| attribute.kind == AttributeKind::DagworksDescribe);
                for attribute in described {
                    take(&mut summaries, &node, &attribute.value);
                }
            }
            // Values are one part of a comparison. What of the file is damaged is said elsewhere.
            Ok(Read::Unreadable { .. }) => {}
            Ok(Read::End { .. }) | Err(_) => return summaries,
        }
    }
}

fn take(summaries: &mut Summaries, node: &str, described: &Value) {
    for (name, column) in described.as_object().into_iter().flatten() {
        if summaries.len() >= MAX_COLUMNS {
            return;
        }
        if let Some(summary) = column_summary(column) {
            // A later attempt replaces an earlier one.
            summaries.insert((node.to_owned(), name.clone()), summary);
        }
    }
}

/// `None` for what is not the summary of a column.
fn column_summary(column: &Value) -> Option<ColumnSummary> {
    let count = column["count"].as_u64()?;
    let missing = column["missing"].as_u64()?;
    let there = count.saturating_sub(missing);
    let ranges = column["histogram"].as_object().and_then(|bins| {
        let bins = bins.iter().take(MAX_BINS);
        bins.map(|(range, count)| {
            let (from, to) = range_of(range)?;
            Some((from, to, count.as_u64()?))
        })
        .collect::<Option<Vec<_>>>()
    });
    let values = column["domain"].as_object().map(|domain| {
        let listed = domain.iter().take(MAX_VALUES);
        listed.filter_map(|(value, count)| Some((value.clone(), count.as_u64()?))).collect()
    });
    let distribution = match (ranges, values) {
        (Some(ranges), _) if !ranges.is_empty() => Some(Distribution::Ranges(ranges)),
        (_, Some(values)) => Some(Distribution::Values(values, there)),
        _ => None,
    };
    Some(ColumnSummary { count, missing, distinct: column["unique"].as_u64(), distribution })
}

/// The range that a line of a histogram is of: `(0.95, 5.90]`, of numbers or of times.
fn range_of(text: &str) -> Option<(f64, f64)> {
    let inner = text.strip_prefix(['(', '['])?.strip_suffix([')', ']'])?;
    let (from, to) = inner.split_once(", ")?;
    Some((number(from)?, number(to)?))
}

fn number(text: &str) -> Option<f64> {
    let of_time = |time: NaiveDateTime| {
        let time = time.and_utc();
        time.timestamp() as f64 + f64::from(time.timestamp_subsec_nanos()) / 1e9
    };
    let time = || {
        let formats = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        let time = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        let midnight = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        time.or_else(midnight).map(of_time)
    };
    text.parse().ok().or_else(time).filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_column_is_known_by_its_ranges_or_its_values() {
        let numeric = json!({"count": 10, "missing": 1, "histogram": {"(-1, 2.5]": 4, "(2.5, 1e3]": 5}});
        let summary = column_summary(&numeric).unwrap();
        assert_eq!((summary.count, summary.missing), (10, 1));
        let ranges = vec![(-1.0, 2.5, 4), (2.5, 1_000.0, 5)];
        assert_eq!(summary.distribution, Some(Distribution::Ranges(ranges)));
        let category = json!({"count": 3, "missing": 0, "unique": 2, "domain": {"a": 2, "b": 1}});
        let summary = column_summary(&category).unwrap();
        assert_eq!(summary.distinct, Some(2));
        let values = [("a".to_owned(), 2), ("b".to_owned(), 1)].into();
        assert_eq!(summary.distribution, Some(Distribution::Values(values, 3)));
        assert_eq!(column_summary(&json!("text")), None);
        let odd = json!({"count": 3, "missing": 9, "histogram": {"(a, b]": 1}});
        assert_eq!(column_summary(&odd).unwrap().distribution, None);
    }

    #[test]
    fn times_are_numbers() {
        assert_eq!(range_of("(1970-01-01 00:00:01.500, 1970-01-02]"), Some((1.5, 86_400.0)));
        assert_eq!(range_of("(1, 2"), None);
        assert_eq!(range_of("(NaN, inf]"), None);
    }
}
