//! A number beside that of the baselines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far from the median of the baselines a number may be, in median absolute deviations, to be as usual. 1.4826 of them are a
/// standard deviation of what is normally distributed.
const USUAL_DEVIATIONS: f64 = 3.0 * 1.4826;
/// The number of baselines from which their spread is meaningful.
const MIN_FOR_SPREAD: usize = 3;

/// A number of a run, beside the same one of the baselines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// The median of the baselines.
    pub before: f64,
    /// How far from it half of the baselines are at most, which is their median absolute deviation; `None` for fewer than three.
    pub spread: Option<f64>,
    /// How far from the median a number may be to be as usual: 3 · 1.4826 · `spread`, three standard deviations of what is normally
    /// distributed. It is what stands behind a ±.
    #[serde(default)]
    pub usual: Option<f64>,
    /// That of the run.
    pub after: f64,
    /// What it grew by, as a part of what it was; `None` where it was 0.
    pub change: Option<f64>,
}

impl Measured {
    /// The number of a run compared with those of the baselines; `None` without baselines.
    pub(crate) fn new(baselines: &[f64], after: f64) -> Option<Self> {
        let before = median(baselines)?;
        let deviations: Vec<f64> = baselines.iter().map(|value| (value - before).abs()).collect();
        let spread = (baselines.len() >= MIN_FOR_SPREAD).then(|| median(&deviations)).flatten();
        // Growth from 0 is infinite, which JSON cannot represent.
        let change = (before > 0.0).then(|| after / before - 1.0);
        let usual = spread.map(|spread| spread * USUAL_DEVIATIONS);
        Some(Self { before, spread, usual, after, change })
    }

    /// The earlier value, with the usual deviation if known: `1.00 s ±150 ms`.
    pub(super) fn before_in_words(&self, show: impl Fn(f64) -> String) -> String {
        let usual = self.usual.filter(|usual| *usual > 0.0);
        let usual = usual.map(|usual| format!(" ±{}", show(usual))).unwrap_or_default();
        format!("{}{usual}", show(self.before))
    }

    /// Whether it grew by more than a share, by at least `least`, and by more than the baselines differ from each other.
    pub(crate) fn grew_by(&self, part: f64, least: f64) -> bool {
        let grown = self.after - self.before;
        grown >= least && grown > self.usual.unwrap_or(0.0) && grown > part * self.before
    }

    /// Whether it changed by more than a share, in either direction.
    pub(crate) fn changed_by(&self, part: f64) -> bool {
        let changed = (self.after - self.before).abs();
        changed > self.usual.unwrap_or(0.0) && changed > part * self.before
    }
}

/// The median; for an even number of values the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values.get(middle).copied(),
        _ => Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(baselines: &[f64], after: f64, slower: bool) {
        assert_eq!(
            Measured::new(baselines, after).unwrap().grew_by(0.2, 100.0),
            slower,
            "{baselines:?} {after}"
        );
    }

    #[test]
    fn slower_is_by_more_than_a_part_the_least_and_the_spread() {
        check(&[1_000.0], 1_201.0, true);
        check(&[1_000.0], 1_200.0, false);
        check(&[3_000.0], 3_600.0, false);
        check(&[1_000.0], 700.0, false);
        // Too short to be certain.
        check(&[10.0], 109.0, false);
        check(&[10.0], 111.0, true);
        // Within the spread of the baselines.
        check(&[1_000.0, 1_100.0, 900.0], 1_400.0, false);
        check(&[1_000.0, 1_100.0, 900.0], 1_500.0, true);
        check(&[1_000.0, 1_001.0, 999.0, 5_000.0], 1_300.0, true);
        check(&[0.0], 99.0, false);
        check(&[0.0], 100.0, true);
        assert_eq!(Measured::new(&[], 1.0), None);
    }

    #[test]
    fn a_change_has_two_directions() {
        for (after, expected) in [(94.9, true), (95.1, false), (104.9, false), (105.1, true)] {
            assert_eq!(Measured::new(&[100.0], after).unwrap().changed_by(0.05), expected, "{after}");
        }
        assert!(Measured::new(&[0.0], 1.0).unwrap().changed_by(0.05));
        assert!(!Measured::new(&[0.0], 0.0).unwrap().changed_by(0.05));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, expected) in [
            (vec![3.0, 1.0, 2.0], Some(2.0)),
            (vec![1.0, 4.0], Some(2.5)),
            (vec![], None),
            (vec![f64::NAN], None),
        ] {
            assert_eq!(median(&values), expected);
        }
    }
}
