//! Ranks among the keys of a column's values.

/// The keys of a column in an order that answers questions about ranks.
#[derive(Debug)]
pub(super) enum Ranks {
    /// All keys. Those at the pivots are where they were if all were sorted, and each other one on its side of them: that
    /// takes a part of the time of sorting.
    Exact {
        /// The keys.
        keys: Vec<i64>,
        /// Positions in the keys, sorted.
        pivots: Vec<usize>,
    },
    /// Some of the keys in order, each with the number of values that it and the ones before it stand for.
    Estimated {
        /// The keys with those numbers.
        cumulative: Vec<(i64, u64)>,
        /// How many values there are.
        total: u64,
    },
}

impl Ranks {
    /// Of all keys, to be asked for these quantiles.
    pub(super) fn exact(mut keys: Vec<i64>, fractions: &[f64]) -> Self {
        let around = fractions.iter().filter_map(|fraction| position(*fraction, keys.len() as u64));
        let mut pivots: Vec<usize> =
            around.flat_map(|at| [at.floor() as usize, at.ceil() as usize]).collect();
        pivots.sort_unstable();
        pivots.dedup();
        select(&mut keys, 0, &pivots);
        Self::Exact { keys, pivots }
    }

    /// Of keys that stand for several values each.
    pub(super) fn estimated(mut weighted: Vec<(i64, u64)>) -> Self {
        weighted.sort_unstable();
        let mut total = 0;
        for (_, weight) in &mut weighted {
            total += *weight;
            *weight = total;
        }
        Self::Estimated { cumulative: weighted, total }
    }

    /// The keys on both sides of the quantile, and how far between them it lies; nothing when there are no keys. Of exact
    /// ranks only the quantiles that they were made for.
    pub(super) fn quantile(&self, fraction: f64) -> Option<(i64, i64, f64)> {
        let position = position(fraction, self.total())?;
        let below = position.floor();
        Some((self.key_at(below as u64)?, self.key_at(position.ceil() as u64)?, position - below))
    }

    /// The fraction of values whose key is at most this one.
    pub(super) fn fraction_up_to(&self, key: i128) -> f64 {
        let up_to = match self {
            Self::Exact { keys, pivots } => count_up_to(keys, pivots, key) as u64,
            Self::Estimated { cumulative, .. } => {
                let last = cumulative.partition_point(|(other, _)| i128::from(*other) <= key).checked_sub(1);
                last.map_or(0, |last| cumulative[last].1)
            }
        };
        if up_to == 0 { 0.0 } else { up_to as f64 / self.total() as f64 }
    }

    pub(super) fn total(&self) -> u64 {
        match self {
            Self::Exact { keys, .. } => keys.len() as u64,
            Self::Estimated { total, .. } => *total,
        }
    }

    fn key_at(&self, position: u64) -> Option<i64> {
        match self {
            Self::Exact { keys, .. } => keys.get(usize::try_from(position).ok()?).copied(),
            Self::Estimated { cumulative, .. } => {
                let index = cumulative.partition_point(|(_, through)| *through <= position);
                cumulative.get(index).map(|(key, _)| *key)
            }
        }
    }
}

/// Where a quantile lies among so many values, from 0; nothing when there are none.
fn position(fraction: f64, total: u64) -> Option<f64> {
    Some(fraction * total.checked_sub(1)? as f64)
}

/// Puts the keys at these positions where they belong. `keys` begin at the position `from`.
fn select(keys: &mut [i64], from: usize, positions: &[usize]) {
    let middle = positions.len() / 2;
    let Some(position) = positions.get(middle) else { return };
    let (less, _, greater) = keys.select_nth_unstable(position - from);
    select(less, from, &positions[..middle]);
    select(greater, position + 1, &positions[middle + 1..]);
}

/// How many keys are at most this one. Only those between two pivots are looked at.
fn count_up_to(keys: &[i64], pivots: &[usize], key: i128) -> usize {
    let Ok(key) = i64::try_from(key) else { return if key < 0 { 0 } else { keys.len() } };
    let passed = pivots.partition_point(|pivot| keys[*pivot] <= key);
    let from = passed.checked_sub(1).map_or(0, |last| pivots[last] + 1);
    let to = pivots.get(passed).copied().unwrap_or(keys.len());
    from + keys[from..to].iter().filter(|other| **other <= key).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with the sorted keys.
    #[track_caller]
    fn check(keys: Vec<i64>) {
        const FRACTIONS: [f64; 6] = [0.9, 0.0, 0.25, 0.5, 0.1, 1.0];
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        let ranks = Ranks::exact(keys, &FRACTIONS);
        for fraction in FRACTIONS {
            let position = fraction * (sorted.len() - 1) as f64;
            let expected = (sorted[position as usize], sorted[position.ceil() as usize], position.fract());
            assert_eq!(ranks.quantile(fraction), Some(expected), "{fraction}");
        }
        let edges = sorted.iter().step_by(sorted.len().div_ceil(50));
        for edge in edges.flat_map(|key| [i128::from(*key) - 1, (*key).into(), i128::from(*key) + 1]) {
            let expected = sorted.partition_point(|key| i128::from(*key) <= edge) as f64;
            assert_eq!(ranks.fraction_up_to(edge), expected / sorted.len() as f64, "{edge}");
        }
        assert_eq!((ranks.fraction_up_to(i128::MIN), ranks.fraction_up_to(i128::MAX)), (0.0, 1.0));
    }

    #[test]
    fn exact_ranks_are_those_of_the_sorted_keys() {
        for count in [1, 2, 3, 10, 1_000, 5_000] {
            check((0..count).collect());
            check((0..count).rev().collect());
            check((0..count).map(|i| i % 3).collect());
            check((0..count).map(|i| i.wrapping_mul(-7_046_029_254_386_353_131)).collect());
            check(vec![i64::MAX; count as usize]);
            check((0..count).map(|i| if i % 2 == 0 { i64::MIN } else { i64::MAX }).collect());
        }
        let none = Ranks::exact(Vec::new(), &[0.5]);
        assert_eq!((none.quantile(0.5), none.fraction_up_to(0)), (None, 0.0));
    }
}
