//! The distribution of a column of decimals, some of whose integers do not fit 64 bits.

use arrow::datatypes::i256;

use super::{
    distinct::{hash_bits, hash_wide},
    floats::{between, float, from_order_key, histogram_edge, order_key},
    integers::Integers,
    model::{Distribution, Point},
    moments::{CompensatedSum, Moments},
    order::{Order, histogram, quantiles},
    scale::{decimal_text, unscaled},
};

/// An integer of more than 64 bits.
pub(super) trait Wide: Copy + Ord + Default + ToString {
    fn from_narrow(narrow: i64) -> Self;
    /// The lower 64 bits.
    fn to_narrow(self) -> i64;
    fn to_f64(self) -> f64;
    fn distance_from(self, origin: Self) -> f64;
    /// The hash, which for an integer of 64 bits is the one that it has as such.
    fn hash(self) -> u64;
}

impl Wide for i128 {
    fn from_narrow(narrow: i64) -> Self {
        narrow.into()
    }

    fn to_narrow(self) -> i64 {
        self as i64
    }

    fn to_f64(self) -> f64 {
        self as f64
    }

    fn distance_from(self, origin: Self) -> f64 {
        match self.checked_sub(origin) {
            Some(distance) => distance as f64,
            // Further apart than the type reaches, where a float has digits enough.
            None => self as f64 - origin as f64,
        }
    }

    fn hash(self) -> u64 {
        match i64::try_from(self) {
            // As a narrow column hashes it: partitions of one column may be of either kind when they are merged.
            Ok(narrow) => hash_bits(narrow as u64),
            Err(_) => hash_wide(self as u64, (self >> 64) as u64),
        }
    }
}

impl Wide for i256 {
    fn from_narrow(narrow: i64) -> Self {
        Self::from_i128(narrow.into())
    }

    fn to_narrow(self) -> i64 {
        self.as_i128() as i64
    }

    fn to_f64(self) -> f64 {
        match self.to_i128() {
            Some(narrow) => narrow as f64,
            None => {
                let (low, high) = self.to_parts();
                high as f64 * 2_f64.powi(128) + low as f64
            }
        }
    }

    fn distance_from(self, origin: Self) -> f64 {
        match self.checked_sub(origin) {
            Some(distance) => Wide::to_f64(distance),
            None => Wide::to_f64(self) - Wide::to_f64(origin),
        }
    }

    fn hash(self) -> u64 {
        match self.to_i128() {
            Some(narrow) => narrow.hash(),
            None => {
                let (low, high) = self.to_parts();
                hash_wide((low as i128).hash(), high.hash())
            }
        }
    }
}

/// Accumulates wide integers.
#[derive(Debug, Clone)]
pub(super) struct WideIntegers<T> {
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

impl<T: Wide> WideIntegers<T> {
    /// Goes on where integers of 64 bits no longer do.
    pub(super) fn from_narrow(narrow: Integers, scale: i8) -> Self {
        let mut sum = CompensatedSum::default();
        sum.add(narrow.sum as f64);
        Self {
            scale,
            count: narrow.count,
            zeros: narrow.zeros,
            min: T::from_narrow(narrow.min),
            max: T::from_narrow(narrow.max),
            sum,
            origin: T::from_narrow(narrow.origin),
            deviations: narrow.deviations,
            // The keys of both kinds must be in one order from now on.
            order: narrow.order.with_keys(|key| order_key(key as f64)),
        }
    }

    /// Adds values.
    pub(super) fn update(&mut self, values: &[T]) {
        let Some(first) = values.first() else { return };
        if self.count == 0 {
            // Not from the extremes of the type, which are values a column may hold.
            (self.min, self.max, self.origin) = (*first, *first, *first);
        }
        self.count += values.len() as u64;
        let guess = self.deviations.mean;
        let (mut sum, mut deviations, mut squares) = (0.0, 0.0, 0.0);
        for value in values {
            self.zeros += u64::from(*value == T::default());
            self.min = self.min.min(*value);
            self.max = self.max.max(*value);
            sum += value.to_f64();
            // Near the mean so far, and so small: its square keeps its digits.
            let deviation = value.distance_from(self.origin) - guess;
            deviations += deviation;
            squares += deviation * deviation;
        }
        self.sum.add(sum);
        self.deviations.add(values.len(), guess, deviations, squares);
        self.order.update(values, |value| order_key(value.to_f64()), T::hash);
    }

    pub(super) fn merge(&mut self, other: Self) {
        if self.count == 0 {
            *self = other;
            return;
        }
        if other.count == 0 {
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
        let ranks = self.order.ranks();
        let (min, max) = (self.min.to_f64(), self.max.to_f64());
        Distribution {
            zeros: self.zeros,
            nans: 0,
            infinities: 0,
            finite: None,
            min: Some(self.exact(self.min)),
            max: Some(self.exact(self.max)),
            mean: Some(self.number(self.sum.get() / self.count as f64)),
            std: self.deviations.std().map(|std| unscaled(std, self.scale)),
            quantiles: quantiles(&ranks, |below, above, part| {
                self.number(between(from_order_key(below), from_order_key(above), part))
            }),
            histogram: histogram(&ranks, self.count, self.min < self.max, |position| {
                let edge = histogram_edge(min, max, position);
                (order_key(edge).into(), self.number(edge))
            }),
            // One value has no other rank.
            rank_error: self.order.rank_error().filter(|_| self.min != self.max),
            distinct_estimate: self.order.distinct_estimate(self.count),
        }
    }

    fn exact(&self, value: T) -> Point {
        Point::Text(decimal_text(&value.to_string(), self.scale))
    }

    fn number(&self, value: f64) -> Point {
        float(unscaled(value, self.scale))
    }
}
