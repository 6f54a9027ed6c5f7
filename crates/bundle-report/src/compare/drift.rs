//! How far the values of a column have moved from one run to another.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use daglight_finding_thresholds::FindingThresholds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    renamed::key_before,
    summaries::{ColumnSummary, Distribution, Summaries},
};
use crate::display;

/// A column of an output whose values have moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueDrift {
    /// The node.
    pub node: String,
    /// The column.
    pub column: String,
    /// The part of missing values before, from 0 to 1.
    pub missing_before: f64,
    /// And now.
    pub missing_after: f64,
    /// Different values before, where they are counted.
    pub distinct_before: Option<u64>,
    /// And now.
    pub distinct_after: Option<u64>,
    /// The distance between both distributions, from 0 (the same) to 1 (no value in common): of numbers and times the largest
    /// difference between the parts of the rows up to a value, of others the part of the rows that has another value. `None`
    /// where the bundles do not say.
    pub distance: Option<f64>,
}

/// The columns that both runs have and whose values moved by more than the thresholds, those that moved most first. Nodes that
/// were `renamed` are named with what they were called before.
pub(super) fn drifts(
    before: &Summaries,
    after: &Summaries,
    renamed: &HashMap<String, String>,
    thresholds: &FindingThresholds,
) -> Vec<ValueDrift> {
    let mut drifts: Vec<ValueDrift> = after
        .iter()
        .filter_map(|(key, new)| {
            // A new column has not moved. That it is new is said of its output.
            let old = before.get(&*key_before(key, renamed))?;
            let drift = ValueDrift {
                node: key.0.clone(),
                column: key.1.clone(),
                missing_before: part(old.missing, old.count),
                missing_after: part(new.missing, new.count),
                distinct_before: old.distinct,
                distinct_after: new.distinct,
                distance: distance(old, new),
            };
            drift.is_one(thresholds).then_some(drift)
        })
        .collect();
    // Both are parts of the rows, so that the larger one can be taken. The number of different values is not, and has
    // no say in the order.
    let moved = |drift: &ValueDrift| {
        drift.distance.unwrap_or(0.0).max((drift.missing_after - drift.missing_before).abs())
    };
    drifts.sort_by(|a, b| moved(b).total_cmp(&moved(a)));
    drifts
}

impl ValueDrift {
    fn is_one(&self, thresholds: &FindingThresholds) -> bool {
        let distinct = self.distinct_before.zip(self.distinct_after).is_some_and(|(before, after)| {
            // A share of what was there, and of one at least, so that a column that had none can drift too.
            before.abs_diff(after) as f64 > thresholds.distinct_drift * before.max(1) as f64
        });
        distinct
            || (self.missing_after - self.missing_before).abs() > thresholds.missing_drift
            || self.distance.is_some_and(|distance| distance > thresholds.drift)
    }

    /// What moved, such as `12 % missing, was 0 %; its values moved by 23 %`.
    pub fn in_words(&self) -> String {
        let mut parts = Vec::new();
        if self.missing_before != self.missing_after {
            let [now, before] = [self.missing_after, self.missing_before].map(display::percent);
            parts.push(format!("{now} missing, was {before}"));
        }
        if let Some((before, after)) = self.distinct_before.zip(self.distinct_after)
            && before != after
        {
            parts.push(format!("{} different values, was {}", display::count(after), display::count(before)));
        }
        if let Some(distance) = self.distance.filter(|distance| *distance > 0.0) {
            parts.push(format!("its values moved by {}", display::percent(distance)));
        }
        parts.join("; ")
    }
}

fn part(count: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (count as f64 / whole as f64).clamp(0.0, 1.0) }
}

fn distance(before: &ColumnSummary, after: &ColumnSummary) -> Option<f64> {
    match (before.distribution.as_ref()?, after.distribution.as_ref()?) {
        (Distribution::Ranges(before), Distribution::Ranges(after)) => of_ranges(before, after),
        (Distribution::Values(before, rows_before), Distribution::Values(after, rows_after)) => {
            of_values((before, *rows_before), (after, *rows_after))
        }
        _ => None,
    }
}

/// The distance of Kolmogorov and Smirnov, with the rows of a range spread evenly over it.
fn of_ranges(before: &[(f64, f64, u64)], after: &[(f64, f64, u64)]) -> Option<f64> {
    let rows = |ranges: &[(f64, f64, u64)]| ranges.iter().map(|(.., count)| *count as f64).sum::<f64>();
    let (rows_before, rows_after) = (rows(before), rows(after));
    if rows_before == 0.0 || rows_after == 0.0 {
        return None;
    }
    let up_to = |ranges: &[(f64, f64, u64)], at: f64| -> f64 {
        let parts = ranges.iter().map(|(from, to, count)| {
            let covered = if at >= *to { 1.0 } else { ((at - from) / (to - from)).clamp(0.0, 1.0) };
            *count as f64 * covered
        });
        parts.sum()
    };
    // Between two edges both sides are straight lines, so the greatest difference is at one of them.
    let edges = before.iter().chain(after).flat_map(|(from, to, _)| [*from, *to]);
    let differences = edges.map(|at| (up_to(before, at) / rows_before - up_to(after, at) / rows_after).abs());
    Some(differences.fold(0.0, f64::max))
}

/// The part of the rows that has another value; of what is not listed nobody knows that it is another.
fn of_values(before: (&BTreeMap<String, u64>, u64), after: (&BTreeMap<String, u64>, u64)) -> Option<f64> {
    if before.1 == 0 || after.1 == 0 {
        return None;
    }
    let of = |(values, rows): (&BTreeMap<String, u64>, u64), value: &String| {
        part(values.get(value).copied().unwrap_or(0), rows)
    };
    let unlisted = |(values, rows): (&BTreeMap<String, u64>, u64)| {
        1.0 - part(values.values().fold(0, |sum, count| sum.saturating_add(*count)), rows)
    };
    let values: BTreeSet<&String> = before.0.keys().chain(after.0.keys()).collect();
    let listed: f64 = values.into_iter().map(|value| (of(before, value) - of(after, value)).abs()).sum();
    // Half, because what leaves one value arrives at another, and would count twice.
    Some(((listed + (unlisted(before) - unlisted(after)).abs()) / 2.0).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(missing: u64, distribution: Distribution) -> ColumnSummary {
        ColumnSummary { count: 100, missing, distinct: Some(10), distribution: Some(distribution) }
    }

    fn one(column: ColumnSummary) -> Summaries {
        [(("orders".to_owned(), "price".to_owned()), column)].into()
    }

    #[track_caller]
    fn check(before: ColumnSummary, after: ColumnSummary, expected: Option<&str>) {
        let found = drifts(&one(before), &one(after), &HashMap::new(), &FindingThresholds::default());
        let said: Vec<String> = found.iter().map(ValueDrift::in_words).collect();
        assert_eq!(said, expected.map(str::to_owned).into_iter().collect::<Vec<_>>());
    }

    fn ranges(ranges: &[(f64, f64, u64)]) -> Distribution {
        Distribution::Ranges(ranges.to_vec())
    }

    fn values(values: &[(&str, u64)]) -> Distribution {
        let rows = values.iter().map(|(_, count)| count).sum();
        Distribution::Values(
            values.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect(),
            rows,
        )
    }

    #[test]
    fn numbers_move_by_the_part_of_the_rows_that_is_elsewhere() {
        let even = || ranges(&[(0.0, 5.0, 50), (5.0, 10.0, 50)]);
        // The same, by other ranges.
        check(column(0, even()), column(0, ranges(&[(0.0, 2.0, 20), (2.0, 10.0, 80)])), None);
        let moved = || ranges(&[(0.0, 5.0, 27), (5.0, 10.0, 73)]);
        check(column(0, even()), column(0, moved()), Some("its values moved by 23 %"));
        check(column(0, even()), column(0, ranges(&[(20.0, 30.0, 9)])), Some("its values moved by 100 %"));
        check(column(0, ranges(&[(3.0, 3.0, 9)])), column(0, ranges(&[(3.0, 3.0, 900)])), None);
        check(column(0, ranges(&[])), column(0, even()), None);
    }

    #[test]
    fn values_move_by_the_part_of_the_rows_that_has_another() {
        let half = || values(&[("a", 50), ("b", 50)]);
        check(column(0, half()), column(0, values(&[("b", 500), ("a", 500)])), None);
        check(
            column(0, half()),
            column(0, values(&[("a", 50), ("c", 50)])),
            Some("its values moved by 50 %"),
        );
        let listed = |count| Distribution::Values([("a".to_owned(), count)].into(), 100);
        check(column(0, listed(10)), column(0, listed(40)), Some("its values moved by 30 %"));
        check(column(0, half()), column(0, ranges(&[(0.0, 1.0, 5)])), None);
    }

    #[test]
    fn missing_and_different_values_are_drift_too() {
        let same = || values(&[("a", 1)]);
        check(column(1, same()), column(6, same()), None);
        check(column(1, same()), column(7, same()), Some("7 % missing, was 1 %"));
        let many = ColumnSummary { distinct: Some(13), ..column(0, same()) };
        check(column(0, same()), many, Some("13 different values, was 10"));
    }
}
