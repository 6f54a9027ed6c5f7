//! The data summaries of the outputs of a run, as far as they are comparable.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::column_values::sorted_ranges;

/// The maximum number of columns; those of a run with more are not compared.
const MAX_COLUMNS: usize = 20_000;
/// The maximum number of values of a column.
const MAX_VALUES: usize = 1_000;

/// The summaries of the columns, by node and column.
pub(crate) type Summaries = BTreeMap<(String, String), ColumnSummary>;

/// Facts about the values of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ColumnSummary {
    pub(crate) count: u64,
    pub(crate) missing: u64,
    /// The number of distinct values.
    pub(crate) distinct: Option<u64>,
    pub(crate) distribution: Option<Distribution>,
}

/// The frequencies of values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Distribution {
    /// By range, in order: from, to, and count.
    Ranges(Vec<(f64, f64, u64)>),
    /// By value, as far as they are listed, and the total count.
    Values(BTreeMap<String, u64>, u64),
}

/// Adds the columns of a node.
pub(crate) fn take(summaries: &mut Summaries, node: &str, described: &Value) {
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

/// `None` if it is not a column summary.
fn column_summary(column: &Value) -> Option<ColumnSummary> {
    let count = column["count"].as_u64()?;
    let missing = column["missing"].as_u64()?;
    let there = count.saturating_sub(missing);
    let ranges = sorted_ranges(&column["histogram"]);
    let values = column["domain"].as_object().map(|domain| {
        let listed = domain.iter().take(MAX_VALUES);
        listed.filter_map(|(value, count)| Some((value.clone(), count.as_u64()?))).collect()
    });
    let distribution = match values {
        _ if !ranges.is_empty() => Some(Distribution::Ranges(ranges)),
        Some(values) => Some(Distribution::Values(values, there)),
        None => None,
    };
    Some(ColumnSummary { count, missing, distinct: distinct(column, there), distribution })
}

/// The number of distinct values, if meaningful: for keys and measures, most of whose values are distinct, it grows with every row.
fn distinct(column: &Value, there: u64) -> Option<u64> {
    let counted = column["distinct"].as_u64().filter(|distinct| *distinct <= there / 2);
    column["unique"].as_u64().or(counted)
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
        let of_few = json!({"count": 10, "missing": 0, "distinct": 5, "distinct_is_estimate": true});
        assert_eq!(column_summary(&of_few).unwrap().distinct, Some(5));
        let key = json!({"count": 10, "missing": 0, "distinct": 6, "distinct_is_estimate": true});
        assert_eq!(column_summary(&key).unwrap().distinct, None);
        assert_eq!(column_summary(&json!("text")), None);
        let odd = json!({"count": 3, "missing": 9, "histogram": {"(a, b]": 1}});
        assert_eq!(column_summary(&odd).unwrap().distribution, None);
    }
}
