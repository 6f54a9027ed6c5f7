//! What follows from the order of a column's values: quantiles, a histogram, and how many are different.

use super::{
    distinct::DistinctSketch,
    kept::Room,
    model::{Bin, Point, Quantile},
    quantiles::{QuantileSketch, RANK_ERROR},
    ranks::Ranks,
};

/// The quantiles of a summary.
const FRACTIONS: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];
/// The bins of a histogram.
const BINS: usize = 10;
/// How far below the least value a histogram starts, as a fraction of its range, so that its first bin has that value.
const MARGIN: f64 = 0.001;

/// The sketches of an ordered column.
#[derive(Debug, Clone)]
pub(super) struct Order {
    quantiles: QuantileSketch,
    distinct: DistinctSketch,
}

impl Order {
    pub(super) fn new(room: Room) -> Self {
        Self { quantiles: QuantileSketch::new(room), distinct: DistinctSketch::new() }
    }

    /// Adds values, given their keys, which have their order, and their hashes.
    pub(super) fn update<T: Copy>(&mut self, values: &[T], key: impl Fn(T) -> i64, hash: impl Fn(T) -> u64) {
        self.quantiles.update(values, key);
        self.distinct.add_all(values.iter().map(|value| hash(*value)));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.quantiles.merge(other.quantiles);
        self.distinct.merge(&other.distinct);
    }

    /// The same order by other keys.
    pub(super) fn with_keys(mut self, convert: impl Fn(i64) -> i64) -> Self {
        self.quantiles.convert_keys(convert);
        self
    }

    /// How far off ranks may be, as a part of the number of values; nothing where they are exact.
    pub(super) fn rank_error(&self) -> Option<f64> {
        (!self.quantiles.is_exact()).then_some(RANK_ERROR)
    }

    pub(super) fn ranks(&self) -> Ranks {
        self.quantiles.ranks(&FRACTIONS)
    }

    /// About how many of `count` values are different.
    pub(super) fn distinct_estimate(&self, count: u64) -> u64 {
        self.distinct.estimate().min(count)
    }
}

/// The quantiles, each a point between two keys.
pub(super) fn quantiles(ranks: &Ranks, between: impl Fn(i64, i64, f64) -> Point) -> Vec<Quantile> {
    FRACTIONS
        .into_iter()
        .filter_map(|fraction| {
            let (below, above, part) = ranks.quantile(fraction)?;
            Some(Quantile { fraction, value: between(below, above, part) })
        })
        .collect()
}

/// The histogram of `count` values. `edge` returns the key, which may lie beyond those of values, and the point at a
/// position between the least value (0) and the greatest (1). `is_spread` says that those two differ: then the first bin has the
/// one and the last the other, which estimated ranks need not know.
pub(super) fn histogram(
    ranks: &Ranks,
    count: u64,
    is_spread: bool,
    edge: impl Fn(f64) -> (i128, Point),
) -> Vec<Bin> {
    if count == 0 {
        return Vec::new();
    }
    let edges: Vec<(i128, Point)> =
        (0..=BINS).map(|index| edge(if index == 0 { -MARGIN } else { index as f64 / BINS as f64 })).collect();
    let mut counted = 0;
    let at_ends = u64::from(is_spread);
    edges
        .windows(2)
        .enumerate()
        .map(|(index, pair)| {
            let through = if index + 1 == BINS {
                count
            } else {
                let through = (ranks.fraction_up_to(pair[1].0) * count as f64).round() as u64;
                through.max(at_ends).min(count - at_ends)
            };
            let bin = through.saturating_sub(counted);
            counted = counted.max(through);
            Bin { from: pair[0].1.clone(), to: pair[1].1.clone(), count: bin }
        })
        .collect()
}
