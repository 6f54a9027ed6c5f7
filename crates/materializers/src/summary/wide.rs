//! The distribution of a column of decimals whose unscaled integers do not fit 64 bits.

use arrow::datatypes::i256;

use super::{
    chunks::CHUNK,
    distinct::hash_wide,
    floats::{between, float, from_order_key, histogram_edge, order_key},
    model::{Distribution, Point},
    moments::{CompensatedSum, Moments},
    order::{Order, histogram, quantiles},
    scale::{decimal_text, unscaled},
};

/// An integer wider than 64 bits.
pub(super) trait Wide: Copy + Ord + Default + ToString {
    fn distance_from(self, origin: Self) -> f64;
    fn to_f64(self) -> f64;
    fn hash(self) -> u64;
}

impl Wide for i128 {
    fn distance_from(self, origin: Self) -> f64 {
        match self.checked_sub(origin) {
            Some(distance) => Wide::to_f64(distance),
            None => Wide::to_f64(self) - Wide::to_f64(origin),
        }
    }

    fn to_f64(self) -> f64 {
        // Most decimals are narrow, and those convert in one instruction.
        i64::try_from(self).map_or(self as f64, |narrow| narrow as f64)
    }

    fn hash(self) -> u64 {
        hash_wide(self as u64, (self >> 64) as u64)
    }
}

impl Wide for i256 {
    fn distance_from(self, origin: Self) -> f64 {
        match self.checked_sub(origin) {
            Some(distance) => Wide::to_f64(distance),
            None => Wide::to_f64(self) - Wide::to_f64(origin),
        }
    }

    fn to_f64(self) -> f64 {
        match self.to_i128() {
            Some(narrow) => Wide::to_f64(narrow),
            None => {
                let (low, high) = self.to_parts();
                high as f64 * 2_f64.powi(128) + low as f64
            }
        }
    }

    fn hash(self) -> u64 {
        let (low, high) = self.to_parts();
        hash_wide(Wide::hash(low as i128), Wide::hash(high))
    }
}

/// Accumulates wide integers.
#[derive(Debug, Clone)]
pub(super) struct Decimals<T> {
    scale: i8,
    count: u64,
    zeros: u64,
    min: T,
    max: T,
    sum: CompensatedSum,
    /// The first value. Deviations are taken from here, so that they stay exact where values are large and close.
    origin: T,
    deviations: Moments,
    order: Order,
}

impl<T: Wide> Decimals<T> {
    pub(super) fn new(scale: i8) -> Self {
        Self {
            scale,
            count: 0,
            zeros: 0,
            min: T::default(),
            max: T::default(),
            sum: CompensatedSum::default(),
            origin: T::default(),
            deviations: Moments::default(),
            order: Order::new(),
        }
    }

    /// Adds at most [`CHUNK`] values.
    pub(super) fn update(&mut self, values: &[T]) {
        let Some(first) = values.first() else { return };
        if self.count == 0 {
            (self.min, self.max, self.origin) = (*first, *first, *first);
        }
        self.count += values.len() as u64;
        let mut distances = [0.0; CHUNK];
        let mut keys = [0; CHUNK];
        let (mut sum, mut sum_of_distances) = (0.0, 0.0);
        for ((value, key), slot) in values.iter().zip(&mut keys).zip(&mut distances) {
            self.zeros += u64::from(*value == T::default());
            self.min = self.min.min(*value);
            self.max = self.max.max(*value);
            let number = value.to_f64();
            sum += number;
            *key = order_key(number);
            let distance = value.distance_from(self.origin);
            sum_of_distances += distance;
            *slot = distance;
        }
        self.sum.add(sum);
        self.deviations.merge(Moments::of_slice(&distances[..values.len()], sum_of_distances), 0.0);
        self.order.update(&keys[..values.len()], values.iter().map(|value| value.hash()));
    }

    pub(super) fn merge(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other;
            return;
        }
        self.count += other.count;
        self.zeros += other.zeros;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum.merge(other.sum);
        self.deviations.merge(other.deviations, other.origin.distance_from(self.origin));
        self.order.merge(other.order);
    }

    pub(super) fn finish(&self) -> Distribution {
        if self.count == 0 {
            return Distribution::default();
        }
        let ranks = self.order.ranks();
        let (min, max) = (self.min.to_f64(), self.max.to_f64());
        Distribution {
            zeros: self.zeros,
            nans: 0,
            infinities: 0,
            min: Some(self.exact(self.min)),
            max: Some(self.exact(self.max)),
            mean: Some(self.number(self.sum.get() / self.count as f64)),
            std: self.deviations.std().map(|std| unscaled(std, self.scale)),
            quantiles: quantiles(&ranks, |below, above, part| {
                self.number(between(from_order_key(below), from_order_key(above), part))
            }),
            histogram: histogram(&ranks, self.count, |position| {
                let edge = histogram_edge(min, max, position);
                (order_key(edge), self.number(edge))
            }),
            distinct_estimate: self.order.distinct_estimate(),
        }
    }

    fn exact(&self, value: T) -> Point {
        Point::Text(decimal_text(&value.to_string(), self.scale))
    }

    fn number(&self, value: f64) -> Point {
        float(unscaled(value, self.scale))
    }
}
