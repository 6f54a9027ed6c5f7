//! How far the values of a column have moved from one run to another.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    f64::consts::FRAC_2_PI,
};

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
            let moved = moved(old, new);
            let drift = ValueDrift {
                node: key.0.clone(),
                column: key.1.clone(),
                missing_before: part(old.missing, old.count),
                missing_after: part(new.missing, new.count),
                distinct_before: old.distinct,
                distinct_after: new.distinct,
                distance: moved.map(|moved| moved.distance),
            };
            let values_moved = moved.is_some_and(|moved| moved.is_more_than(thresholds.drift));
            (values_moved || drift.is_one(thresholds)).then_some(drift)
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
    /// Whether missing or different values moved by more than the thresholds.
    fn is_one(&self, thresholds: &FindingThresholds) -> bool {
        let distinct = self.distinct_before.zip(self.distinct_after).is_some_and(|(before, after)| {
            // A share of what was there, and of one at least, so that a column that had none can drift too.
            before.abs_diff(after) as f64 > thresholds.distinct_drift * before.max(1) as f64
        });
        distinct || (self.missing_after - self.missing_before).abs() > thresholds.missing_drift
    }

    /// Whose values moved, such as `orders.price`.
    pub(super) fn place(&self) -> String {
        format!("{}.{}", display::name(&self.node), display::name(&self.column))
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

/// How far the values of a column moved, and how far they would move by chance, were they drawn from the same.
#[derive(Debug, Clone, Copy)]
struct Moved {
    distance: f64,
    by_chance: Chance,
}

/// What a normal value exceeds once in a hundred times, in standard deviations.
const NORMAL_99: f64 = 2.33;

/// What chance moves between two sets of rows that are drawn from one distribution.
#[derive(Debug, Clone, Copy)]
enum Chance {
    /// The distance that one of a hundred pairs of draws exceeds.
    Critical(f64),
    /// The distance that is expected, and by how much one of a hundred pairs of draws exceeds it.
    Expected { distance: f64, beyond: f64 },
}

impl Moved {
    fn is_more_than(&self, threshold: f64) -> bool {
        match self.by_chance {
            Chance::Critical(critical) => self.distance > critical.max(threshold),
            Chance::Expected { distance, beyond } => self.distance > distance + threshold.max(beyond),
        }
    }
}

fn moved(before: &ColumnSummary, after: &ColumnSummary) -> Option<Moved> {
    match (before.distribution.as_ref()?, after.distribution.as_ref()?) {
        (Distribution::Ranges(before), Distribution::Ranges(after)) => of_ranges(before, after),
        (Distribution::Values(before, rows_before), Distribution::Values(after, rows_after)) => {
            of_values((before, *rows_before), (after, *rows_after))
        }
        _ => None,
    }
}

/// The distance of Kolmogorov and Smirnov, with the rows of a range spread evenly over it. By chance it is more than
/// 1.63 times `sqrt(1/n + 1/m)` once in a hundred times: the limit of their two-sample test, at 1 %.
fn of_ranges(before: &[(f64, f64, u64)], after: &[(f64, f64, u64)]) -> Option<Moved> {
    const OF_A_HUNDRED: f64 = 1.63;
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
    let critical = OF_A_HUNDRED * (1.0 / rows_before + 1.0 / rows_after).sqrt();
    Some(Moved { distance: differences.fold(0.0, f64::max), by_chance: Chance::Critical(critical) })
}

/// The total variation: the part of the rows that has another value; of what is not listed nobody knows that it is another.
fn of_values(before: (&BTreeMap<String, u64>, u64), after: (&BTreeMap<String, u64>, u64)) -> Option<Moved> {
    if before.1 == 0 || after.1 == 0 {
        return None;
    }
    let unlisted = |(values, rows): (&BTreeMap<String, u64>, u64)| {
        rows.saturating_sub(values.values().fold(0, |sum, count| sum.saturating_add(*count)))
    };
    let values: BTreeSet<&String> = before.0.keys().chain(after.0.keys()).collect();
    let count = |values: &BTreeMap<String, u64>, value: &String| values.get(value).copied().unwrap_or(0);
    let listed = values.into_iter().map(|value| (count(before.0, value), count(after.0, value)));
    let (mut distance, mut deviations, mut variances) = (0.0, 0.0, 0.0);
    for (of_before, of_after) in listed.chain([(unlisted(before), unlisted(after))]) {
        distance += (part(of_before, before.1) - part(of_after, after.1)).abs();
        let variance = variance_by_chance((of_before, before.1), (of_after, after.1));
        deviations += variance.sqrt();
        variances += variance;
    }
    // Half, because what leaves one value arrives at another, and would count twice.
    let distance = f64::clamp(distance / 2.0, 0.0, 1.0);
    // The mean of the absolute value of a normal difference is sqrt(2/π) of its standard deviation, and its variance is
    // 1 - 2/π of that of the difference.
    let by_chance = Chance::Expected {
        distance: FRAC_2_PI.sqrt() * deviations / 2.0,
        beyond: NORMAL_99 * ((1.0 - FRAC_2_PI) * variances).sqrt() / 2.0,
    };
    Some(Moved { distance, by_chance })
}

/// The variance of the difference of the parts of one value in two draws of rows, both from what they have together: each count
/// is one of a multinomial sample, and the difference close to normal with the variance `p (1 - p) (1/n + 1/m)`.
fn variance_by_chance(before: (u64, u64), after: (u64, u64)) -> f64 {
    let (rows_before, rows_after) = (before.1 as f64, after.1 as f64);
    let pooled = ((before.0 as f64 + after.0 as f64) / (rows_before + rows_after)).clamp(0.0, 1.0);
    pooled * (1.0 - pooled) * (1.0 / rows_before + 1.0 / rows_after)
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
        let even = || ranges(&[(0.0, 5.0, 500), (5.0, 10.0, 500)]);
        // The same, by other ranges.
        check(column(0, even()), column(0, ranges(&[(0.0, 2.0, 20), (2.0, 10.0, 80)])), None);
        let moved = || ranges(&[(0.0, 5.0, 270), (5.0, 10.0, 730)]);
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
    fn what_chance_moves_is_no_drift() {
        // Draws of 895 rows among a hundred customers that are equally likely.
        let mut random = fastrand::Rng::with_seed(7);
        let mut draw = |rows: u64, customers: u64| {
            let mut counts = BTreeMap::new();
            (0..rows).for_each(|_| {
                *counts.entry(format!("c{}", random.u64(0..customers))).or_insert(0) += 1;
            });
            Distribution::Values(counts, rows)
        };
        for _ in 0..200 {
            check(column(0, draw(895, 100)), column(0, draw(895, 100)), None);
            check(column(0, draw(60, 20)), column(0, draw(895, 20)), None);
        }
        // Others are drawn: that is not chance.
        let found = drifts(
            &one(column(0, draw(895, 100))),
            &one(column(0, draw(895, 60))),
            &HashMap::new(),
            &FindingThresholds::default(),
        );
        assert!(found.len() == 1 && found[0].distance > Some(0.35), "{found:?}");
    }

    #[test]
    fn a_few_rows_say_nothing_of_a_distribution() {
        // A count, which is one row, and the sums of seven years.
        check(column(0, ranges(&[(5.0, 5.0, 1)])), column(0, ranges(&[(6.0, 6.0, 1)])), None);
        check(column(0, values(&[("5", 1)])), column(0, values(&[("6", 1)])), None);
        let keys = |first: u64| {
            let keys = (first..first + 7).map(|key| (key.to_string(), 1)).collect();
            Distribution::Values(keys, 7)
        };
        check(column(0, keys(0)), column(0, keys(100)), None);
        check(
            column(0, values(&[("a", 10), ("b", 10)])),
            column(0, values(&[("b", 20)])),
            Some("its values moved by 50 %"),
        );
        let years = |from: f64| ranges(&[(from, from + 7.0, 7)]);
        check(column(0, years(0.0)), column(0, years(5.0)), None);
        let many = |from: f64| ranges(&[(from, from + 7.0, 700)]);
        check(column(0, many(0.0)), column(0, many(5.0)), Some("its values moved by 71 %"));
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
