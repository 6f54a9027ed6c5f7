//! The distribution of a column of 64-bit integers on some scale.

use super::{
    chunks::CHUNK,
    distinct::hash_bits,
    kept::Room,
    model::{Distribution, Point},
    moments::{Moments, greatest, least, occurrences, sum_of},
    order::{Order, histogram, quantiles},
    scale::Scale,
};

/// Accumulates integers.
#[derive(Debug, Clone)]
pub(super) struct Integers {
    scale: Scale,
    /// Added to a stored integer to get the value: not 0 only for unsigned integers.
    bias: i128,
    pub(super) count: u64,
    pub(super) zeros: u64,
    pub(super) min: i64,
    pub(super) max: i64,
    /// The sum of the values, without the bias.
    pub(super) sum: i128,
    /// The first value. Deviations are taken from here, so that they stay exact where values are large and close.
    pub(super) origin: i64,
    pub(super) deviations: Moments,
    pub(super) order: Order,
}

impl Integers {
    pub(super) fn new(scale: Scale, room: Room) -> Self {
        Self {
            scale,
            bias: 0,
            count: 0,
            zeros: 0,
            min: i64::MAX,
            max: i64::MIN,
            sum: 0,
            origin: 0,
            deviations: Moments::default(),
            order: Order::new(room),
        }
    }

    /// For unsigned integers, which [`biased`] maps to signed ones with the same order.
    pub(super) fn unsigned(room: Room) -> Self {
        Self { bias: 1 << 63, ..Self::new(Scale::Integer, room) }
    }

    /// Adds at most [`CHUNK`] values.
    pub(super) fn update(&mut self, values: &[i64]) {
        let Some(first) = values.first() else { return };
        if self.count == 0 {
            self.origin = *first;
        }
        let guess = self.deviations.mean;
        let zero = -self.bias as i64;
        // Values of a column are usually close to each other: then floats are exact, and can be vectorised.
        let sweep = Sweep::of_near(values, self.origin, zero, guess)
            .unwrap_or_else(|| Sweep::of_any(values, self.origin, zero, guess));
        self.min = self.min.min(sweep.min);
        self.max = self.max.max(sweep.max);
        self.zeros += sweep.zeros;
        self.count += values.len() as u64;
        self.sum += sweep.sum;
        self.deviations.add(values.len(), guess, sweep.deviations, sweep.squares);
        self.order.update(values, |value| value, |value| hash_bits(value as u64));
    }

    pub(super) fn merge(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            // Including its origin, which is a value of the column.
            *self = other;
            return;
        }
        self.count += other.count;
        self.zeros += other.zeros;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        // With more bits, because their distance may not fit into 64.
        let shift = (i128::from(other.origin) - i128::from(self.origin)) as f64;
        self.deviations.merge(other.deviations, shift);
        self.order.merge(other.order);
    }

    pub(super) fn finish(&self) -> Distribution {
        if self.count == 0 {
            return Distribution::default();
        }
        let ranks = self.order.ranks();
        let count = i128::from(self.count);
        // Integer and fractional part separately: for large numbers a float does not have the digits for both.
        let mean_part = self.sum.rem_euclid(count) as f64 / self.count as f64;
        Distribution {
            zeros: self.zeros,
            nans: 0,
            infinities: 0,
            finite: None,
            min: Some(self.point(self.min.into(), 0.0)),
            max: Some(self.point(self.max.into(), 0.0)),
            mean: self.mean(self.sum.div_euclid(count), mean_part),
            std: self.deviations.std().map(|std| self.scale.distance(std)),
            quantiles: quantiles(&ranks, |below, above, part| {
                let (whole, part) = self.at(below, above, part);
                self.point(whole, part)
            }),
            histogram: histogram(&ranks, self.count, self.min < self.max, |position| self.edge(position)),
            // A single distinct value has only one rank.
            rank_error: self.order.rank_error().filter(|_| self.min != self.max),
            distinct_estimate: self.order.distinct_estimate(self.count),
        }
    }

    /// A mean of numbers is a float even if it happens to be an integer.
    fn mean(&self, whole: i128, part: f64) -> Option<Point> {
        match self.point(whole, part) {
            point @ Point::Text(_) if !matches!(self.scale, Scale::Decimal { .. }) => Some(point),
            point => point.as_f64().map(Point::Float),
        }
    }

    fn point(&self, whole: i128, part: f64) -> Point {
        self.scale.point(whole + self.bias, part)
    }

    /// The integer below a position between two integers, and the remaining fraction.
    fn at(&self, from: i64, to: i64, position: f64) -> (i128, f64) {
        // Exact: a distance computed as a float would miss it.
        if position == 1.0 {
            return (to.into(), 0.0);
        }
        let distance = (i128::from(to) - i128::from(from)) as f64 * position;
        (i128::from(from) + distance.floor() as i128, distance - distance.floor())
    }

    fn edge(&self, position: f64) -> (i128, Point) {
        let (whole, part) = if self.min == self.max {
            let value = i128::from(self.min) + self.bias;
            let half_width = self.scale.half_width(value.unsigned_abs());
            let distance = half_width * (2.0 * position.max(0.0) - 1.0);
            (i128::from(self.min) + distance.floor() as i128, distance - distance.floor())
        } else {
            self.at(self.min, self.max, position)
        };
        (whole, self.point(whole, part))
    }
}

/// The results of a single pass over at most [`CHUNK`] values.
struct Sweep {
    min: i64,
    max: i64,
    zeros: u64,
    sum: i128,
    deviations: f64,
    squares: f64,
}

impl Sweep {
    /// For values whose distances from the origin are exact as floats; `None` if one is not.
    fn of_near(values: &[i64], origin: i64, zero: i64, guess: f64) -> Option<Self> {
        /// Distances below this are exact.
        const NEAR: i64 = 1 << 51;
        const RANGE: i64 = 2 * NEAR;
        let mut distances = [0.0; CHUNK];
        let distances = &mut distances[..values.len()];
        let (mut sum, mut bits) = (0, 0);
        for (slot, value) in distances.iter_mut().zip(values) {
            let position = value.wrapping_sub(origin).wrapping_add(NEAR);
            bits |= position;
            sum += position & (RANGE - 1);
            // The lower bits of the float 2^52 count integers. Unlike a conversion, every processor can vectorise this.
            *slot =
                f64::from_bits((position | (RANGE as f64).to_bits() as i64) as u64) - (RANGE + NEAR) as f64;
        }
        if !(0..RANGE).contains(&bits) {
            return None;
        }
        let sum = sum - NEAR * values.len() as i64;
        let zero = (i128::from(zero) - i128::from(origin)) as f64;
        Some(Self {
            // A distance that overflows 64 bits wraps, and may look small.
            min: origin.checked_add(least(distances) as i64)?,
            max: origin.checked_add(greatest(distances) as i64)?,
            zeros: occurrences(distances, zero),
            sum: i128::from(sum) + i128::from(origin) * values.len() as i128,
            deviations: sum as f64 - guess * values.len() as f64,
            squares: sum_of(distances, |distance| (distance - guess) * (distance - guess)),
        })
    }

    fn of_any(values: &[i64], origin: i64, zero: i64, guess: f64) -> Self {
        let mut sweep =
            Self { min: i64::MAX, max: i64::MIN, zeros: 0, sum: 0, deviations: 0.0, squares: 0.0 };
        for value in values {
            sweep.min = sweep.min.min(*value);
            sweep.max = sweep.max.max(*value);
            sweep.zeros += u64::from(*value == zero);
            sweep.sum += i128::from(*value);
            let deviation = *value as f64 - origin as f64 - guess;
            sweep.deviations += deviation;
            sweep.squares += deviation * deviation;
        }
        sweep
    }
}

/// Maps unsigned integers to signed ones with the same order.
pub(super) fn biased(value: u64) -> i64 {
    (value ^ 1 << 63) as i64
}
