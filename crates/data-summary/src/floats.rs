//! The distribution of a column of floats.

use super::{
    chunks::CHUNK,
    distinct::hash_bits,
    kept::Room,
    model::{Distribution, FiniteValues, Point},
    moments::{CompensatedSum, Moments, finite, greatest, least, occurrences, sum_of},
    order::{Order, histogram, quantiles},
};

/// Accumulates floats.
#[derive(Debug, Clone)]
pub(super) struct Floats {
    /// The number of finite values.
    count: u64,
    nans: u64,
    /// The number of values that are negative infinity.
    least_infinities: u64,
    /// The number of values that are positive infinity.
    greatest_infinities: u64,
    zeros: u64,
    min: f64,
    max: f64,
    sum: CompensatedSum,
    /// The first value. Deviations are taken from here, so that they stay exact where values are large and close.
    origin: f64,
    deviations: Moments,
    order: Order,
}

impl Floats {
    pub(super) fn new(room: Room) -> Self {
        Self {
            count: 0,
            nans: 0,
            least_infinities: 0,
            greatest_infinities: 0,
            zeros: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: CompensatedSum::default(),
            origin: 0.0,
            deviations: Moments::default(),
            order: Order::new(room),
        }
    }

    /// Adds at most [`CHUNK`] values.
    pub(super) fn update(&mut self, values: &[f64]) {
        let sum = sum_of(values, |value| value);
        // A single sum shows whether all of them are finite: only the few batches with other values take the slow path.
        if sum.is_finite() {
            self.add_finite(values, sum);
            return;
        }
        let mut chunk = [0.0; CHUNK];
        let mut length = 0;
        for value in values {
            chunk[length] = *value;
            // Without a branch: the slot is overwritten unless the value counts.
            length += usize::from(value.is_finite());
            self.nans += u64::from(value.is_nan());
            self.least_infinities += u64::from(*value == f64::NEG_INFINITY);
            self.greatest_infinities += u64::from(*value == f64::INFINITY);
        }
        let finite = &chunk[..length];
        self.add_finite(finite, sum_of(finite, |value| value));
    }

    fn add_finite(&mut self, values: &[f64], sum: f64) {
        let Some(first) = values.first() else { return };
        if self.count == 0 {
            // Distances from a value of the column keep their precision if the values are large and close together.
            self.origin = *first;
        }
        self.count += values.len() as u64;
        self.zeros += occurrences(values, 0.0);
        self.min = self.min.min(least(values));
        self.max = self.max.max(greatest(values));
        self.sum.add(sum);
        // The best estimate of the mean so far, which keeps the squares small.
        let center = self.origin + self.deviations.mean;
        let deviations = sum_of(values, |value| value - center);
        let squares = sum_of(values, |value| (value - center) * (value - center));
        self.deviations.add(values.len(), center - self.origin, deviations, squares);
        // Adding zero turns negative zero into positive zero.
        self.order.update(values, order_key, |value| hash_bits((value + 0.0).to_bits()));
    }

    pub(super) fn merge(&mut self, other: Self) {
        if self.count == 0 {
            self.origin = other.origin;
        }
        self.count += other.count;
        self.nans += other.nans;
        self.least_infinities += other.least_infinities;
        self.greatest_infinities += other.greatest_infinities;
        self.zeros += other.zeros;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum.merge(other.sum);
        self.deviations.merge(other.deviations, other.origin - self.origin);
        self.order.merge(other.order);
    }

    pub(super) fn finish(&self) -> Distribution {
        let ranks = self.order.ranks();
        let has_values = self.count > 0;
        let mean = has_values.then(|| self.sum.get() / self.count as f64).and_then(finite);
        // The sum of the largest floats overflows; their distances from the first one may not.
        let from_origin = || finite(self.origin + self.deviations.mean).filter(|_| has_values);
        // Rounding may move the mean of equal values past them.
        let mean = mean.or_else(from_origin).map(|mean| mean.clamp(self.min, self.max));
        let (has_least, has_greatest) = (self.least_infinities > 0, self.greatest_infinities > 0);
        let finite_values = has_values.then(|| FiniteValues {
            min: float(self.min),
            max: float(self.max),
            mean: mean.map(float),
        });
        let (min, max, finite_mean) = match finite_values.clone() {
            Some(FiniteValues { min, max, mean }) => (Some(min), Some(max), mean),
            None => (None, None, None),
        };
        let of_infinite = |is_least: bool| Some(Point::infinite(is_least));
        Distribution {
            zeros: self.zeros,
            nans: self.nans,
            infinities: self.least_infinities + self.greatest_infinities,
            min: if has_least {
                of_infinite(true)
            } else {
                min.or_else(|| of_infinite(false).filter(|_| has_greatest))
            },
            max: if has_greatest {
                of_infinite(false)
            } else {
                max.or_else(|| of_infinite(true).filter(|_| has_least))
            },
            mean: match (has_least, has_greatest) {
                (false, false) => finite_mean,
                // As in SQL: the sum of both is not a number.
                (true, true) => None,
                (is_least, _) => of_infinite(is_least),
            },
            finite: finite_values.filter(|_| has_least || has_greatest),
            std: self.deviations.std().and_then(finite),
            quantiles: quantiles(&ranks, |below, above, part| {
                float(between(from_order_key(below), from_order_key(above), part))
            }),
            histogram: histogram(&ranks, self.count, self.min < self.max, |position| {
                let edge = histogram_edge(self.min, self.max, position);
                (order_key(edge).into(), float(edge))
            }),
            // A single distinct value has only one rank.
            rank_error: self.order.rank_error().filter(|_| self.min != self.max),
            distinct_estimate: self.order.distinct_estimate(self.count),
        }
    }
}

/// A finite float as a point; zero has no sign there.
pub(super) fn float(value: f64) -> Point {
    Point::Float(value + 0.0)
}

/// An integer with the same order as the float (IEEE 754 total order).
pub(super) fn order_key(value: f64) -> i64 {
    // Adding zero turns negative zero into positive zero.
    swap_order((value + 0.0).to_bits() as i64)
}

/// The float for an integer with its order.
pub(super) fn from_order_key(key: i64) -> f64 {
    f64::from_bits(swap_order(key) as u64)
}

/// As integers, negative floats are in reverse order.
fn swap_order(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// A float between two others, without overflow in between.
pub(super) fn between(below: f64, above: f64, part: f64) -> f64 {
    // Not with their difference, which overflows for the extremes of the type.
    if part == 0.0 || below == above { below } else { below * (1.0 - part) + above * part }
}

/// The edge of a histogram at a position between the least value (0) and the greatest (1).
pub(super) fn histogram_edge(min: f64, max: f64, position: f64) -> f64 {
    let edge = if min == max {
        // A single value has no range: the bins are placed around it.
        min + (min.abs() / 1000.0).max(0.5) * (2.0 * position.max(0.0) - 1.0)
    } else if position == 1.0 {
        max
    } else {
        min * (1.0 - position) + max * position
    };
    edge.clamp(f64::MIN, f64::MAX)
}
